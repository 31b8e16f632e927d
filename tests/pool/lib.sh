# Small helpers.
die() { echo "$*" >&2; exit 1; }
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f s", b - a }'; }
is_root() { [ "$(id -u)" = 0 ]; }

# One command at a time changes a pool. Its directory itself is locked, so no lock file stays behind;
# whoever waited while it was removed looks again.
with_lock() {
  local home=$HTCDASK_POOL_HOME i
  # `down --wipe` removes this directory: it must never have been anybody's before.
  if [ -n "$(ls -A "$home" 2>/dev/null)" ] && [ ! -e "$home/.htcdask-pool" ]; then
    die "$home holds other files. Set HTCDASK_POOL_HOME to a directory that is empty or does not exist."
  fi
  for ((i = 0; i < 100; i++)); do
    mkdir -p "$home"
    { exec 9<"$home"; } 2>/dev/null || continue
    flock -w 900 9 || die "another pool command holds $home"
    [ /proc/self/fd/9 -ef "$home" ] && break
  done
  [ /proc/self/fd/9 -ef "$home" ] || die "$home: cannot be locked, it keeps being removed"
  touch "$home/.htcdask-pool"
  "$@"
  exec 9<&-
}

# Built things carry the hash of their recipe in their name: what did not change is not built again,
# and nothing is ever rebuilt under a running pool.
recipe_hash() {  # recipe_hash RECIPE WORDS...
  local recipe=$here/$1; shift
  printf '%s\n' "$@" | cat - "$recipe" | sha256sum | cut -c1-12
}

# build_once DIRECTORY COMMAND ARGS...: the command makes a directory of the name that it is given
# last; where it succeeds, that becomes DIRECTORY. Several callers wait for one.
build_once() {
  local directory=$1; shift
  [ ! -d "$directory" ] || return 0
  mkdir -p "$HTCDASK_POOL_BUILD/log"
  (
    flock -w 1500 8 || die "another build holds $directory"
    [ ! -d "$directory" ] || exit 0
    rm -rf --one-file-system "$directory.part"
    "$@" "$directory.part" 8>&-
    mv "$directory.part" "$directory"
  ) 8>"$HTCDASK_POOL_BUILD/log/${directory##*/}.lock"
}

build_log() { mkdir -p "$HTCDASK_POOL_BUILD/log"; echo "$HTCDASK_POOL_BUILD/log/$1"; }
