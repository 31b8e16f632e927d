# etcd, kube-apiserver, controllers: for `up`, and for the API server alone.

start_etcd_and_apiserver() {  # start_etcd_and_apiserver BIND ADVERTISE API_PORT ETCD_PORT PEER_PORT
  local api=$3 etcd=http://127.0.0.1:$4 peer=http://127.0.0.1:$5 pki=$HTCDASK_KUBE_STATE/pki
  make_pki "$2"; write_kubeconfig "$api"
  # without fsync: nothing here has to survive a power cut
  start etcd etcd --data-dir "$HTCDASK_KUBE_STATE/etcd" --unsafe-no-fsync --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer"
  start apiserver kube-apiserver --etcd-servers="$etcd" --secure-port="$api" --bind-address="$1" --advertise-address="$2" \
    --service-cluster-ip-range="$service_net" --authorization-mode=Node,RBAC --allow-privileged=true --client-ca-file="$pki/ca.crt" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-signing-key-file="$pki/sa.key" \
    --service-account-key-file="$pki/sa.pub" --kubelet-client-certificate="$pki/admin.crt" \
    --kubelet-client-key="$pki/admin.key" --kubelet-preferred-address-types=InternalIP,Hostname \
    --audit-policy-file="$here/audit_policy.yaml" --audit-log-path="$HTCDASK_KUBE_STATE/log/audit.log" $HTCDASK_KUBE_APISERVER_FLAGS
  wait_for 90 apiserver curl -sf --noproxy '*' --cacert "$pki/ca.crt" --cert "$pki/admin.crt" --key "$pki/admin.key" "https://127.0.0.1:$api/readyz"
}

start_controllers() {  # start_controllers LIST [PORT]; LIST as in --controllers
  local pki=$HTCDASK_KUBE_STATE/pki
  start controllers kube-controller-manager --kubeconfig="$HTCDASK_KUBE_STATE/kubeconfig" --bind-address=127.0.0.1 --port=0 \
    --secure-port="${2:-10257}" --leader-elect=false --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
    --flex-volume-plugin-dir="$HTCDASK_KUBE_STATE/kubelet/volume-plugins" --controllers="$1"
  # Pods of a namespace are refused until its service account `default` is there.
  wait_for 30 controllers kubectl -n default get serviceaccount default
}

# kubectl remembers for ten minutes what an address served; the next cluster there may serve less.
print_exports() { echo "export KUBECONFIG=$HTCDASK_KUBE_STATE/kubeconfig KUBECACHEDIR=$HTCDASK_KUBE_STATE/kubectl-cache HTCDASK_KUBE_STATE=$HTCDASK_KUBE_STATE"; }

apiserver() {
  export HTCDASK_KUBE_STATE=${2:-$HTCDASK_KUBE_HOME/state/apiserver}
  case ${1:-} in
    up)   apiserver_up ;;
    down) apiserver_down; rm -rf --one-file-system "$HTCDASK_KUBE_STATE" ;;
    *)    die "kube apiserver up|down [DIR]" ;;
  esac
}

# On free ports of 127.0.0.1. HTCDASK_KUBE_CONTROLLERS: controllers to run with it, such as
# serviceaccount,serviceaccount-token,namespace,garbagecollector; without any, deleted namespaces stay and so on.
apiserver_up() {
  local api etcd peer port
  trap 'status=$?; if [ $status != 0 ]; then apiserver_down; echo false; fi' EXIT     # "false", or eval "$(...)" succeeds
  need_built kube-apiserver kube-controller-manager
  apiserver_down                                        # what a test run that was killed has left
  rm -rf --one-file-system "$HTCDASK_KUBE_STATE"; mkdir -p "$HTCDASK_KUBE_STATE/log"
  read -r api etcd peer port < <(python3 -c 'import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]; print(*(s.getsockname()[1] for s in sockets))')
  start_etcd_and_apiserver 127.0.0.1 127.0.0.1 "$api" "$etcd" "$peer"
  eval "$(print_exports)"
  if [ -n "${HTCDASK_KUBE_CONTROLLERS:-}" ]; then
    start_controllers "$HTCDASK_KUBE_CONTROLLERS" "$port"
  else
    kubectl -n default create serviceaccount default >/dev/null
  fi
  print_exports
}

apiserver_down() { local name; for name in controllers apiserver etcd; do stop "$name"; done; }
