# Sourced by mpirun.sh: runs mpirun, hands signals on, and ends what will not end.
# shellcheck shell=bash disable=SC2154 # mpirun.sh sets command, kind, polite, grace, lost and folder

asked=0     # how often the job was asked to end
deadline='' # when it is asked again, in seconds of SECONDS

# ask asks the job to end: politely, then mpirun to kill it, then kills mpirun, whose daemons and ranks end by that.
ask() {
  asked=$((asked + 1))
  case $asked in
    1) kill -s "$polite" "$job" && deadline=$((SECONDS + grace)) ;;
    2) kill -s TERM "$job" && deadline=$((SECONDS + 6)) ;;
    *) kill -s KILL "$job" ;;
  esac 2>/dev/null || true
}

# signalled asks once a second at most: one wish may come as several signals, to this process and to its group.
signalled() {
  [ "${last_signal:-}" = "$SECONDS" ] || ask
  last_signal=$SECONDS
}

# watch_over runs command and ends as it did; 130 where the job was asked to end and MPICH, which forgets the ranks' status, says 0.
watch_over() {
  local own_session=(setsid) status=0
  # Nothing outlives this script, even where it is killed.
  if command -v setpriv >/dev/null; then own_session+=(setpriv --pdeathsig TERM); fi
  if [ "$kind" = openmpi5 ]; then
    "${own_session[@]}" "${command[@]}" </dev/null 2> >(exec sed -u "/PRTE has lost communication/w $folder/words" >&2) &
  else
    "${own_session[@]}" "${command[@]}" </dev/null &
  fi
  job=$!
  trap signalled TERM INT USR1
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.5 &
    wait -n || true
    if [ -n "$deadline" ] && ((SECONDS >= deadline)); then
      ask
    fi
    if [ -s "$lost" ] && [ $asked -lt 2 ]; then
      printf 'mpirun.sh: lost the connection to %s; ending the job\n' "$(sort -u "$lost" | xargs)" >&2
      asked=1
      ask
      deadline=$((SECONDS + 2)) # it would wait for the lost host for ever
    fi
  done
  wait "$job" || status=$?
  if [ $status = 0 ] && [ "$kind" = openmpi5 ]; then
    sleep 0.3 # for its last words
    [ ! -s "$folder/words" ] || status=1 # it ends with 0 at times after it has lost a host
  fi
  if [ -s "$lost" ]; then
    [ $status != 0 ] || status=1
  elif [ $status = 0 ] && [ $asked -gt 0 ] && [ "$kind" = mpich ]; then
    status=130
  fi
  return $status
}
