#!/bin/sh
# The executable of a worker's job: reads the environment that the gateway wrote, becomes the worker.
#
#   start_worker.sh NAME
#
# In the working directory, the job's scratch: dask.crt, dask.pem (the cluster's TLS pair), worker.env.
# Exit codes of its own: 64 called or configured wrongly, 65 a file is missing, 66 no program to run.
#
# Variables here begin with HTCDASK_: the gateway sees to it that no other variable of worker.env does.
set -u
umask 077

fail() {
  printf 'start_worker.sh on %s: %s\n' "${HTCDASK_NODE:-?}" "$2" >&2
  exit "$1"
}

HTCDASK_NODE=$(uname -n)
[ "$#" -eq 1 ] && [ -n "$1" ] || fail 64 "expected the worker's name as the only argument, got $# arguments."
HTCDASK_NAME=$1
HTCDASK_SCRATCH=$(pwd -P)

for HTCDASK_FILE in dask.crt dask.pem worker.env; do
  [ -r "$HTCDASK_FILE" ] || fail 65 "the input file $HTCDASK_FILE is missing or cannot be read in $HTCDASK_SCRATCH."
done
chmod 600 dask.crt dask.pem worker.env || fail 65 "the input files in $HTCDASK_SCRATCH cannot be made private."
mkdir -p tmp work || fail 65 "no directories can be made in $HTCDASK_SCRATCH."
HTCDASK_SETTINGS=$(cat worker.env) || fail 65 "worker.env cannot be read in $HTCDASK_SCRATCH."
rm -f worker.env

# From here on builtins only: PATH may be the user's.
eval "$HTCDASK_SETTINGS" || fail 64 "worker.env cannot be read as shell text."

case ${HTCDASK_RUNTIME:-} in
  none) ;;
  *) fail 64 "the worker runtime '${HTCDASK_RUNTIME:-}' is not known here, only 'none'." ;;
esac
for HTCDASK_FILE in COMMAND CONTACT NTHREADS MEMORY_LIMIT DEATH_TIMEOUT; do
  eval "[ -n \"\${HTCDASK_$HTCDASK_FILE:-}\" ]" || fail 64 "worker.env does not set HTCDASK_$HTCDASK_FILE."
done

eval "set -- $HTCDASK_COMMAND"
command -v -- "$1" >/dev/null || fail 66 "the program '$1' is not found, PATH is '${PATH:-}'."

# The scheduler does not reach into the execute point: no dashboard of the worker's own.
set -- "$@" "$HTCDASK_CONTACT" --name "$HTCDASK_NAME" \
  --tls-ca-file "$HTCDASK_SCRATCH/dask.crt" \
  --tls-cert "$HTCDASK_SCRATCH/dask.crt" --tls-key "$HTCDASK_SCRATCH/dask.pem" \
  --nthreads "$HTCDASK_NTHREADS" --memory-limit "$HTCDASK_MEMORY_LIMIT" \
  --local-directory "$HTCDASK_SCRATCH/work" --death-timeout "$HTCDASK_DEATH_TIMEOUT" --nanny --no-dashboard
if [ -n "${HTCDASK_SNI:-}" ]; then
  # distributed gives the name to the worker, but its nanny would connect without it.
  printf '%s\n' 'import os' 'def dask_setup(nanny):' \
    '    nanny.rpc.connection_args["server_hostname"] = os.environ["HTCDASK_SNI"]' >nanny_sni.py ||
    fail 65 "nanny_sni.py cannot be written in $HTCDASK_SCRATCH."
  set -- "$@" --scheduler-sni "$HTCDASK_SNI" --preload-nanny "$HTCDASK_SCRATCH/nanny_sni.py"
fi
[ -z "${HTCDASK_WORKER_PORT:-}" ] || set -- "$@" --worker-port "$HTCDASK_WORKER_PORT"
[ -z "${HTCDASK_NANNY_PORT:-}" ] || set -- "$@" --nanny-port "$HTCDASK_NANNY_PORT"
[ -z "${HTCDASK_WORKER_HOST:-}" ] || set -- "$@" --host "$HTCDASK_WORKER_HOST"

export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
export TMPDIR="$HTCDASK_SCRATCH/tmp"
export HOME="${HOME:-$HTCDASK_SCRATCH}"
unset HTCDASK_NODE HTCDASK_NAME HTCDASK_SCRATCH HTCDASK_FILE HTCDASK_SETTINGS \
  HTCDASK_CONTACT HTCDASK_COMMAND HTCDASK_NTHREADS HTCDASK_MEMORY_LIMIT \
  HTCDASK_DEATH_TIMEOUT HTCDASK_WORKER_PORT HTCDASK_NANNY_PORT HTCDASK_WORKER_HOST HTCDASK_RUNTIME
exec "$@"
