# Sourced by the scripts beside it: the names of one set of hosts, and what several scripts do.
# shellcheck shell=bash
# RINGGRAD_NETNS      what the names begin with, 1 to 8 letters or digits that end in a letter (rgh): hosts are rgh1, rgh2, ...
# RINGGRAD_NETNS_DIR  folder of the set's files (/run/ringgrad-netns/PREFIX)

prefix=${RINGGRAD_NETNS:-rgh}
state=${RINGGRAD_NETNS_DIR:-/run/ringgrad-netns/$prefix}
switch=${prefix}sw # the namespace that holds the bridge br0; host I hangs on its port pI
me=netns/$(basename "$0")

fail() {
  printf '%s: %s\n' "$me" "$1" >&2
  exit "${2:-2}"
}

[[ $prefix =~ ^[a-z][a-z0-9]{0,6}[a-z]$|^[a-z]$ ]] ||
  fail "RINGGRAD_NETNS=$prefix: take up to 8 lower-case letters and digits, a letter at both ends"

# index HOST prints 3 for rgh3, and refuses what is no host of this set.
index() {
  local i=${1#"$prefix"}
  [[ $1 = "$prefix"* && $i =~ ^[1-9][0-9]*$ && -e /run/netns/$1 ]] ||
    fail "$1 is no host of the set $prefix: see $state/hostfile, or start one with 'up N'"
  printf '%s\n' "$i"
}

# burst RATE prints the bytes a token bucket of RATE needs: 4 ms of it, and no less than one packet of 64 KiB.
burst() {
  local n=${1%%[a-z]*} bits
  case ${1#"$n"} in
    bit | "") bits=$n ;;
    kbit) bits=$((n * 1000)) ;;
    mbit) bits=$((n * 1000000)) ;;
    gbit) bits=$((n * 1000000000)) ;;
    *) fail "rate $1: write it as 100mbit or 1gbit" ;;
  esac
  printf '%s\n' $((bits / 2000 > 65536 ? bits / 2000 : 65536))
}

# limit I RATE holds both directions of host I's port to RATE; "none" lifts it.
limit() {
  local bytes
  tc -n "$prefix$1" qdisc del dev e0 root 2>/dev/null || true
  tc -n "$switch" qdisc del dev "p$1" root 2>/dev/null || true
  [ "$2" != none ] || return 0
  bytes=$(burst "$2")
  tc -n "$prefix$1" qdisc add dev e0 root tbf rate "$2" burst "$bytes" latency 100ms
  tc -n "$switch" qdisc add dev "p$1" root tbf rate "$2" burst "$bytes" latency 100ms
}

# link I up|down switches host I's port.
link() { ip -n "$switch" link set "p$1" "$2"; }
