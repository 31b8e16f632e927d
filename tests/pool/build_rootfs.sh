# The pool's root: Debian with HTCondor and Apptainer. Debian 12 has neither in a version of use, so
# they come from another suite, in a tree of their own. Pools only read it. A machine with HTCondor
# of its own is its own root.
if [ "$HTCDASK_POOL_CONDOR" = machine ]; then
  rootfs=/
else
  rootfs=$HTCDASK_POOL_BUILD/rootfs-$(recipe_hash build_rootfs.sh "$HTCDASK_POOL_SUITE")
fi

build_rootfs() { build_once "$rootfs" make_rootfs; }

make_rootfs() {
  local start log mirror; start=$(now); log=$(build_log rootfs)
  need mmdebstrap
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || die "no HTCondor pool: this machine's apt sources name no Debian mirror to take HTCondor from"
  debian_tree "$log" --variant=minbase --include=minicondor,apptainer "$HTCDASK_POOL_SUITE" "$1" "$mirror" || {
    tail -n 30 "$log" >&2; die "no HTCondor pool: mmdebstrap could not fetch Debian $HTCDASK_POOL_SUITE with HTCondor ($log)"
  }
  rm -f "$1"/etc/condor/config.d/*      # our condor_config is the only one
  echo "rootfs: $(since "$start"), $(du -sxm "$1" | cut -f1) MiB, $(dpkg-query --admindir="$1/var/lib/dpkg" -W -f '${Package} ${Version}  ' condor apptainer)"
}

# What `up` needs; nothing is started.
build_parts() { build_rootfs; }
