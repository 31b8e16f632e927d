# Small helpers; processes, their logs and pid files, below $HTCDASK_KUBE_STATE.
die() { echo "$*" >&2; exit 1; }
say() { echo "[$(date +%T)] $*" >&2; }
in_sandbox() { [ -e /run/htcdask-kube-sandbox ]; }
need_sandbox() { in_sandbox || die "run it in a sandbox: $here/kube sandbox $here/kube $1"; }
need_built() { local c; for c; do [ -x "$bin/$c" ] || die "there is no $bin/$c: $here/kube build"; done; }
recipe_hash() {  # recipe_hash RECIPE WORDS...
  local recipe=$here/$1; shift
  printf '%s\n' "$@" | cat - "$recipe" | sha256sum | cut -c1-12
}

# start NAME PROGRAM ARGS...: in the background, in a session of its own (a Ctrl-C meant for the tests must not reach
# it), its output in a file (an inherited pipe would keep `eval "$(kube up)"` waiting for ever).
start() {
  local name=$1; shift
  setsid "$@" </dev/null >"$HTCDASK_KUBE_STATE/log/$name.log" 2>&1 9>&- &      # 9: whatever lock our caller holds
  echo $! > "$HTCDASK_KUBE_STATE/$name.pid"; disown
}

# Pids are used again: only a process with our directory in its arguments is ours.
alive() {
  local pid; pid=$(cat "$HTCDASK_KUBE_STATE/$1.pid" 2>/dev/null) || return 1
  { tr '\0' '\n' < "/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "$HTCDASK_KUBE_STATE/"
}

stop() {
  local name=$1 pid i
  if alive "$name"; then
    pid=$(cat "$HTCDASK_KUBE_STATE/$name.pid"); kill "$pid"
    for ((i = 0; i < 100; i++)); do alive "$name" || break; sleep 0.1; done
    if alive "$name"; then kill -KILL "$pid"; sleep 0.1; fi
  fi
  rm -f "$HTCDASK_KUBE_STATE/$name.pid"
}

# wait_for SECONDS NAME COMMAND...: until the command succeeds; at once with the log's end when process NAME ends.
wait_for() {
  local end=$((SECONDS + $1)) seconds=$1 name=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    if ! alive "$name" || [ $SECONDS -ge $end ]; then
      tail -n 20 "$HTCDASK_KUBE_STATE/log/$name.log" >&2
      die "$name has ended, or was not ready in $seconds s: $1 ${!#}"
    fi
    sleep 0.1
  done
}
