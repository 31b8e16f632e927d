# Accounts: the same names and uids on the host and in the pool. FS authentication compares uids, and
# a job runs as its owner's uid.
#
# The comment field marks the accounts that this recipe made; no other is ever removed. Pools on one
# machine share them: the last pool that is wiped removes them.
made_here="made by htcdask-pool"
accounts_in_use=/var/lib/htcdask-pool         # one link per pool; gone with the last

test_users() { local pair; for pair in $HTCDASK_POOL_USERS; do echo "${pair%%=*}"; done; }

# Accounts of the machine change one command at a time: pools start in parallel.
lock_accounts() { exec 7</var/lib; flock -w 300 7 || die "another pool holds the accounts"; }

add_accounts() {
  local pair name uid
  lock_accounts
  for pair in $HTCDASK_POOL_USERS; do
    name=${pair%%=*} uid=${pair#*=}
    ! getent passwd "$name" >/dev/null || continue
    ! getent passwd "$uid" >/dev/null || die "uid $uid of '$name' is already $(getent passwd "$uid" | cut -d: -f1)'s. Set HTCDASK_POOL_USERS='NAME=UID ...'."
    useradd --create-home --uid "$uid" --comment "$made_here" --shell /bin/bash "$name"
    chmod 700 "/home/$name"
  done
  # HTCondor's package would take the next free system uid of *its* tree, which on the host is
  # somebody else's: logs and spool would belong to, say, the message bus. The daemons get an
  # account of the host instead.
  getent passwd condor >/dev/null || useradd --system --no-create-home --comment "$made_here" --shell /usr/sbin/nologin condor
  mkdir -p "$accounts_in_use"; ln -sfn "$HTCDASK_POOL_HOME" "$accounts_in_use/${HTCDASK_POOL_HOME//\//_}"
  exec 7<&-
}

remove_accounts() {
  local link name i
  lock_accounts
  rm -f "$accounts_in_use/${HTCDASK_POOL_HOME//\//_}"
  for link in "$accounts_in_use"/*; do
    if [ -d "$link" ]; then exec 7<&-; return; fi          # a pool that still exists
  done
  rm -rf "$accounts_in_use"
  for name in $(getent passwd | awk -F: -v mark="$made_here" '$5 == mark { print $1 }'); do
    end_processes_of "$name"
    # userdel complains of a mail spool that never was; what was killed may take a moment to end
    for ((i = 0; i < 20; i++)); do
      userdel --remove "$name" 2>/dev/null || true
      getent passwd "$name" >/dev/null || break
      sleep 0.1
    done
    ! getent passwd "$name" >/dev/null || die "account '$name' cannot be removed"
  done
  exec 7<&-
}

# The account is ours, and no pool is left: what still runs under it is a leftover. It is named.
end_processes_of() {
  local process
  for process in /proc/[0-9]*; do
    [ "$(stat -c %U "$process" 2>/dev/null)" = "$1" ] || continue
    echo "ending a leftover of $1: ${process##*/} $(tr '\0' ' ' 2>/dev/null < "$process/cmdline" | cut -c1-200)" >&2
    kill -KILL "${process##*/}" 2>/dev/null || true
  done
}

# passwd and group for the pool's root: our accounts first, then whatever does not clash with them.
pool_accounts() {  # pool_accounts passwd|group
  local database=$1 name
  for name in $(test_users) condor; do
    if [ "$database" = passwd ]; then getent passwd "$name"; else getent group "$(id -g "$name")"; fi
  done | cat - "$rootfs/etc/$database" | awk -F: '!name[$1]++ && !id[$3]++'
}
