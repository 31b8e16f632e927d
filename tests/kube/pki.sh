# A certificate authority to throw away and what it signs. Elliptic curves: RSA keys take seconds.
make_pki() {  # make_pki MORE_ADDRESSES_OF_THE_API_SERVER...
  local address names="DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$service_ip"
  for address; do names+=",IP:$address"; done
  (umask 077; mkdir -p "$HTCDASK_KUBE_STATE/pki")
  (
    cd "$HTCDASK_KUBE_STATE/pki"; umask 077
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -days 30 -subj /CN=throw-away-ca -out ca.crt
    sign apiserver /CN=kube-apiserver "subjectAltName=$names"
    sign admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
    openssl genrsa -out sa.key 2048; openssl rsa -in sa.key -pubout -out sa.pub     # service accounts' tokens are RS256
  ) >"$HTCDASK_KUBE_STATE/log/pki.log" 2>&1 || die "the certificates could not be made: $(tail -n 3 "$HTCDASK_KUBE_STATE/log/pki.log")"
}

sign() {  # sign NAME SUBJECT EXTENSION
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile <(echo "$3") -out "$1.crt"
}

# Self-contained, so that it can be copied elsewhere.
write_kubeconfig() {  # write_kubeconfig PORT
  local pki=$HTCDASK_KUBE_STATE/pki
  (umask 077; cat > "$HTCDASK_KUBE_STATE/kubeconfig" <<Y
apiVersion: v1
kind: Config
clusters: [{name: htcdask, cluster: {server: "https://127.0.0.1:$1", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}]
users: [{name: admin, user: {client-certificate-data: $(base64 -w0 "$pki/admin.crt"), client-key-data: $(base64 -w0 "$pki/admin.key")}}]
contexts: [{name: htcdask, context: {cluster: htcdask, user: admin}}]
current-context: htcdask
Y
  )
}
