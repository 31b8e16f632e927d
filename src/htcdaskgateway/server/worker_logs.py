"""What workers wrote, from the sandbox that it came back to: the gateway's, or a session's."""

from __future__ import annotations

import asyncio

from dask_gateway_server.backends.db_base import Cluster

from htcdaskgateway.condor.schedd import Schedd
from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.server.session_schedd import SessionSchedd
from htcdaskgateway.server.settings import HTCondorSettings

LAST_LINES = 5  # of a log, in which its last words are
LONGEST_LINE = 300


async def worker_logs(
    site: HTCondorSettings, cluster: Cluster, schedd: Schedd | None, worker: str, tail: int | None
) -> dict[str, dict[str, str]]:
    """Logs by worker and stream.

    Parameters
    ----------
    schedd : Schedd or None
        Of the cluster; a session's is asked.
    worker : str
        Of this one only; empty: of all.
    tail : int or None
        Only so many lines from the end of each.

    Raises
    ------
    InvalidRequestError
        No worker has such a name.
    CondorError
        The session that has the sandbox cannot be asked.
    """
    if isinstance(schedd, SessionSchedd):
        return await schedd.logs(worker, tail)
    return await asyncio.to_thread(site.sandbox(cluster.name).logs, worker, tail)


async def last_words(site: HTCondorSettings, cluster: Cluster, schedd: Schedd | None, worker: str) -> str:
    """Last line of what a worker wrote to standard error; empty if it cannot be had."""
    try:
        streams = (await worker_logs(site, cluster, schedd, worker, LAST_LINES)).get(worker, {})
    except HTCDaskError:  # they are only an addition
        return ""
    lines = [line.strip() for line in streams.get("err", "").splitlines() if line.strip()]
    return lines[-1][:LONGEST_LINE] if lines else ""
