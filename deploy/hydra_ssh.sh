#!/usr/bin/env bash
# hydra_ssh.sh: what MPICH's mpirun calls instead of ssh, on behalf of mpirun.sh. MPICH does not mind when a connection to a host ends;
# this notes the host in the file RINGGRAD_LOST, where mpirun.sh looks.
# usage: RINGGRAD_LOST=FILE RINGGRAD_REMOTE="ssh OPTIONS" hydra_ssh.sh [-x] HOST COMMAND...
set -euo pipefail
while [[ ${1:-} = -* ]]; do shift; done
[ $# -ge 2 ] || { echo "usage: hydra_ssh.sh HOST COMMAND..." >&2 && exit 2; }
read -ra remote <<<"$RINGGRAD_REMOTE"
status=0
"${remote[@]}" "$@" || status=$?
[ $status != 255 ] || echo "$1" >>"$RINGGRAD_LOST" # 255 is ssh's own word; the command's status never is, or the job has failed already
exit $status
