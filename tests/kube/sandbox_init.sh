#!/bin/bash
# Process 1 of a sandbox: its own /proc, /sys, cgroups, /run and loopback, then the command. bash stays to reap what
# daemons leave behind.
set -euo pipefail
mount -t proc proc /proc
mount -t sysfs sysfs /sys                               # /sys/class/net is the network namespace's
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
while IFS=: read -r _ controllers _; do
  [ -n "$controllers" ] || continue
  mkdir "/sys/fs/cgroup/${controllers#name=}"
  case $controllers in name=*) options=none,$controllers ;; *) options=$controllers ;; esac
  mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/${controllers#name=}"
  for controller in ${controllers//,/ }; do
    [ -e "/sys/fs/cgroup/${controller#name=}" ] || ln -s "$controllers" "/sys/fs/cgroup/$controller"
  done
done </proc/self/cgroup

mount -t tmpfs -o mode=755 tmpfs /run                   # sockets, the lock of iptables, pods' network namespaces
mkdir /run/lock; chmod 1777 /run/lock; touch /run/htcdask-kube-sandbox
# The kubelet and libcni have these paths fixed: private directories over the machine's, which stay empty.
for directory in /var/lib/cni /var/log/pods /var/log/containers; do
  mkdir -p "$directory" "$HTCDASK_KUBE_STATE$directory"; mount --bind "$HTCDASK_KUBE_STATE$directory" "$directory"
done
ip link set lo up                                       # and nothing else
status=0; "$@" || status=$?
exit "$status"
