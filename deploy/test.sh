#!/usr/bin/env bash
# test.sh: checks of everything in this folder that this machine allows; what it does not allow is listed as SKIPPED.
# usage: test.sh                     all of it: five minutes on two cores, two more where Kubernetes' modules are not built yet
#        test.sh netns mpirun        only these parts, of: lint netns mpirun slurm kubernetes docker
set -euo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- lint netns mpirun slurm kubernetes docker
log=$(mktemp)
trap 'rm -f "$log"' EXIT

part_lint() {
  command -v shellcheck >/dev/null || { echo "SKIPPED: shellcheck is not installed" && return 0; }
  grep -rlE '^#!/usr/bin/env bash|^# shellcheck shell=bash' . | xargs shellcheck && echo "ok: shellcheck"
}
part_netns() { netns/test.sh; }
part_mpirun() { ./mpirun_test.sh; }
part_slurm() { slurm/test.sh; }
part_docker() { ./docker_check.sh; }
part_kubernetes() {
  cd kubernetes/check
  command -v go >/dev/null || { echo "SKIPPED: Kubernetes: needs Go" && return 0; }
  GOFLAGS=-mod=mod go mod download >/dev/null 2>&1 || { echo "SKIPPED: Kubernetes: the modules cannot be downloaded" && return 0; }
  go vet ./...
  go test ./... 2>&1 | grep -v '^[IWE][0-9]\{4\} ' # the controller's own log
}

failed=()
for part in "$@"; do
  [ "$(type -t "part_$part")" = function ] || { echo "test.sh: no part $part: take lint, netns, mpirun, slurm, kubernetes or docker" >&2 && exit 2; }
  printf '\n--- deploy: %s (%ss)\n' "$part" "$SECONDS"
  # In a process of its own, where errexit counts: it would not inside a condition.
  if ! bash -euo pipefail -c "$(declare -f "part_$part"); part_$part" 2>&1 | tee -a "$log"; then
    failed+=("$part")
  fi
done
printf '\n--- deploy: done in %ss\n' "$SECONDS"
grep '^SKIPPED' "$log" || true
[ ${#failed[@]} = 0 ] || { echo "FAILED: ${failed[*]}" && exit 1; }
