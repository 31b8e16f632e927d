# Settings, and what is the same for every cluster of this recipe.
: "${HTCDASK_KUBE_HOME:=/var/tmp/htcdask-kube}"     # not /tmp: that is often a small tmpfs; overlayfs cannot lie on overlayfs
HTCDASK_KUBE_HOME=$(realpath -m "$HTCDASK_KUBE_HOME")
case $HTCDASK_KUBE_HOME in *[!A-Za-z0-9/._+-]*) die "HTCDASK_KUBE_HOME: only letters, digits and /._+- in '$HTCDASK_KUBE_HOME'" ;; esac
# Everybody may make a directory in /var/tmp: programs that another account put there are not run.
if [ -e "$HTCDASK_KUBE_HOME" ] && ! [ -O "$HTCDASK_KUBE_HOME" ]; then
  die "$HTCDASK_KUBE_HOME belongs to $(stat -c %U "$HTCDASK_KUBE_HOME"), not to $(id -un). Set HTCDASK_KUBE_HOME to another directory."
fi
: "${HTCDASK_KUBE_APISERVER_FLAGS:=}"               # more arguments of kube-apiserver
# HTCDASK_KUBE_STATE: all that a cluster writes; `sandbox` removes it at its end unless the caller has set it

components="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy pause"
bin=$HTCDASK_KUBE_HOME/bin
node_name=node1 node_ip=10.123.0.1 node_net=10.123.0.0/24
pod_net=10.124.0.0/24 service_net=10.96.0.0/16 service_ip=10.96.0.1
containerd_socket=/run/containerd/containerd.sock   # /run is private to a sandbox
pause_image=registry.local/pause:1 busybox_image=registry.local/busybox:1
PATH=$bin:$PATH:/usr/sbin:/sbin
