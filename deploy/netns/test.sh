#!/usr/bin/env bash
# test.sh: checks that the hosts are what they claim to be. About 10 s.
# usage: test.sh         prints SKIPPED and ends with 0 where the machine allows no network namespaces
set -euo pipefail
cd "$(dirname "$0")"
export RINGGRAD_NETNS=rgtest
unset RINGGRAD_NETNS_DIR
scratch=$(mktemp -d)
trap './down; RINGGRAD_NETNS=rgother ./down; rm -rf "$scratch"' EXIT

claim() { printf 'ok: %s\n' "$1"; }
refute() {
  printf 'FAILED: %s\n' "$1" >&2
  exit 1
}

# ping FROM TO prints the round trip in whole milliseconds, or nothing when no answer came.
ping_ms() { ./on "$1" ping -c1 -W1 -q "$2" 2>/dev/null | awk -F/ '/^rtt/ { printf "%d\n", $5 }' || true; }

# mbit FROM TO MIB prints how fast so many MiB went over a TCP connection.
mbit() {
  ./on "$2" "exec timeout 30 python3 '$scratch/speed.py' listen" >"$scratch/speed" &
  local listener=$!
  sleep 1
  ./on "$1" "exec python3 '$scratch/speed.py' $2 $3"
  wait "$listener"
  cat "$scratch/speed"
}

cat >"$scratch/speed.py" <<'END'
import socket, sys, time
if sys.argv[1] == "listen":
    connection, start, got = socket.create_server(("", 5555)).accept()[0], time.time(), 0
    while part := connection.recv(1 << 20):
        got += len(part)
    print(int(got * 8e-6 / (time.time() - start)))
else:
    connection = socket.create_connection((sys.argv[1], 5555))
    connection.sendall(bytes(int(sys.argv[2]) << 20))
END

status=0
./up 3 >"$scratch/state" || status=$?
if [ $status = 77 ]; then
  echo "SKIPPED: network namespaces as hosts: see the line above"
  exit 0
fi
[ $status = 0 ]
for tool in ping python3; do
  command -v $tool >/dev/null || { echo "SKIPPED: the test of network namespaces needs $tool" && exit 0; }
done

[ "$(./on rgtest2 hostname)" = rgtest2 ] || refute "a host has its own name"
[ -n "$(ping_ms rgtest1 rgtest3)" ] || refute "hosts reach each other by name"
claim "hosts have names and reach each other by them"

./on rgtest1 "echo one >/tmp/ringgrad-own"
./on rgtest1 grep -q one /tmp/ringgrad-own || refute "what a host writes to /tmp stays"
./on rgtest2 "test ! -e /tmp/ringgrad-own" || refute "hosts do not see each other's /tmp"
[ ! -e /tmp/ringgrad-own ] || refute "nor does the machine"
./on rgtest1 "echo two >'$scratch/shared'"
./on rgtest2 grep -q two "$scratch/shared" || refute "folders of /tmp are shared"
claim "every host has a /tmp of its own, with the machine's folders in it"

export RINGGRAD_PLANTED=1
# shellcheck disable=SC2016 # expanded on the host
[ "$(./on rgtest1 'echo $RINGGRAD_PLANTED')" = 1 ] || refute "on keeps the environment"
# shellcheck disable=SC2016
[ -z "$(./rsh -x rgtest1 'echo $RINGGRAD_PLANTED')" ] || refute "rsh starts with a bare environment"
claim "on keeps the environment, rsh does not"

RINGGRAD_NETNS=rgother ./up 2 >"$scratch/other"
RINGGRAD_NETNS=rgother ./down
[ -n "$(ping_ms rgtest1 rgtest2)" ] || refute "another set that goes leaves this one alone"
claim "two sets live side by side"

./cut rgtest2 && ./cut rgtest2
[ -z "$(ping_ms rgtest1 rgtest2)" ] || refute "a cut host does not answer"
[ -n "$(ping_ms rgtest1 rgtest3)" ] || refute "the others do"
./mend rgtest2 && ./mend rgtest2
[ -n "$(ping_ms rgtest1 rgtest2)" ] || refute "a mended host answers"
claim "cut and mend"

./rate rgtest2 100mbit
for pair in "rgtest1 rgtest2" "rgtest2 rgtest1"; do
  # shellcheck disable=SC2086 # two words
  speed=$(mbit $pair 12)
  ((speed >= 80 && speed <= 110)) || refute "100 Mbit/s are $speed ($pair)"
done
claim "100 Mbit/s in both directions (the last one: $speed)"

if command -v go >/dev/null; then
  ./rate rgtest2 100mbit 50ms
  trip=$(ping_ms rgtest1 rgtest2)
  ((trip >= 100 && trip < 130)) || refute "50 ms each way are a round trip of $trip ms"
  ./rate rgtest2 none
  [ "$(ping_ms rgtest1 rgtest2)" -lt 20 ] || refute "without a delay there is none"
  claim "50 ms each way (a round trip took $trip ms)"
else
  echo "SKIPPED: the delay of rate: needs Go"
fi

(./on rgtest3 "exec sleep 1077.5" || true) 2>/dev/null &
for ((i = 0; i < 100; i++)); do
  [ -z "$(./pids rgtest3 '^sleep 1077.5')" ] || break
  sleep 0.1
done
[ "$(./pids rgtest3 '^sleep 1077.5' | wc -l)" = 1 ] || refute "pids finds a process"
./down && ./down
wait
! ip netns list | grep -q '^rgtest' || refute "down removes the hosts"
[ ! -e "$(cat "$scratch/state")" ] || refute "down removes the files"
! pgrep -f 'sleep 1077.5$' >/dev/null || refute "down ends the processes"
claim "down leaves nothing behind"
