# What the other commands need: Debian packages, Kubernetes compiled from Debian's source, two images.
#
# $HTCDASK_KUBE_HOME/bin is a link into cache/KEY; KEY is the hash of the source's and the compiler's version and of
# what compiles it: a change makes a new entry, and a cluster that runs keeps its own programs.

# One sentence where there can be none.
can_be_had() {
  [ "$(id -u)" = 0 ] || die "no Kubernetes: only root can run one (make it so: run as root, or set KUBECONFIG to a cluster of yours)"
  [ "$(uname -m)" = x86_64 ] || die "no Kubernetes: this recipe makes images for x86_64 only, not $(uname -m)"
  (. /etc/os-release && [ "${VERSION_CODENAME:-}" = bookworm ]) ||
    die "no Kubernetes: its source is taken from Debian 12, and this machine is another system"
  [ -e /sys/fs/cgroup/memory/cgroup.procs ] ||
    die "no Kubernetes: the kubelet of this recipe needs the cgroup v1 hierarchies (memory, cpu, ...) below /sys/fs/cgroup"
  unshare --mount --net --cgroup --pid --fork true 2>/dev/null || die "no Kubernetes: this machine permits no new namespaces"
}

build() {
  can_be_had
  mkdir -p "$HTCDASK_KUBE_HOME/cache"
  (
    flock -w 1500 9 || die "another build holds $HTCDASK_KUBE_HOME"     # two at once take twice as long
    install_parts 9>&-
    compile_parts 9>&-
    build_images 9>&-
  ) 9>"$HTCDASK_KUBE_HOME/build.lock"
  echo "Kubernetes: $(readlink -f "$bin")"
}

# A dozen small packages; none is removed or upgraded. Those of etcd and containerd would start services:
# policy-rc.d keeps them from it, and goes again if it was not there; then they are disabled.
install_parts() {
  local package service missing='' policy=/usr/sbin/policy-rc.d
  local packages="etcd-server containerd runc iptables conntrack iproute2 containernetworking-plugins busybox-static openssl curl dpkg-dev"
  command -v kubectl >/dev/null || packages+=" kubernetes-client"
  for package in $packages; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=" $package"
  done
  [ -n "$missing" ] || return 0
  if [ -e $policy ]; then
    install_packages $missing
  else
    (
      trap 'rm -f $policy' EXIT
      printf '#!/bin/sh\nexit 101\n' > $policy; chmod 755 $policy
      install_packages $missing
    )
  fi
  for service in etcd containerd; do
    case $missing in *$service*) if command -v systemctl >/dev/null; then systemctl --quiet disable $service 2>/dev/null || true; fi ;; esac
  done
}

version_of() { apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1; }

compile_parts() {
  local version cache missing='' component work
  version=$(version_of kubernetes-client)
  if [ -z "$version" ]; then apt-get -qq update >/dev/null; version=$(version_of kubernetes-client); fi
  [ -n "$version" ] || die "no Kubernetes: this machine's apt sources have no kubernetes-client"
  version=${version%+b[0-9]*}                     # +bN: the same source, built again
  cache=$HTCDASK_KUBE_HOME/cache/$(recipe_hash compile.sh "$version $(version_of golang-1.19-go)" "$(cat "$here/pause.go")")
  mkdir -p "$cache"
  for component in $components; do [ -x "$cache/$component" ] || missing+=" $component"; done
  if [ -n "$missing" ]; then
    rm -rf --one-file-system "$HTCDASK_KUBE_HOME"/work.*
    work=$(mktemp -d "$HTCDASK_KUBE_HOME/work.XXXXXX")
    echo "compiling$missing: about 7 minutes on 2 cores" >&2
    (
      trap 'rm -rf --one-file-system "$work"' EXIT
      nice bash "$here/compile.sh" "$work" "$cache" "$version" $missing
    )
  fi
  ln -sfn "cache/${cache##*/}" "$bin"
}

# What every cluster has: pause (no pod starts without) and busybox (for tests).
build_images() {
  local images=$HTCDASK_KUBE_HOME/images root applet
  ! [ "$images/busybox.tar" -nt "$bin/pause" ] || return 0
  mkdir -p "$images"; root=$(mktemp -d "$HTCDASK_KUBE_HOME/root.XXXXXX")
  cp "$bin/pause" "$root/pause"
  python3 "$here/make_image.py" "$pause_image" "$root" "$images/pause.tar" /pause
  rm "$root/pause"; mkdir -p "$root"/{bin,dev,etc,proc,root,sys,tmp}; chmod 1777 "$root/tmp"; cp /bin/busybox "$root/bin/"
  for applet in $(/bin/busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
  echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"; echo 'root:x:0:' > "$root/etc/group"
  python3 "$here/make_image.py" "$busybox_image" "$root" "$images/busybox.tar" /bin/sh
  rm -rf "$root"
}
