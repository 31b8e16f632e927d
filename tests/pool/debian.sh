# What comes from Debian: packages for this machine, and trees of other suites.

# The programs that a build needs here, each from the package of its name unless PROGRAM:PACKAGE says
# otherwise. The packages stay installed.
need() {
  local item missing=
  for item in "$@"; do command -v "${item%%:*}" >/dev/null || missing+=" ${item#*:}"; done
  [ -z "$missing" ] || install_packages $missing
}

install_packages() {
  [ "$(id -u)" = 0 ] || die "missing Debian packages, which only root can install: apt-get install --no-install-recommends $*"
  local log; log=$(mktemp)
  echo "installing from Debian: $*" >&2
  (
    flock -w 600 6                            # builds run side by side
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq -o DPkg::Lock::Timeout=300 update &&
      apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold install --no-install-recommends "$@"
  ) 6</var/cache/apt >"$log" 2>&1 </dev/null || { tail -n 15 "$log" >&2; rm -f "$log"; die "apt-get could not install: $*"; }
  rm -f "$log"
}

# Where this machine gets Debian from: its own apt sources say it.
debian_mirror() {
  local sources=/etc/apt/sources.list.d/debian.sources
  if [ -r $sources ]; then
    awk '$1 == "URIs:" { print $2; exit }' $sources
  elif [ -r /etc/apt/sources.list ]; then
    awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^[a-z+]+:/) { print $i; exit } }' /etc/apt/sources.list
  fi
}

# mmdebstrap with what all our trees have in common.
debian_tree() {  # debian_tree LOG ARGUMENTS...
  local log=$1; shift
  # A mount namespace of its own: whatever happens, no mount stays on the host.
  # Valid-Until is not checked: sid's InRelease on a mirror that lags is past it.
  nice unshare --mount mmdebstrap --mode=root --components=main \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Languages "none"' \
    --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$@" >"$log" 2>&1 </dev/null
}
