# A pool for the time of a command: `pool with condor_q`. Commands share it; each holds a shared
# lock, so the last one knows that it is the last.
pool_with() {
  local status=0
  [ $# -gt 0 ] || die "pool with COMMAND ARGS..."
  with_lock begin_use
  # A signal from the terminal goes to the command too: let it end, then clean up.
  trap : INT TERM HUP
  env PATH="$HTCDASK_POOL_HOME/bin:$PATH" CONDOR_CONFIG="$condor_config" HTCDASK_POOL_HOME="$HTCDASK_POOL_HOME" "$@" 5<&- || status=$?
  with_lock end_use
  return $status
}

begin_use() {
  local home=$HTCDASK_POOL_HOME
  [ "${HTCDASK_RELEASE_POOL:-0}" != 1 ] || [ ! -e "$home/kept" ] || mv "$home/kept" "$home/temporary"
  master_pid >/dev/null || touch "$HTCDASK_POOL_HOME/temporary"
  pool_up
  exec 5>>"$HTCDASK_POOL_HOME/users"; flock -s -w 5 5
}

end_use() {
  local others='' home=$HTCDASK_POOL_HOME
  [ /proc/self/fd/5 -ef "$HTCDASK_POOL_HOME/users" ] || return 0     # somebody wiped the pool meanwhile
  flock -x -n 5 || others=yes
  exec 5>&-
  [ "${HTCDASK_KEEP_POOL:-0}" != 1 ] || [ ! -e "$home/temporary" ] || mv "$home/temporary" "$home/kept"
  [ -z "$others" ] && [ -e "$home/temporary" ] || return 0
  pool_down --wipe
}

# HTCDASK_KEEP_POOL=1: what a command started stays after it, until one with HTCDASK_RELEASE_POOL=1.
# `pool up` by itself means that it stays.
pool_up_to_stay() { pool_up; rm -f "$HTCDASK_POOL_HOME"/{temporary,kept}; }
