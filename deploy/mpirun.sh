#!/usr/bin/env bash
# mpirun.sh: starts a command on every host of a hostfile, one process a host, under Open MPI 4 or 5 or MPICH, whichever mpirun is.
# usage: mpirun.sh [--net CIDR] [--per-host N] [--quiet] [--print] HOSTFILE COMMAND...
#   --net CIDR     the network to use, as 10.77.0.0/24, where hosts have several
#   --per-host N   processes a host: one for each NUMA node, say
#   --quiet        fewer words from mpirun when ranks fail (not MPICH)
#   --print        only print the command of mpirun
# HOSTFILE: a host a line; slots=N or :N behind it is ignored. Hosts need ssh without a password, and the command at the same path.
# SIGTERM, SIGINT or SIGUSR1 reaches every rank (under Open MPI as SIGUSR1), which has RINGGRAD_GRACE seconds to save; a second one ends all.
# Environment: RINGGRAD_MPIRUN (mpirun), RINGGRAD_KEEPALIVE ("10 5 3": idle seconds, interval, probes until a host counts as lost),
#   RINGGRAD_GRACE (120), RINGGRAD_RSH (program in ssh's place), RINGGRAD_SSH_ARGS ("-p 2222 -i KEY"),
#   RINGGRAD_FORWARD (names of more variables for the ranks).
# shellcheck disable=SC2034,SC2154 # the sourced files read and set variables of this one
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

fail() {
  printf 'mpirun.sh: %s\n' "$1" >&2
  exit 2
}
usage() { fail "usage: mpirun.sh [--net CIDR] [--per-host N] [--quiet] [--print] HOSTFILE COMMAND..."; }

net='' per_host=1 quiet='' print=''
while [[ ${1:-} = --* ]]; do
  case $1 in
    --net) net=${2:-} && shift ;;
    --per-host) per_host=${2:-} && shift ;;
    --quiet) quiet=1 ;;
    --print) print=1 ;;
    *) usage ;;
  esac
  shift || usage
done
[ $# -ge 2 ] || usage
[[ $per_host =~ ^[1-9][0-9]*$ ]] || fail "--per-host $per_host: a whole number from 1"
[[ -z $net || $net =~ ^[0-9.]+/[0-9]+$ ]] || fail "--net $net: write a network as 10.77.0.0/24"
[ -r "$1" ] || fail "cannot read the hostfile $1"
mapfile -t hosts < <(sed -E 's/#.*//; s/^[[:space:]]+//; s/[[:space:]:].*//; /^$/d' "$1")
[ "${#hosts[@]}" -gt 0 ] || fail "no host in $1: write one a line"
shift

mpirun=${RINGGRAD_MPIRUN:-mpirun}
grace=${RINGGRAD_GRACE:-120}
read -r idle interval probes extra <<<"${RINGGRAD_KEEPALIVE:-10 5 3}"
[[ "$idle $interval $probes$extra" =~ ^[1-9][0-9]*\ [1-9][0-9]*\ [1-9][0-9]*$ ]] ||
  fail "RINGGRAD_KEEPALIVE=$RINGGRAD_KEEPALIVE: three whole numbers, as in \"10 5 3\""
ssh_args="-o BatchMode=yes -o ConnectTimeout=$((interval * probes)) -o ServerAliveInterval=$interval -o ServerAliveCountMax=$probes"
ssh_args+="${RINGGRAD_SSH_ARGS:+ $RINGGRAD_SSH_ARGS}"

# What ranks need to know besides their arguments.
mapfile -t forward < <(compgen -e | grep -E '^(RINGGRAD_|GO(MAXPROCS|GC|DEBUG|MEMLIMIT|TRACEBACK)$|UCX_|NCCL_|CUDA_VISIBLE_|LD_LIBRARY_PATH$)')
read -ra more <<<"${RINGGRAD_FORWARD:-}"
forward+=("${more[@]}")

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
hostfile=$folder/hostfile # as the launcher wants it
lost=$folder/lost         # hosts that MPICH's mpirun lost the connection to

case $("$mpirun" --version 2>&1 || true) in
  *'(Open MPI) 5.'*) kind=openmpi5 ;;
  *'(Open MPI) 4.'* | *'(OpenRTE) 4.'*) kind=openmpi4 ;;
  *'HYDRA build details'*) kind=mpich ;;
  *) fail "$mpirun is neither Open MPI 4 or 5 nor MPICH: name another one in RINGGRAD_MPIRUN" ;;
esac
# shellcheck disable=SC1090
. "$here/mpirun_$([ $kind = mpich ] && echo mpich || echo openmpi).sh"
launcher "$@"
if [ -n "$print" ]; then
  printf '%q ' "${command[@]}"
  echo
  exit 0
fi
. "$here/watch.sh"
watch_over
