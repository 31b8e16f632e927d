# A command in mount, network, pid and cgroup namespaces of its own, any number of them side by side. When it ends, or
# we do (SIGKILL included), the kernel ends every process in it; mounts, interfaces, firewall rules and sockets go too.
sandbox() {
  local name child status=0 keep=${HTCDASK_KUBE_STATE:-}
  [ $# -gt 0 ] || die "kube sandbox COMMAND ARGS..."
  can_be_had; ! in_sandbox || die "this is inside a sandbox already"
  export HTCDASK_KUBE_HOME HTCDASK_KUBE_STATE=${keep:-$HTCDASK_KUBE_HOME/state/$$}
  mkdir -p "$HTCDASK_KUBE_STATE/log"
  name=htcdask-kube-$$
  cgroups=$(own_cgroups)
  remove_leftovers
  trap 'end_sandbox "'"$name"'" "'"$keep"'"' EXIT
  (enter_cgroups "$name"
   # pdeathsig and --kill-child: no way for us to end leaves anything running.
   exec setpriv --pdeathsig KILL unshare --mount --propagation private --net --cgroup --pid --fork --kill-child \
     bash "$here/sandbox_init.sh" "$@") <&0 &
  child=$!
  trap 'kill -KILL "$child" 2>/dev/null || true' TERM HUP
  trap : INT                                            # the command gets it from the terminal, and decides
  while kill -0 "$child" 2>/dev/null; do status=0; { wait "$child" || status=$?; } 2>/dev/null; done
  exit "$status"
}

# The cgroups that we are in, one per hierarchy. Ours are nested in them, so that the caller's limits hold; the cgroup
# namespace shows them as the root, and the kubelet makes its own below.
own_cgroups() {
  local id controllers path
  while IFS=: read -r id controllers path; do
    if [ -n "$controllers" ]; then echo "/sys/fs/cgroup/${controllers#name=}${path%/}"; fi
  done </proc/self/cgroup
}

enter_cgroups() {
  local parent file
  for parent in $cgroups; do
    mkdir "$parent/$1"
    # a new group of cpuset takes no process before it has a CPU and a memory node
    for file in cpuset.cpus cpuset.mems; do if [ -e "$parent/$file" ]; then cat "$parent/$file" > "$parent/$1/$file"; fi; done
    echo "$BASHPID" > "$parent/$1/cgroup.procs"
  done
}

end_sandbox() {  # end_sandbox NAME KEEP
  local parent
  for parent in $cgroups; do remove_cgroup "$parent/$1"; done
  if [ -z "$2" ]; then rm -rf --one-file-system "$HTCDASK_KUBE_STATE"; fi
}

remove_cgroup() {
  local i
  for ((i = 0; i < 50; i++)); do                        # what was killed takes a moment to leave
    [ -d "$1" ] || return 0
    find "$1" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    sleep 0.1
  done
  say "the cgroup $1 could not be removed"
}

# Of sandboxes that SIGKILL ended. Their numbers may be in use again by then: an empty directory costs nothing.
remove_leftovers() {
  local parent old
  for parent in $cgroups; do
    for old in "$parent"/htcdask-kube-*; do
      if [ -d "$old" ] && [ ! -d "/proc/${old##*-}" ]; then remove_cgroup "$old"; fi
    done
  done
  for old in "$HTCDASK_KUBE_HOME"/state/*; do
    case ${old##*/} in *[!0-9]*) continue ;; esac
    if [ -d "$old" ] && [ ! -d "/proc/${old##*/}" ]; then rm -rf --one-file-system "$old"; fi
  done
}
