# The one node: its network, containerd, kubelet, kube-proxy.

# No route leads out of a sandbox, so nothing would find an address of its own: the node gets one, on a bridge without
# ports. The route lets local processes send to ClusterIPs at all; kube-proxy's rules redirect them.
make_node_network() {
  ip link add node0 type bridge; ip address add "$node_ip/${node_net#*/}" dev node0; ip link set node0 up
  ip route add "$service_net" dev node0
  echo 1 > /proc/sys/net/ipv4/ip_forward          # of this network namespace alone
}

remove_node_network() {
  local link table
  for link in cni0 node0 $(ip -o link show type veth | sed -E 's/^[0-9]+: ([^@:]+).*/\1/'); do ip link delete "$link" 2>/dev/null || true; done
  for table in nat filter mangle; do iptables -t $table -F; iptables -t $table -X; done
  conntrack -F >/dev/null 2>&1 || true
}

start_containerd() {
  local dir=$HTCDASK_KUBE_STATE/containerd
  mkdir -p "$dir" "$HTCDASK_KUBE_STATE/cni" "${containerd_socket%/*}"
  cat > "$HTCDASK_KUBE_STATE/cni/10-pods.conflist" <<Y
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$HTCDASK_KUBE_STATE/cni-ipam", "ranges": [[{"subnet": "$pod_net"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
Y
  # restrict_oom_score_adj: to lower a process's OOM score takes CAP_SYS_RESOURCE, which root has not everywhere
  # (no pod starts then: "write /proc/self/oom_score_adj: permission denied").
  cat > "$dir/config.toml" <<Y
version = 2
root = "$dir/root"
state = "/run/containerd/state"
[grpc]
  address = "$containerd_socket"
[plugins."io.containerd.internal.v1.opt"]
  path = "$dir/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$pause_image"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$HTCDASK_KUBE_STATE/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
Y
  start containerd containerd -c "$dir/config.toml"
}
containerd_tool() { ctr --address "$containerd_socket" --namespace k8s.io "$@"; }

# Evicts for want of memory only: that the test machine's disk is full is no reason. DevicePlugins off: they would use
# /var/lib/kubelet whatever --root-dir says. The resolver fails at once: there is no DNS.
start_kubelet() {
  local state=$HTCDASK_KUBE_STATE
  mkdir -p "$state/kubelet"; echo "nameserver 127.0.0.1" > "$state/resolv.conf"
  cat > "$state/kubelet.yaml" <<Y
kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failSwapOn: false
clusterDomain: cluster.local
resolvConf: $state/resolv.conf
featureGates: {DevicePlugins: false}
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "100Mi", nodefs.available: "0%", imagefs.available: "0%", nodefs.inodesFree: "0%"}
volumePluginDir: $state/kubelet/volume-plugins
nodeStatusUpdateFrequency: 4s
Y
  start kubelet kubelet --kubeconfig="$state/kubeconfig" --config="$state/kubelet.yaml" --root-dir="$state/kubelet" \
    --cert-dir="$state/kubelet/pki" --container-runtime=remote --container-runtime-endpoint="unix://$containerd_socket" \
    --node-ip="$node_ip" --hostname-override="$node_name" --pod-infra-container-image="$pause_image"
}

# The conntrack limits are the whole machine's; 0 leaves them alone.
start_kube_proxy() {
  start kube-proxy kube-proxy --kubeconfig="$HTCDASK_KUBE_STATE/kubeconfig" --proxy-mode=iptables --cluster-cidr="$pod_net" \
    --hostname-override="$node_name" --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
}
