# Images, unpacked as CVMFS shows them: /cvmfs/$HTCDASK_POOL_IMAGE:TAG, a link to a directory in .flat
#   matching     the Python, dask, distributed and dask-gateway of the pool's virtual environment
#   mismatched   another Python and an older distributed: its worker joins, then breaks
#   no-dask      Python, no dask
#   no-python    no Python at all
#   unreadable   the matching one, for root's eyes only
build_images() {
  local built start tag flat image=$HTCDASK_POOL_BUILD/image images=$HTCDASK_POOL_CVMFS/$HTCDASK_POOL_IMAGE
  exec 8>"$(build_log images.lock)"; flock -w 1500 8
  build_rootfs
  build_image_env
  built=$(dirname "$images")/.built-$(recipe_hash build_images.sh "$venv" "$images" "$HTCDASK_POOL_OLD_SUITE $HTCDASK_POOL_OLD_PYTHON $HTCDASK_POOL_OLD_PACKAGES")
  [ ! -e "$built" ] || return 0
  need mmdebstrap
  mkdir -p "$(dirname "$images")"; rm -f "${built%-*}"-*
  for tag in matching mismatched no-dask no-python unreadable; do
    start=$(now)
    flat=$(printf '%s' "$images:$tag" | sha256sum | cut -d' ' -f1)
    flat=$HTCDASK_POOL_CVMFS/${HTCDASK_POOL_IMAGE%%/*}/.flat/${flat:0:2}/$flat
    # Built elsewhere and moved: with the colon of a tag in the path apt does not find its keys.
    rm -rf --one-file-system "$image" "$images:$tag" "$flat"
    "image_${tag/-/_}" "$image"
    mkdir -p "$(dirname "$flat")"
    mv "$image" "$flat"
    ln -sr "$flat" "$images:$tag"
    echo "image $HTCDASK_POOL_IMAGE:$tag: $(since "$start"), $(du -sxm "$flat" | cut -f1) MiB"
  done
  touch "$built"
}

image_tree() {  # image_tree LOG ARGUMENTS...
  local log; log=$(build_log "$1"); shift
  debian_tree "$log" "$@" || { tail -n 30 "$log" >&2; die "mmdebstrap failed: $log"; }
}

image_matching() {
  local image=$1 site
  # Extracted, not configured: nothing in it needs a maintainer script. The libraries are those that
  # the copied Python's modules load, from the host's own release.
  image_tree image_matching --variant=extract --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --include=base-files,bash,dash,coreutils,grep,sed,findutils,procps,hostname,util-linux,ca-certificates,openssl,libc6,libc-bin,libstdc++6,libssl3,libffi8,libsqlite3-0,liblzma5,libbz2-1.0,zlib1g,libuuid1,libreadline8,libncursesw6 \
    "$(. /etc/os-release; echo "$VERSION_CODENAME")" "$image" "$(debian_mirror)"
  mkdir -p "$image/opt"; cp -a "$python_home" "$image/opt/python"
  site=$(echo "$image"/opt/python/lib/python3.*/site-packages)
  rmdir "$site"; cp -a "$venv"/lib/python3.*/site-packages "$site"
  finish_image "$image" /opt/python/bin
}

image_mismatched() {
  local image=$1 packages
  packages=$image/usr/local/lib/python$HTCDASK_POOL_OLD_PYTHON/dist-packages
  # The host's keyring is older than this suite's keys; the pool's root has a newer one.
  image_tree image_mismatched --variant=extract \
    --include=base-files,bash,dash,coreutils,grep,sed,libc6,libc-bin,python3,ca-certificates "$HTCDASK_POOL_OLD_SUITE" "$image" \
    "deb [signed-by=$rootfs/usr/share/keyrings/debian-archive-keyring.gpg] $(debian_mirror) $HTCDASK_POOL_OLD_SUITE main"
  mkdir -p "$packages"
  nice "$venv/bin/pip" install -q --python-version "$HTCDASK_POOL_OLD_PYTHON" --only-binary=:all: \
    --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 \
    --target "$packages" $HTCDASK_POOL_OLD_PACKAGES >"$(build_log pip_old)" 2>&1 || { tail -n 20 "$(build_log pip_old)" >&2; die "pip failed"; }
  rm -rf "${packages:?}/bin"; find "$packages" -name __pycache__ -prune -exec rm -rf {} +   # of the host's Python
  ln -sf python3 "$image/usr/bin/python"
  finish_image "$image" /usr/bin
  nice chroot "$image" /usr/bin/python3 -m compileall -q /usr/lib/python3.* /usr/local/lib/python3.* >"$(build_log compileall_old)" 2>&1 || true
}

# The others are the matching one, less something. Hard links: they cost no space and no time.
image_no_dask() {
  cp -al "$HTCDASK_POOL_CVMFS/$HTCDASK_POOL_IMAGE:matching/." "$1"
  rm -rf "$1"/opt/python/lib/python3.*/site-packages/{dask,distributed}* "$1"/opt/python/bin/dask*
}

image_no_python() {
  cp -al "$HTCDASK_POOL_CVMFS/$HTCDASK_POOL_IMAGE:matching/." "$1"
  rm -rf "$1/opt/python"
}

image_unreadable() {
  cp -al "$HTCDASK_POOL_CVMFS/$HTCDASK_POOL_IMAGE:matching/." "$1"
  chmod 700 "$1"
}

finish_image() {  # finish_image IMAGE BIN: what a container needs besides the packages; BIN has its Python
  local image=$1 bin=$2 directory program
  for directory in bin sbin lib lib64; do [ -e "$image/$directory" ] || ln -s "usr/$directory" "$image/$directory"; done
  mkdir -p "$image"/{proc,sys,dev,tmp,var/tmp,root,home,opt,srv,cvmfs,etc,usr/local/bin,.singularity.d/{actions,env}}
  chmod 1777 "$image/tmp" "$image/var/tmp"
  echo 'root:x:0:0:root:/root:/bin/bash' > "$image/etc/passwd"
  echo 'root:x:0:' > "$image/etc/group"
  echo 'hosts: files dns' > "$image/etc/nsswitch.conf"
  : > "$image/etc/resolv.conf"; : > "$image/etc/hosts"; : > "$image/etc/localtime"   # Apptainer binds onto them
  # HTCondor's container universe runs this first, and takes an image without it for broken.
  printf '#!/bin/sh\nexit 0\n' > "$image/.singularity.d/actions/test"; chmod 755 "$image/.singularity.d/actions/test"
  # The environment of the image, where one unpacked from a registry has it. Where there is an env
  # directory, Apptainer sets the APPTAINERENV_* variables after 99-base.sh: without that file, never.
  printf '#!/bin/sh\nexport PATH="%s:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\n' "$bin" > "$image/.singularity.d/env/10-docker2singularity.sh"
  printf '#!/bin/sh\n' | tee "$image/.singularity.d/env/90-environment.sh" > "$image/.singularity.d/env/99-base.sh"
  # pip's launchers name the Python of the host's virtual environment
  for program in dask:dask dask-worker:distributed.cli.dask_worker dask-scheduler:distributed.cli.dask_scheduler; do
    printf '#!/bin/sh\nexec %s/python3 -m %s "$@"\n' "$bin" "${program#*:}" > "$image$bin/${program%%:*}"; chmod 755 "$image$bin/${program%%:*}"
  done
  ldconfig -r "$image"
}
