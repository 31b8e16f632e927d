# Start the pool: accounts, directories, configuration, then condor_master; as root in namespaces of
# its own, else as a plain process: a personal pool of the account that starts it.
pool_up() {
  local start name
  start=$(now)
  if master_pid >/dev/null; then
    has_accounts
    echo "pool: already running in $HTCDASK_POOL_HOME"; return
  fi
  (( $(cat /sys/class/net/lo/flags) & 1 )) || die "the loopback of this network namespace is down: ip link set lo up"
  # Another pool on this port would answer for ours.
  ! (exec 5<>"/dev/tcp/127.0.0.1/$HTCDASK_POOL_PORT") 2>/dev/null || die "port $HTCDASK_POOL_PORT on 127.0.0.1 is taken: set HTCDASK_POOL_PORT"
  chmod 755 "$HTCDASK_POOL_HOME"
  build_rootfs
  ! is_root || add_accounts
  prepare_state
  link_tools
  save_settings
  if is_root; then
    for name in $(test_users); do
      runuser -u "$name" -- test -r "$condor_config" || die "$name cannot read $condor_config: put HTCDASK_POOL_HOME where every account may go"
    done
    start_master
  else
    start_personal_master
  fi
  is_ready || { pool_down; die "the pool did not start: $state/log"; }
  echo "pool: up in $(since "$start"), port $HTCDASK_POOL_PORT, config $condor_config"
}

# A pool that runs knows the accounts that it was started with.
has_accounts() {
  local name
  ! is_root || for name in $(test_users); do
    grep -q "^$name:" "$state/etc/passwd" || die "the running pool in $HTCDASK_POOL_HOME lacks the account '$name': take it down first (pool down --wipe)"
  done
}

prepare_state() {
  local directory ids administrators directories
  mkdir -p "$state"/{log,lock,run,spool,execute,tokens.d,passwords.d,etc} "$HTCDASK_POOL_HOME"/{bin,config.d}
  if is_root; then
    # The daemons work as `condor`: these are theirs, EXECUTE too (a starter that cannot write there
    # fails every job). Not recursively: what lies in them belongs to the jobs' owners.
    for directory in log lock run spool execute; do chown condor: "$state/$directory"; done
    pool_accounts passwd > "$state/etc/passwd"
    pool_accounts group > "$state/etc/group"
    ids=$(id -u condor).$(id -g condor) administrators='root@* condor@*'
  else
    ids=$(id -u).$(id -g) administrators="$(id -un)@*"
  fi
  chmod 755 "$state"/{log,lock,run,spool,execute}
  chmod 700 "$state"/{tokens.d,passwords.d}
  # the key that signs the IDTOKENs
  [ -s "$state/passwords.d/POOL" ] || (umask 077; head -c 64 /dev/urandom | base64 -w0 > "$state/passwords.d/POOL")
  directories=$(condor_directories)
  { echo "$directories"
    sed -e "s#@HOME@#$HTCDASK_POOL_HOME#g; s#@PORT@#$HTCDASK_POOL_PORT#g; s#@EXECUTE@#$(execute_directory)#g" \
        -e "s#@CPUS@#$HTCDASK_POOL_CPUS#g; s#@MEMORY@#$HTCDASK_POOL_MEMORY#g" \
        -e "s#@IDS@#$ids#g; s#@ADMINISTRATORS@#$administrators#g" "$here/condor_config.in"
  } > "$condor_config"
  chmod 644 "$condor_config"
}

# Not under /tmp: HTCondor's container universe hides /tmp with a tmpfs.
execute_directory() { if is_root; then echo /var/lib/condor/execute; else echo "$state/execute"; fi; }

# HTCondor's tools, to be run from the host by anybody: bin/condor_q and so on.
link_tools() {
  local tool directories bin=$HTCDASK_POOL_HOME/bin
  directories=$(tool_directories)
  rm -f "$bin"/*
  sed -e "s#@ROOTFS@#$rootfs#g; s#@CONFIG@#$condor_config#g; s#@DIRECTORIES@#$directories#g" \
    "$here/condor_tool.in" > "$bin/condor_tool"
  chmod 755 "$bin/condor_tool"
  for tool in $(printf '%s/condor_* ' $directories); do
    # Of a foreign root no scripts: they would need its interpreters.
    [ "$rootfs" = / ] || [ "$(head -c 4 "$tool" | tail -c 3)" = ELF ] || continue
    ln -sfn condor_tool "$bin/${tool##*/}"
  done
}
tool_directories() { sed -n "s#^S\?BIN = #${rootfs%/}#p" "$condor_config" | tr '\n' ' '; }

start_master() {
  local outer pid='' i path same_path
  path=$(master_path) same_path=$(same_path)    # now: below, the first child that is seen is the master
  # Mounts are private to the pool: the host sees none of them. The PID namespace makes stopping
  # certain: when its first process, condor_master, ends, the kernel kills all the others, jobs too.
  # The locks (5, 9) must not be inherited, and no output of the caller's kept open.
  setsid unshare --mount --pid --fork --kill-child env -i PATH="$path" \
    CONDOR_CONFIG="$condor_config" ROOTFS="$rootfs" STATE="$state" CVMFS="$HTCDASK_POOL_CVMFS" \
    SAME_PATH="$same_path" \
    bash "$here/enter_root.sh" </dev/null >"$state/master.out" 2>&1 5<&- 9<&- &
  outer=$!; disown
  for ((i = 0; i < 50; i++)); do
    pid=$(tr -d ' ' 2>/dev/null < "/proc/$outer/task/$outer/children" || true)
    [ -z "$pid" ] || break
    sleep 0.1
  done
  echo "$pid" > "$state/master.pid"
}

start_personal_master() {
  local path; path=$(master_path)
  setsid env -i PATH="$path" HOME="$HOME" CONDOR_CONFIG="$condor_config" \
    condor_master -f </dev/null >"$state/master.out" 2>&1 5<&- 9<&- &
  echo "$!" > "$state/master.pid"; disown
}

master_path() { echo "$(sed -n 's/^SBIN = //p' "$condor_config"):/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; }

# What the pool sees at the same path as the host. Where the machine is the pool's root, an overlay
# shows one file system only: others that are mounted below it are bound too.
same_path() {
  local directory
  mkdir -p "$HTCDASK_POOL_BUILD"
  echo "/tmp /home $HTCDASK_POOL_HOME $HTCDASK_POOL_BUILD $HTCDASK_POOL_BIND"
  [ "$rootfs" = / ] || return 0
  for directory in /usr /opt /var /srv /nix; do if mountpoint -q "$directory"; then echo "$directory"; fi; done
}

# A deadline of 60 s; what the master said where it ended.
is_ready() {
  local i kinds
  for ((i = 0; i < 300; i++)); do
    if ((i > 5)) && ! master_pid >/dev/null; then
      cat "$state/master.out" >&2; tail -n 20 "$state/log/MasterLog" >&2
      return 1
    fi
    kinds=$(condor condor_status -any -af MyType 2>/dev/null || true)
    if grep -qx Scheduler <<<"$kinds" && grep -qxE 'Machine|Slot' <<<"$kinds"; then return 0; fi
    sleep 0.2
  done
  echo "no schedd and slot in the collector after 60 s" >&2
  return 1
}
