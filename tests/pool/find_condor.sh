# Which HTCondor: the machine's own where it has one, else one that build_rootfs makes.

# condor_master of this machine, not the wrapper of a pool of ours that may be first in PATH.
machine_master() {
  local master
  for master in $(type -ap condor_master) /usr/sbin/condor_master; do
    [ -x "$master" ] && [ "$(basename "$(readlink -f "$master")")" != condor_tool ] || continue
    echo "$master"; return
  done
  return 1
}

case $HTCDASK_POOL_CONDOR in
  '') if machine_master >/dev/null; then HTCDASK_POOL_CONDOR=machine; else HTCDASK_POOL_CONDOR=built; fi ;;
  machine|built) ;;
  *) die "HTCDASK_POOL_CONDOR: 'machine', 'built' or empty, not '$HTCDASK_POOL_CONDOR'" ;;
esac

# One sentence where there can be no pool.
can_be_had() {
  if [ "$HTCDASK_POOL_CONDOR" = machine ]; then
    machine_master >/dev/null || die "no HTCondor pool: HTCDASK_POOL_CONDOR=machine, but there is no condor_master on this machine"
  else
    is_root || die "no HTCondor pool: this machine has no HTCondor, and only root can build one (make it so: run as root, or install HTCondor)"
    [ "$(uname -m)" = x86_64 ] || die "no HTCondor pool: this machine has no HTCondor, and Debian has it for x86_64 only, not $(uname -m)"
  fi
}

# "NAME = VALUE" lines: where HTCondor's files lie, as seen from within the pool's root.
condor_directories() {
  local names=(RELEASE_DIR BIN SBIN LIB LIBEXEC SHARE) config_val values i
  if [ "$HTCDASK_POOL_CONDOR" = built ]; then
    values=$(printf '%s\n' /usr /usr/bin /usr/sbin /usr/lib/condor /usr/libexec/condor /usr/share/condor)
  else
    config_val=$(dirname "$(machine_master)")/../bin/condor_config_val
    [ -x "$config_val" ] || config_val=condor_config_val
    # Its own configuration knows.
    values=$(env ${caller_condor_config:+"CONDOR_CONFIG=$caller_condor_config"} "$config_val" "${names[@]}") ||
      die "the machine's own HTCondor does not say where its files are: $config_val ${names[*]}"
  fi
  for ((i = 1; i <= ${#names[@]}; i++)); do echo "${names[i - 1]} = $(sed -n "${i}p" <<<"$values")"; done
}
