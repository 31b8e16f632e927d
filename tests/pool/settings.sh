# Every setting, with its default. The environment wins over what the last `up` saved in the pool's
# directory, and that over the defaults: after `up`, HTCDASK_POOL_HOME alone finds the pool again.
if is_root; then default_home=/var/tmp/htcdask-pool; else default_home=/var/tmp/htcdask-pool-$(id -un); fi
: "${HTCDASK_POOL_HOME:=$default_home}"
HTCDASK_POOL_HOME=$(realpath -m "$HTCDASK_POOL_HOME")
# The path is written unquoted into condor_config and mount options.
case $HTCDASK_POOL_HOME in *[!A-Za-z0-9/._+-]*) die "HTCDASK_POOL_HOME: only letters, digits and /._+- in '$HTCDASK_POOL_HOME'" ;; esac
# Everybody may make a directory in /var/tmp: what another account put there is not read.
if [ -e "$HTCDASK_POOL_HOME" ] && ! [ -O "$HTCDASK_POOL_HOME" ]; then
  die "$HTCDASK_POOL_HOME belongs to $(stat -c %U "$HTCDASK_POOL_HOME"), not to $(id -un). Set HTCDASK_POOL_HOME to another directory."
fi
if [ -r "$HTCDASK_POOL_HOME/settings" ]; then . "$HTCDASK_POOL_HOME/settings"; fi

saved_settings="BUILD PORT CPUS MEMORY USERS BIND CVMFS CONDOR"
: "${HTCDASK_POOL_BUILD:=/var/tmp/htcdask-build}"           # what is slow to build; pools share it
: "${HTCDASK_POOL_PORT:=19618}"                             # the pool's one TCP port, on 127.0.0.1
: "${HTCDASK_POOL_CPUS:=16}"                                # what the slot promises, not what there is
: "${HTCDASK_POOL_MEMORY:=65536}"                           # MiB, likewise
: "${HTCDASK_POOL_USERS:=analyst=2101 analyst2=2102 htcdask=2110}"   # NAME=UID; made if absent
: "${HTCDASK_POOL_BIND:=}"                                  # more host directories that jobs see, at the same path
: "${HTCDASK_POOL_CVMFS:=$HTCDASK_POOL_BUILD/cvmfs}"        # jobs see it as /cvmfs; the host does not
: "${HTCDASK_POOL_CONDOR:=}"                                # machine, built; empty: the machine's own if it has one

: "${HTCDASK_POOL_SUITE:=sid}"                              # Debian suite to take HTCondor and Apptainer from
: "${HTCDASK_POOL_PYTHON:=python3}"                         # copied for ordinary users and into the matching image
: "${HTCDASK_POOL_PACKAGES:=dask==2026.8.0 distributed==2026.8.0 dask-gateway==2026.3.0 cryptography numpy>=1.25 awkward>=2.6 uproot>=5.3}"
: "${HTCDASK_POOL_OLD_SUITE:=trixie}"                       # its Python is the mismatched image's
: "${HTCDASK_POOL_OLD_PYTHON:=3.13}"
: "${HTCDASK_POOL_OLD_PACKAGES:=dask==2025.1.0 distributed==2025.1.0 dask-gateway==2025.4.0}"
: "${HTCDASK_POOL_IMAGE:=unpacked.cern.ch/registry.example.org/htcdask/worker}"   # below /cvmfs, less the tag

if is_root && [ -e "$HTCDASK_POOL_BUILD" ] && ! [ -O "$HTCDASK_POOL_BUILD" ]; then
  die "$HTCDASK_POOL_BUILD belongs to $(stat -c %U "$HTCDASK_POOL_BUILD"), not to root. Set HTCDASK_POOL_BUILD to another directory."
fi
state=$HTCDASK_POOL_HOME/local
condor_config=$HTCDASK_POOL_HOME/condor_config

save_settings() {
  local name
  for name in $saved_settings; do
    name=HTCDASK_POOL_$name
    printf ': "${%s:=%s}"\n' "$name" "${!name}"
  done > "$HTCDASK_POOL_HOME/settings"
}

pool_env() {
  echo "export CONDOR_CONFIG=$condor_config"
  echo "export PATH=$HTCDASK_POOL_HOME/bin:\$PATH"
  echo "export HTCDASK_POOL_HOME=$HTCDASK_POOL_HOME HTCDASK_POOL_CVMFS=$HTCDASK_POOL_CVMFS"
}
