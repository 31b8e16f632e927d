# Stop the pool; with --wipe, leave the host as it was.
pool_down() {
  local pid i wipe=${1:-} left
  case $wipe in ''|--wipe) ;; *) die "pool down [--wipe]" ;; esac
  [ "$wipe" != --wipe ] || refuse_if_build_is_shared
  if pid=$(master_pid); then
    left=$(descend "$pid" | cut -d' ' -f1)
    # QUIT: running jobs are killed, the queue is kept. Root's PID namespace goes with the master, so
    # where the queue is not kept either there is nothing to wait for.
    if [ "$wipe" = --wipe ] && is_root; then kill -KILL "$pid"; else kill -QUIT "$pid"; fi
    for ((i = 0; i < 200; i++)); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
    is_root || end_leftovers $left
  fi
  rm -f "$state/master.pid"
  [ "$wipe" = --wipe ] || return 0
  ! is_root || remove_accounts
  # A build directory elsewhere is kept: it is somebody's cache.
  rm -rf --one-file-system "$HTCDASK_POOL_HOME"
}

# Without root there is no PID namespace whose end ends all. Pids are used again: look before.
end_leftovers() {
  local pid
  for pid in "$@"; do
    if grep -zqxF "CONDOR_CONFIG=$condor_config" "/proc/$pid/environ" 2>/dev/null; then kill -KILL "$pid" 2>/dev/null || true; fi
  done
}

# Another pool may run on what lies in our build directory.
refuse_if_build_is_shared() {
  local other
  for other in "$accounts_in_use"/*; do
    other=$(readlink "$other") || continue
    [ "$other" != "$HTCDASK_POOL_HOME" ] && grep -qsF "_BUILD:=$HTCDASK_POOL_HOME/" "$other/settings" || continue
    die "the pool in $other uses $HTCDASK_POOL_BUILD: take it down first (HTCDASK_POOL_HOME=$other pool down --wipe)"
  done
}
