# The gateway's image, from deploy/Containerfile as it is, for the chart's tests: $HTCDASK_KUBE_HOME/gateway.tar
#
# buildah does it, unpacked and not installed (Debian's package would upgrade others). Its base image is made of
# the machine's own Debian mirror, under the name that the Containerfile pulls.
gateway_image=registry.local/htcdaskgateway:test
gateway_base=docker.io/library/debian:12-slim
buildah_home=$HTCDASK_KUBE_HOME/buildah
gateway_archive=$HTCDASK_KUBE_HOME/gateway.tar

build_gateway_image() {
  mkdir -p "$buildah_home"
  (
    flock -w 1500 9 || die "another build holds $buildah_home"
    recipe=$(cd "$here/../.." && find deploy/Containerfile pyproject.toml README.md LICENSE src tests/kube/build_gateway_image.sh -type f ! -path '*/__pycache__/*' -print0 |
      sort -z | xargs -0 sha256sum | sha256sum)
    [ "$recipe" != "$(cat "$gateway_archive.recipe" 2>/dev/null)" ] || [ ! -e "$gateway_archive" ] || exit 0
    rm -f "$gateway_archive" "$gateway_archive.recipe"
    # Layers are kept, so that a change of the sources takes seconds; not for ever.
    [ "$(du -sm "$buildah_home" | cut -f1)" -lt 4000 ] || rm -rf --one-file-system "$buildah_home"/{storage,run}
    unpack_buildah; make_base
    log=$buildah_home/build.log
    buildah bud --isolation chroot --network host --pull-never --layers $(host_packages) \
      -f "$here/../../deploy/Containerfile" -t "$gateway_image" "$here/../.." >"$log" 2>&1 || { tail -n 25 "$log" >&2; die "deploy/Containerfile could not be built: $log"; }
    buildah push "$gateway_image" "docker-archive:$gateway_archive:$gateway_image" >>"$log" 2>&1 || { tail -n 5 "$log" >&2; die "the image could not be written: $log"; }
    echo "$recipe" > "$gateway_archive.recipe"
    echo "$gateway_image: $(($(stat -c %s "$gateway_archive") / 1000000)) MB"
  ) 9>"$buildah_home/lock" </dev/null
}

buildah() {
  local command=$1 policy=; shift
  case $command in from|bud|commit|push) policy="--signature-policy $tree/etc/containers/policy.json" ;; esac
  nice "$tree/usr/bin/buildah" --root "$buildah_home/storage" --runroot "$buildah_home/run" --storage-driver overlay \
    --registries-conf "$tree/etc/containers/registries.conf" "$command" $policy "$@" 9>&-
}

tree=$buildah_home/tree
unpack_buildah() {
  local package library=$tree/usr/lib/x86_64-linux-gnu
  [ ! -e "$tree/complete" ] || return 0
  need patchelf
  rm -rf "$tree"; mkdir -p "$tree/packages"
  (cd "$tree/packages" && apt-get -q -o APT::Sandbox::User=root download buildah libgpgme11 libsubid4 libassuan0 \
     golang-github-containers-common golang-github-containers-image) >"$tree/apt.log" 2>&1 || { tail -n 5 "$tree/apt.log" >&2; die "buildah could not be fetched"; }
  for package in "$tree/packages"/*.deb; do dpkg -x "$package" "$tree"; done
  # It starts itself again without our environment: LD_LIBRARY_PATH would be lost.
  patchelf --set-rpath "$library" "$tree/usr/bin/buildah" "$library/libgpgme.so.11"
  touch "$tree/complete"
}

make_base() {
  local base=$buildah_home/base.tar container
  ! buildah inspect --type image "$gateway_base" >/dev/null 2>&1 || return 0
  need mmdebstrap
  debian_tree "$buildah_home/base.log" --variant=minbase bookworm "$base" "$(debian_mirror)" || { tail -n 20 "$buildah_home/base.log" >&2; die "mmdebstrap failed: $buildah_home/base.log"; }
  container=$(buildah from scratch)
  buildah add "$container" "$base" / >/dev/null
  buildah commit "$container" "$gateway_base" >/dev/null 2>&1
  buildah rm "$container" >/dev/null; rm -f "$base"
}

# pip in there gets its packages from where the machine's own pip does: its settings, and the local directories
# and certificates that they name, at the same paths.
host_packages() {
  local setting value directory certificates=/certificates-of-the-host.crt
  echo "[global]" > "$buildah_home/pip.conf"
  python3 -m pip config list | while IFS="=" read -r setting value; do
    setting=${setting##*.}; value=${value#\'}; value=${value%\'}
    case $setting in
      cert) echo "-v $value:$certificates:ro"; value=$certificates ;;
      index-url|extra-index-url|find-links|timeout|default-timeout)
        for directory in $value; do
          directory=${directory#file://}; directory=${directory%/simple}
          if [ -d "$directory" ]; then echo "-v $directory:$directory:ro"; fi
        done ;;
      *) continue ;;
    esac
    grep -q "^$setting = " "$buildah_home/pip.conf" || echo "$setting = $value" >> "$buildah_home/pip.conf"
  done | sort -u
  echo "-v $buildah_home/pip.conf:/etc/pip.conf:ro"
}
