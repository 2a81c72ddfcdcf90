# Sourced by mpirun.sh: the command line of MPICH's hydra.
# shellcheck shell=bash disable=SC2154,SC2034 # mpirun.sh sets what is read here, and reads what is set

polite=TERM # hydra hands it on, and waits

# launcher COMMAND... sets command.
launcher() {
  local host interface
  for host in "${hosts[@]}"; do echo "$host:$per_host"; done >"$hostfile"
  command=("$mpirun" -n $((${#hosts[@]} * per_host)) -f "$hostfile" -ppn "$per_host" -bind-to none)
  command+=(-launcher ssh -launcher-exec "$here/hydra_ssh.sh")
  export RINGGRAD_LOST=$lost RINGGRAD_REMOTE=${RINGGRAD_RSH:-ssh -x $ssh_args}
  if [ -n "$net" ]; then
    interface=$(ip -o -4 address show to "$net" | awk '{ print $2; exit }')
    [ -n "$interface" ] || fail "--net $net: this host has no interface there"
    command+=(-iface "$interface")
  fi
  command+=("$@") # hydra forwards the whole environment
}
