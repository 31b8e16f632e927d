# The running pool: its processes, its tools, its tokens. Processes are found by descent from this
# pool's condor_master, never by name alone: other pools may run beside it.
condor() { local tool=$1; shift; "$HTCDASK_POOL_HOME/bin/$tool" "$@"; }

# Fails unless the recorded process is our master: pids are used again.
master_pid() {
  local pid
  pid=$(cat "$state/master.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
  grep -zqxF "CONDOR_CONFIG=$condor_config" "/proc/$pid/environ" 2>/dev/null || return 1
  echo "$pid"
}

pool_processes() {  # "PID NAME" of every process of the pool, as the host sees it
  local master; master=$(master_pid) || die "no pool is running in $HTCDASK_POOL_HOME"
  descend "$master"
}
descend() {
  local exe child
  exe=$(readlink "/proc/$1/exe" 2>/dev/null) || return 0
  echo "$1 ${exe##*/}"
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do descend "$child"; done
}
pids_of() { pool_processes | awk -v name="$1" '$2 == name || $2 == "condor_" name { print $1 }'; }

pool_status() { pool_processes; }

pool_kill() {
  local pids
  [ -n "${1:-}" ] || die "pool kill NAME [-SIGNAL]"
  pids=$(pids_of "$1")
  [ -n "$pids" ] || die "no $1 in the pool of $HTCDASK_POOL_HOME"
  kill "${2:--TERM}" $pids
  echo "$1" $pids
}

# An orderly end; condor_master starts the successor. Jobs go on running through a restart of the
# schedd. (For a crash: pool kill NAME -9.) Not by condor_restart, which has to find the daemon in the
# collector and may not, where that was restarted itself.
pool_restart() {
  local name=${1:-} old new i start
  start=$(now)
  old=$(pids_of "$name")
  pool_kill "$name" -TERM >/dev/null
  for ((i = 0; i < 600; i++)); do
    new=$(pids_of "$name")
    if [ -n "$new" ] && [ "$new" != "$old" ] && condor condor_ping -type "$name" READ >/dev/null 2>&1; then
      is_ready || die "the pool is not as before: $state/log"
      echo "$name: $old -> $new in $(since "$start")"; return
    fi
    sleep 0.1
  done
  die "no new $name after 60 s: $state/log"
}

# Run again in the pool's network namespace where that is not ours: its loopback is another one.
join_pool_network() {
  local pid
  pid=$(master_pid) || return 0
  is_root || return 0
  [ "$(readlink "/proc/$pid/ns/net")" = "$(readlink /proc/self/ns/net)" ] || exec nsenter --net="/proc/$pid/ns/net" bash "$here/pool" "$@"
}

make_token() {
  [ -n "${1:-}" ] || die "pool token USER"
  condor condor_token_create -identity "$1@$(condor condor_config_val UID_DOMAIN)"
}

# As the owner of DIR, whose files they become: keys must be their user's, with mode 600.
make_x509() {
  local directory=${1:-}
  [ -n "$directory" ] || die "pool x509 DIR [HOURS]"
  mkdir -p "$directory"; directory=$(realpath "$directory")
  build_image_env >&2
  (cd / && runuser -u "$(stat -c %U "$directory")" -- "$venv/bin/python" - "$directory" "${2:-12}" < "$here/x509.py")
}
