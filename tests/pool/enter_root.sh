# First process in the pool's mount and PID namespaces: builds the view of the files that daemons and
# jobs have, and becomes condor_master.
set -e
main() {
  local root=/mnt/root directory file
  mount --make-rprivate /
  # A layer in memory over the rootfs: mount points and accounts go there, so the rootfs is never
  # written to and pools can share it. Staged on /mnt, which is none of the directories bound below.
  mount -t tmpfs -o mode=755 pool /mnt
  mkdir /mnt/upper /mnt/work $root
  mount -t overlay -o "lowerdir=$ROOTFS,upperdir=/mnt/upper,workdir=/mnt/work" pool $root
  mount -t proc proc $root/proc
  for directory in /sys /dev; do mount --rbind $directory $root$directory; done
  # The same paths as on the host: submit directories, logs, and FS authentication, whose proof is a
  # directory that the client makes in /tmp. Parents first: what lies in one that is bound is there.
  for directory in $(printf '%s\n' $SAME_PATH | sort); do
    mkdir -p "$directory" "$root$directory"
    [ "$root$directory" -ef "$directory" ] || mount --rbind "$directory" "$root$directory"
  done
  mkdir -p $root/cvmfs "$CVMFS"; mount --rbind "$CVMFS" $root/cvmfs
  mkdir -p $root/var/lib/condor/execute; mount --bind "$STATE/execute" $root/var/lib/condor/execute
  cp "$STATE/etc/passwd" "$STATE/etc/group" $root/etc/
  for file in hosts resolv.conf; do [ ! -e /etc/$file ] || cat /etc/$file > $root/etc/$file; done
  # pivot_root, not chroot: inside a chroot the kernel refuses new user namespaces, which Apptainer needs.
  cd $root; pivot_root . mnt; umount -l mnt; cd /
  exec env -i PATH="$PATH" CONDOR_CONFIG="$CONDOR_CONFIG" condor_master -f
}
main
