# Sourced by mpirun.sh: the command line of Open MPI.
# shellcheck shell=bash disable=SC2154,SC2034 # mpirun.sh sets what is read here, and reads what is set

polite=USR1 # SIGTERM would leave ranks one second; this one mpirun hands on and waits

# launcher COMMAND... sets command.
launcher() {
  local host key equals value name
  declare -A set_to=()
  for host in "${hosts[@]}"; do echo "$host slots=$per_host"; done >"$hostfile"

  while read -r key equals value; do
    [ "$equals" != = ] || set_to[$key]=$value
  done < <(grep -v '^#' "$here/$kind.conf")
  set_to[oob_tcp_keepalive_time]=$idle
  set_to[oob_tcp_keepalive_intvl]=$interval
  set_to[oob_tcp_keepalive_probes]=$probes
  local agent=plm_rsh interface=oob_tcp_if_include
  [ "$kind" = openmpi4 ] || { agent=plm_ssh && interface=prte_if_include; }
  if [ -n "${RINGGRAD_RSH:-}" ]; then
    set_to[${agent}_agent]=$RINGGRAD_RSH
    set_to[${agent}_no_tree_spawn]=1
  else
    set_to[${agent}_args]=$ssh_args
  fi
  if [ -n "$net" ]; then
    set_to[$interface]=$net
    set_to[btl_tcp_if_include]=$net
  fi

  # By default a rank gets one core only, and Go believes it: --bind-to none.
  command=("$mpirun" -n $((${#hosts[@]} * per_host)) --hostfile "$hostfile" --map-by "ppr:$per_host:node" --bind-to none)
  [ -z "$quiet" ] || quiet_please
  for key in $(printf '%s\n' "${!set_to[@]}" | sort); do
    command+=("$(flag "$key")" "$key" "${set_to[$key]}")
  done
  for name in "${forward[@]}"; do command+=(-x "$name"); done
  command+=("$@")
}

# flag KEY prints the option that sets it: Open MPI 5's launcher has one of its own.
flag() {
  case $kind:$1 in
    openmpi5:oob_* | openmpi5:plm_* | openmpi5:prte_*) echo --prtemca ;;
    *) echo --mca ;;
  esac
}

quiet_please() {
  if [ "$kind" = openmpi4 ]; then
    command+=(--quiet)
    set_to[orte_abort_print_stack]=0
  fi
  set_to[mpi_abort_print_stack]=0
}
