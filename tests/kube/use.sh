# In a sandbox: the cluster up and down, images of its node.
kube_up() {
  trap '[ $? = 0 ] || echo false' EXIT                  # or eval "$(...)" would succeed where this failed
  need_sandbox up; need_built $components
  if ! alive apiserver; then start_all; fi
  print_exports
}

start_all() {
  local archive
  make_node_network
  start_containerd                                      # while the API server starts, which takes longest
  start_etcd_and_apiserver 0.0.0.0 "$node_ip" 6443 2379 2380
  eval "$(print_exports)"
  # without those that hand out pod networks (the CNI plugin does) or do what a cloud would
  start_controllers '*,-nodeipam,-cloud-node-lifecycle,-route,-service'
  start scheduler kube-scheduler --kubeconfig="$KUBECONFIG" --bind-address=127.0.0.1 --port=0 --leader-elect=false
  wait_for 30 containerd containerd_tool version
  for archive in "$HTCDASK_KUBE_HOME"/images/*.tar; do import_image "$archive"; done
  start_kubelet; start_kube_proxy
  wait_for 90 kubelet kubectl wait --for=condition=Ready "node/$node_name" --timeout=1s
  wait_for 60 kube-proxy curl -sk --noproxy '*' --max-time 1 "https://$service_ip/version"      # ClusterIPs answer
  say "node Ready; logs in $HTCDASK_KUBE_STATE/log"
}

import_image() {
  local log=$HTCDASK_KUBE_STATE/log/images.log
  containerd_tool images import "$1" >>"$log" 2>&1 || die "$1 could not be imported: $(tail -n 3 "$log")"
}

# Give NAME a registry that does not exist, and the pod imagePullPolicy: Never.
add_image() {
  [ $# -ge 2 ] || die "kube image NAME:TAG ROOTFS [COMMAND...]"
  need_sandbox image; alive containerd || die "there is no cluster: $here/kube up"
  archive=$(mktemp "$HTCDASK_KUBE_STATE/image.XXXXXX")       # not local: the trap needs it
  trap 'rm -f "$archive" "$archive.partial"' EXIT
  python3 "$here/make_image.py" "$1" "$2" "$archive" "${@:3}"
  import_image "$archive"
}

# A sandbox's end needs none of this: its namespaces take all with them.
kube_down() {
  local name task i shims mount path hierarchy
  need_sandbox down
  for name in kubelet kube-proxy scheduler controllers; do stop "$name"; done      # first who would start containers again
  if alive containerd; then
    for task in $(containerd_tool tasks list -q); do containerd_tool tasks delete --force "$task" >/dev/null 2>&1 || true; done
    for ((i = 0; i < 50; i++)); do [ -n "$(containerd_tool tasks list -q)" ] || break; sleep 0.1; done
  fi
  # What is still in a shim: it removes its socket and mounts itself when it is told to end. This pid namespace's only.
  shims=$(pgrep -f "^/usr/bin/containerd-shim-runc-v2 .*-address $containerd_socket" || true)
  stop containerd; [ -z "$shims" ] || kill $shims 2>/dev/null || true
  stop apiserver; stop etcd
  # Mounts of volumes, containers and pods' network namespaces, innermost first.
  findmnt -rno TARGET | grep -E "^($HTCDASK_KUBE_STATE/|/run/netns/|/run/containerd/)" | sort -r |
    while read -r mount; do umount -l "$mount"; done
  for path in /run/netns/*; do if [ -e "$path" ]; then rm -f "$path"; fi; done
  remove_node_network
  rm -rf "${containerd_socket%/*}" /var/lib/cni/* /var/log/pods/* /var/log/containers/*
  find "$HTCDASK_KUBE_STATE" -mindepth 1 -maxdepth 1 ! -name var ! -name log -exec rm -rf --one-file-system {} +
  for hierarchy in /sys/fs/cgroup/*/kubepods; do
    if [ -d "$hierarchy" ]; then find "$hierarchy" -depth -type d -exec rmdir {} \; 2>/dev/null || true; fi
  done
}

