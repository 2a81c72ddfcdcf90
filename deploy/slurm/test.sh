#!/usr/bin/env bash
# test.sh: train.sbatch on a Slurm cluster of four hosts that are network namespaces: ranks, a killed rank, a polite end, a wrong config.
# usage: test.sh      about a minute; RINGGRAD_SLURM_LOG=FILE keeps the jobs' output, RINGGRAD_TRAIN is a binary with the tag mpi to try too
# Installs Slurm where apt-get can. Prints SKIPPED and ends with 0 where the machine lacks something.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export RINGGRAD_NETNS=rgslurm
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=tcp,self # hosts of one kernel must not find each other's memory
unset RINGGRAD_NETNS_DIR
netns=$here/../netns
scratch=$(mktemp -d)
trap '"$netns/down"; [ -z "${RINGGRAD_SLURM_LOG:-}" ] || cat "$scratch"/*.out >"$RINGGRAD_SLURM_LOG" || true; rm -rf "$scratch"' EXIT

skip() { echo "SKIPPED: Slurm: $1" && exit 0; }
refute() {
  printf 'FAILED: Slurm: %s\n' "$1" >&2
  tail -n 30 "$scratch"/*.out "$scratch/controller.log" >&2 || true
  exit 1
}

slurm() { "$netns/on" rgslurm1 "SLURM_CONF=$scratch/slurm.conf $*"; }

# within SECONDS CLAIM COMMAND... waits until the command succeeds; took is how long, in seconds.
within() {
  local limit=$1 claim=$2 from=$SECONDS
  shift 2
  until "$@"; do
    ((SECONDS - from < limit)) || refute "$claim: not within $limit s"
    sleep 0.3
  done
  took=$((SECONDS - from))
  echo "ok: Slurm: $claim ($took s)"
}

lines() { [ "$(grep -c "$2" "$scratch/$1.out")" -ge "$3" ]; } # lines JOB PATTERN COUNT
state() { slurm scontrol show job "$1" | grep -q "JobState=$2"; }                  # state ID STATE
nodes_idle() { [ "$(slurm "sinfo -h -t idle -o %D" 2>/dev/null)" = 4 ]; }
one_rank_a_host() { [ "$(grep -o 'on rgslurm[1-4]: starts at' "$scratch/run.out" 2>/dev/null | sort -u | wc -l)" = 3 ]; }

# ranks lists the processes of the stand-in on all hosts.
ranks() { for i in 1 2 3 4; do "$netns/pids" "rgslurm$i" "^$scratch/standin"; done; }

configure() {
  printf 'CgroupPlugin=cgroup/v1\n' >"$scratch/cgroup.conf" # slurmd wants a plugin named even where no cgroup is mounted
  cat >"$scratch/slurm.conf" <<END
ClusterName=ringgrad
SlurmctldHost=rgslurm1(10.77.0.1)
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool.%n
SlurmctldPidFile=$scratch/controller.pid
SlurmdPidFile=$scratch/%n.pid
SlurmctldLogFile=$scratch/controller.log
SlurmdLogFile=$scratch/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
SwitchType=switch/none
ReturnToService=2
SlurmdTimeout=10
KillWait=2
SchedulerParameters=batch_sched_delay=1,sched_interval=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=rgslurm[1-4] NodeAddr=10.77.0.[1-4] CPUs=1 RealMemory=100 State=UNKNOWN
PartitionName=all Nodes=rgslurm[1-4] Default=YES MaxTime=10:00 State=UP
END
}

install_slurm() {
  PATH=$PATH:/usr/sbin
  command -v slurmctld >/dev/null && command -v slurmd >/dev/null && return 0
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurmctld slurmd slurm-client; } >/dev/null 2>&1
}

touch "$scratch/run.out" "$scratch/wrong.out"
install_slurm || skip "slurmctld and slurmd are not here, and apt-get cannot install them"
command -v mpicc.openmpi >/dev/null || skip "the stand-in needs mpicc.openmpi (libopenmpi-dev)"
mpicc.openmpi -O1 -o "$scratch/standin" "$here/../standin/standin.c"
status=0
"$netns/up" 4 >/dev/null || status=$?
[ $status != 77 ] || skip "see the line above"
[ $status = 0 ]

configure
slurm slurmctld -c
for i in 1 2 3 4; do
  "$netns/on" "rgslurm$i" "SLURM_CONF=$scratch/slurm.conf slurmd -N rgslurm$i"
done
within 60 "four nodes are ready" nodes_idle

# submit NAME COMMAND... prints the job's number.
submit() {
  local name=$1
  shift
  slurm "sbatch --parsable --nodes=3 --chdir='$scratch' --output='$scratch/$name.out' '$here/train.sbatch' $*"
}

mkdir "$scratch/checkpoints"
job=$(STANDIN_RANKS=3 submit run "$scratch/standin" 300 2 "$scratch/checkpoints")
within 60 "three ranks start, one a host" one_rank_a_host
sleep 2
kill -9 "$(ranks | tail -1)"
within 30 "kill -9 of a rank: all start again on the same nodes" lines run 'starts at step' 6
restarted=$(grep -o 'starts at step [0-9]*' "$scratch/run.out" | tail -1 | grep -o '[0-9]*$')
[ "$restarted" -gt 0 ] || refute "they start again at the checkpoint, not at step $restarted"

slurm scancel --signal=TERM "$job"
within 20 "SIGTERM, as before the time limit, gives a checkpoint" lines run 'wrote its checkpoint' 3
within 20 "the job is back in the queue" state "$job" PENDING
sleep 8 # a new start before the old one is forgotten everywhere would be refused
slurm scontrol update "jobid=$job" StartTime=now # in place of Slurm's two minutes
within 60 "it starts once more" lines run 'starts at step' 9
within 120 "and ends" lines run 'ended with 0 (requeues: 1, retries: 0)' 1
within 30 "as completed" state "$job" COMPLETED

printf '#!/bin/sh\nexit 2\n' >"$scratch/wrong"
chmod +x "$scratch/wrong"
job=$(submit wrong "$scratch/wrong")
within 60 "a wrong config is not tried again" lines wrong 'another try would not help' 1
within 30 "and fails" state "$job" FAILED

[ -n "${RINGGRAD_TRAIN:-}" ] || { echo "SKIPPED: Slurm with train itself: RINGGRAD_TRAIN is not set to a binary with the tag mpi" && exit 0; }
cp "$here"/../../cmd/train/testdata/world/* "$scratch"
cp -r "$here/../../testdata/bytes" "$scratch"
touch "$scratch/train.out"
job=$(STANDIN_RANKS='' submit train "$RINGGRAD_TRAIN" --config run.yaml --set context_parallel_size=3 --set sequence_len=60)
within 120 "train finishes as a ring of three" state "$job" COMPLETED
[ -s "$scratch/out/model.safetensors" ] || refute "train writes its model"
