#!/bin/sh
# The executable of a worker's job: reads what the gateway wrote, becomes the worker.
#
#   start_worker.sh NAME [JOB_ID]
#
# By its job id people find a worker of the dashboard in the queue: it is its name in Dask, else NAME.
# In the working directory, the job's scratch: dask.crt, dask.pem (the cluster's TLS pair), worker.env, and
# the user's own x509.pem and bearer.token where the site's jobs have them.
# With an image it runs twice. On the execute point it has Apptainer run it again, in the image:
#
#   worker.sh --inside NAME [VARIABLE=VALUE...]
#
# The variables of the user, who may change PATH, are read only where the worker is to run.
#
# Exit codes of its own, each with one sentence in the last line of the log: 64 called or configured
# wrongly, 65 a file is missing or cannot be written, 66 no program to run, 67 no Apptainer here, 68 no
# image here, 69 the image or the scratch directory cannot be used for a worker.
#
# Variables here begin with HTCDASK_: the gateway sees to it that no other variable of worker.env does.
set -u
umask 077

fail() {
  printf 'start_worker.sh on %s: %s\n' "${HTCDASK_NODE:-?}" "$2" >&2
  exit "$1"
}

is_program() {
  case $1 in
    */*) [ -f "$1" ] && [ -x "$1" ] ;;
    *) command -v -- "$1" >/dev/null ;;
  esac
}

prepare_scratch() {
  for HTCDASK_FILE in dask.crt dask.pem worker.env; do
    [ -r "$HTCDASK_FILE" ] || fail 65 "the input file $HTCDASK_FILE is missing or cannot be read in $HTCDASK_SCRATCH."
  done
  mkdir -p tmp cache work credentials || fail 65 "no directories can be made in $HTCDASK_SCRATCH."
  { chmod 600 dask.crt dask.pem worker.env && mv -f dask.crt dask.pem credentials/; } ||
    fail 65 "the input files in $HTCDASK_SCRATCH cannot be made private."
  for HTCDASK_FILE in x509.pem bearer.token; do
    [ ! -e "$HTCDASK_FILE" ] || chmod 600 "$HTCDASK_FILE" || fail 65 "$HTCDASK_FILE in $HTCDASK_SCRATCH cannot be made private."
  done
}

read_settings() {
  # shellcheck source=/dev/null
  . ./worker.env || fail 64 "worker.env cannot be read as shell text."
  require COMMAND CONTACT NTHREADS MEMORY_LIMIT DEATH_TIMEOUT
}

require() {
  for HTCDASK_FILE in "$@"; do
    eval "[ -n \"\${HTCDASK_$HTCDASK_FILE:-}\" ]" || fail 64 "worker.env does not set HTCDASK_$HTCDASK_FILE."
  done
}

# Nothing of the execute point's is to be seen in there but its own scratch, and what the site binds.
enter_image() {
  require IMAGE APPTAINER
  is_program "$HTCDASK_APPTAINER" || fail 67 "there is no Apptainer, '$HTCDASK_APPTAINER'."
  find_image
  case $HTCDASK_SCRATCH in
    *[:,\"\\]*) fail 69 "the scratch directory '$HTCDASK_SCRATCH' cannot be bound: it holds a comma, a colon, a quotation mark or a backslash." ;;
  esac
  cat "$0" >worker.sh || fail 65 "worker.sh cannot be written in $HTCDASK_SCRATCH."
  set -- /bin/sh "$HTCDASK_SCRATCH/worker.sh" --inside "$HTCDASK_NAME"
  # APPTAINER_BIND, APPTAINERENV_* and the like stay: the execute point's own binds.
  # What HTCondor says of the slot; the environment itself does not go in.
  for HTCDASK_FILE in _CONDOR_SLOT _CONDOR_SCRATCH_DIR _CONDOR_JOB_AD _CONDOR_MACHINE_AD \
    CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES GPU_DEVICE_ORDINAL \
    OMP_NUM_THREADS OMP_THREAD_LIMIT MKL_NUM_THREADS OPENBLAS_NUM_THREADS NUMEXPR_NUM_THREADS ROOT_MAX_THREADS; do
    eval "[ -z \"\${$HTCDASK_FILE+x}\" ] || set -- \"\$@\" \"$HTCDASK_FILE=\$$HTCDASK_FILE\""
  done
  eval "set -- ${HTCDASK_APPTAINER_ARGUMENTS:-} \"\$HTCDASK_IMAGE\" \"\$@\""
  export PATH="${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
  export APPTAINER_TMPDIR="$HTCDASK_SCRATCH/cache" APPTAINER_CACHEDIR="$HTCDASK_SCRATCH/cache"
  export APPTAINER_CONFIGDIR="$HTCDASK_SCRATCH/cache/config"
  # --workdir: /tmp in there is tmp in the scratch. --quiet: its last words are to be those that matter.
  exec "$HTCDASK_APPTAINER" --quiet exec --cleanenv --contain --no-home --workdir "$HTCDASK_SCRATCH" \
    --pwd "$HTCDASK_SCRATCH" --bind "$HTCDASK_SCRATCH" \
    --bind "$HTCDASK_SCRATCH/credentials:$HTCDASK_SCRATCH/credentials:ro" "$@"
}

find_image() {
  HTCDASK_FILE=$HTCDASK_IMAGE
  if [ ! -d "$HTCDASK_IMAGE/" ]; then
    while [ -n "$HTCDASK_FILE" ] && [ ! -d "$HTCDASK_FILE/" ]; do HTCDASK_FILE=${HTCDASK_FILE%/*}; done
    fail 68 "the image '$HTCDASK_IMAGE' is not there; of its path there is '${HTCDASK_FILE:-/}'."
  fi
  { [ -r "$HTCDASK_IMAGE/" ] && [ -x "$HTCDASK_IMAGE/" ]; } || fail 68 "the image '$HTCDASK_IMAGE' cannot be read by this job's account."
}

# Builtins only after the first line: PATH may be the user's.
become_worker() {
  htcdask_environment
  eval "set -- $HTCDASK_COMMAND"
  if ! is_program "$1"; then
    [ "$HTCDASK_RUNTIME" = none ] || fail 69 "the image '$HTCDASK_IMAGE' has no program '$1', PATH is '${PATH:-}'."
    fail 66 "the program '$1' is not found, PATH is '${PATH:-}'."
  fi
  # The scheduler does not reach into the execute point: no dashboard of the worker's own.
  set -- "$@" "$HTCDASK_CONTACT" --name "$HTCDASK_NAME" \
    --tls-ca-file "$HTCDASK_SCRATCH/credentials/dask.crt" \
    --tls-cert "$HTCDASK_SCRATCH/credentials/dask.crt" --tls-key "$HTCDASK_SCRATCH/credentials/dask.pem" \
    --nthreads "$HTCDASK_NTHREADS" --memory-limit "$HTCDASK_MEMORY_LIMIT" \
    --local-directory "$HTCDASK_SCRATCH/work" --death-timeout "$HTCDASK_DEATH_TIMEOUT" --nanny --no-dashboard
  if [ -n "${HTCDASK_SNI:-}" ]; then
    # distributed gives the name to the worker, but its nanny would connect without it.
    printf '%s\n' 'import os' 'def dask_setup(nanny):' \
      '    nanny.rpc.connection_args["server_hostname"] = os.environ["HTCDASK_SNI"]' >nanny_sni.py ||
      fail 65 "nanny_sni.py cannot be written in $HTCDASK_SCRATCH."
    set -- "$@" --scheduler-sni "$HTCDASK_SNI" --preload-nanny "$HTCDASK_SCRATCH/nanny_sni.py"
  fi
  if [ -f "$HTCDASK_SCRATCH/bearer.token" ]; then
    # The user's session sends a renewed one over the cluster's own connections: HTCondor transfers a file once.
    printf '%s\n' 'import os' 'def dask_setup(nanny):' '    path = os.environ["BEARER_TOKEN_FILE"]' \
      '    def take(token):' \
      '        new = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)' \
      '        with open(new, "wb") as file:' '            file.write(token)' \
      '        os.replace(path + ".new", path)' '        return "taken"' \
      '    nanny.handlers["htcdask_token"] = take' >nanny_token.py ||
      fail 65 "nanny_token.py cannot be written in $HTCDASK_SCRATCH."
    set -- "$@" --preload-nanny "$HTCDASK_SCRATCH/nanny_token.py"
  fi
  [ -z "${HTCDASK_WORKER_PORT:-}" ] || set -- "$@" --worker-port "$HTCDASK_WORKER_PORT"
  [ -z "${HTCDASK_NANNY_PORT:-}" ] || set -- "$@" --nanny-port "$HTCDASK_NANNY_PORT"
  [ -z "${HTCDASK_WORKER_HOST:-}" ] || set -- "$@" --host "$HTCDASK_WORKER_HOST"

  export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
  export TMPDIR="$HTCDASK_SCRATCH/tmp"
  export HOME="${HOME:-$HTCDASK_SCRATCH}"
  # HTCondor puts a renewed one in the place of the old: neither may be copied, nor bound by itself.
  [ ! -f "$HTCDASK_SCRATCH/x509.pem" ] || export X509_USER_PROXY="$HTCDASK_SCRATCH/x509.pem"
  [ ! -f "$HTCDASK_SCRATCH/bearer.token" ] || export BEARER_TOKEN_FILE="$HTCDASK_SCRATCH/bearer.token"
  unset HTCDASK_NODE HTCDASK_NAME HTCDASK_SCRATCH HTCDASK_FILE HTCDASK_CONTACT HTCDASK_COMMAND \
    HTCDASK_NTHREADS HTCDASK_MEMORY_LIMIT HTCDASK_DEATH_TIMEOUT HTCDASK_WORKER_PORT HTCDASK_NANNY_PORT \
    HTCDASK_WORKER_HOST HTCDASK_RUNTIME HTCDASK_IMAGE HTCDASK_APPTAINER HTCDASK_APPTAINER_ARGUMENTS
  exec "$@"
}

read -r HTCDASK_NODE </proc/sys/kernel/hostname || HTCDASK_NODE='?'
if [ "${1:-}" = --inside ]; then
  # In the image little can be relied on: builtins, before and after its own PATH.
  cd "${0%/*}" || fail 69 "the scratch directory cannot be entered in the image."
  HTCDASK_SCRATCH=$(pwd -P)
  HTCDASK_NAME=$2
  shift 2
  for HTCDASK_FILE in "$@"; do export "${HTCDASK_FILE?}"; done
  read_settings
  : >worker.env
  export HOME="$HTCDASK_SCRATCH"
  become_worker
fi

case $#:${1:-} in
  1:?* | 2:?*) ;;
  *) fail 64 "expected the worker's name and its job id as arguments, got $# arguments." ;;
esac
HTCDASK_NAME=$1
if [ "$#" = 2 ]; then
  case $2 in
    *[!0-9.]* | *.*.* | .* | *.) fail 64 "the second argument, '$2', is no job id." ;;
    *.*) HTCDASK_NAME=htcdask-worker_${2%.*}_${2#*.} ;;
    *) fail 64 "the second argument, '$2', is no job id." ;;
  esac
fi
HTCDASK_SCRATCH=$(pwd -P)
prepare_scratch
read_settings
case ${HTCDASK_RUNTIME:-} in
  apptainer) enter_image ;;
  none)
    rm -f worker.env
    become_worker
    ;;
  *) fail 64 "the worker runtime '${HTCDASK_RUNTIME:-}' is not known here, only 'apptainer' and 'none'." ;;
esac
