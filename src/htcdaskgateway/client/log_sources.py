"""Where workers' logs come from: the gateway, this session's sandbox, and the running workers themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
from distributed.core import rpc

from htcdaskgateway.client.errors import RefusedError
from htcdaskgateway.client.logs import Logs, end_of, find, lines_asked, merge
from htcdaskgateway.client.running import ask, worker_names
from htcdaskgateway.client.session_sandbox import SessionSandbox
from htcdaskgateway.errors import ConfigurationError, InvalidRequestError
from htcdaskgateway.records import WorkerRecord, WorkerState
from htcdaskgateway.threads import in_thread

if TYPE_CHECKING:
    from htcdaskgateway.client.gateway import HTCGateway

SECONDS = 10.0  # that a worker may take to answer
GATEWAY_SECONDS = 30.0  # that the gateway may take: it may have to ask a session for files
FILES_SECONDS = 20.0
AT_ONCE = 8  # calls: each that runs has a connection to the scheduler
MOST_WORKERS = 1000  # that are asked
CONNECTED = (WorkerState.RUNNING, WorkerState.LEAVING)
Written = dict[str, dict[str, str]]


async def collect(
    gateway: HTCGateway, cluster: str, worker: str | None, tail: int | None, scheduler: Any = None
) -> Logs:
    """Collect what workers of a cluster wrote.

    Parameters
    ----------
    gateway : HTCGateway
    cluster : str
    worker : str or None
        Of this one only: its name, the beginning of its name, its name in Dask or its job id.
    tail : int or None
        Only so many lines from the end of each log.
    scheduler : distributed.core.rpc, optional
        Without it, a connection is made where a worker runs.

    Raises
    ------
    InvalidRequestError
        There is no such cluster, no such worker, or the gateway keeps no logs.
    """
    tail = lines_asked(tail)
    records = await _records(gateway, cluster)
    if worker is not None:
        records = (find(records, worker, cluster),)
    written, notes = await _written(gateway, cluster, records[0].name if worker is not None else "", tail)
    connected = [one for one in records if one.state in CONNECTED][:MOST_WORKERS]
    logged: Written = {}
    silent: dict[str, str] = {}
    if connected and scheduler is not None:
        logged, silent = await running_logs(scheduler, connected, tail)
    elif connected:
        async with _scheduler_of(gateway, cluster) as found:
            logged, silent = await running_logs(found, connected, tail)
    return Logs(cluster, merge(records, written, logged, silent), notes)


async def _records(gateway: HTCGateway, cluster: str) -> tuple[WorkerRecord, ...]:
    try:
        return (await gateway._workers(cluster)).workers
    except InvalidRequestError:
        if (await gateway._site()).is_ours:
            raise
        raise InvalidRequestError(
            f"The gateway at {gateway.address} keeps no logs of workers: it is no HTCDaskGateway.",
            remedy="client.get_worker_logs() asks the workers that run.",
        ) from None


async def _written(
    gateway: HTCGateway, cluster: str, worker: str, tail: int | None
) -> tuple[Written, list[str]]:
    """What came back from jobs, and why not all of it."""
    query = urlencode({name: value for name, value in (("worker", worker), ("tail", tail)) if value})
    url = f"{gateway.address}/api/v1/clusters/{cluster}/logs?{query}"
    try:
        answer = await asyncio.wait_for(gateway._request("GET", url), GATEWAY_SECONDS)
        return _texts(await asyncio.wait_for(answer.json(), GATEWAY_SECONDS)), []
    except (InvalidRequestError, RefusedError, aiohttp.ContentTypeError) as error:
        why = " ".join(str(error).split())
    except asyncio.TimeoutError:
        why = f"The gateway did not answer in {GATEWAY_SECONDS:g} s."
    here = await _in_sandbox(cluster, worker, tail)
    if here:
        return here, [f"{why} What this account has in its own sandbox is shown."]
    return {}, [f"What jobs wrote cannot be shown. {why}"]


async def _in_sandbox(cluster: str, worker: str, tail: int | None) -> Written:
    """What is in this account's own sandbox: the session that submitted may have ended long ago."""
    try:
        sandbox = SessionSandbox.configured(cluster)
        return await in_thread(lambda: sandbox.logs(worker, tail), FILES_SECONDS)
    except (ConfigurationError, InvalidRequestError, asyncio.TimeoutError):
        return {}


def _texts(answer: object) -> Written:
    logs = answer.get("logs") if isinstance(answer, Mapping) else None
    if not isinstance(logs, Mapping):
        raise InvalidRequestError("The gateway's answer holds no logs.")
    return {
        str(worker): {str(name): text for name, text in streams.items() if isinstance(text, str)}
        for worker, streams in logs.items()
        if isinstance(streams, Mapping)
    }


@asynccontextmanager
async def _scheduler_of(gateway: HTCGateway, cluster: str) -> AsyncIterator[Any]:
    """Connect to the scheduler for a few questions; None if it does not run."""
    report = await gateway._cluster_report(cluster)
    if report.security is None or report.scheduler_address is None:
        yield None
        return
    arguments = report.security.get_connection_args("client")
    async with rpc(report.scheduler_address, connection_args=arguments) as scheduler:
        yield scheduler


async def running_logs(
    scheduler: Any, records: Sequence[WorkerRecord], tail: int | None, seconds: float = SECONDS
) -> tuple[Written, dict[str, str]]:
    """Ask running workers for what they have logged, each within its own deadline.

    Returns
    -------
    logged : dict
        Text by the worker's name and stream.
    silent : dict of str to str
        By name of those that did not answer: a sentence that says so.
    """
    names = {} if scheduler is None else await worker_names(scheduler, seconds)
    addresses = {name: address for address, name in names.items()}
    turns = asyncio.Semaphore(AT_ONCE)

    async def of(record: WorkerRecord) -> tuple[str, dict[str, str], str]:
        address = addresses.get(record.dask_name) or addresses.get(record.name)
        if address is None:
            return record.name, {}, "The scheduler does not name it as one of its workers."
        async with turns:
            answer, why = await _log(scheduler, address, tail, False, seconds)
            nanny, _ = ("", "") if why else await _log(scheduler, address, tail, True, seconds)
        streams = {name: text for name, text in (("worker", answer), ("nanny", nanny)) if text}
        return record.name, streams, why

    answers = await asyncio.gather(*map(of, records))
    return {name: streams for name, streams, _ in answers}, {name: why for name, _, why in answers if why}


async def _log(
    scheduler: Any, address: str, tail: int | None, nanny: bool, seconds: float
) -> tuple[str, str]:
    """What one worker has logged, oldest first; or a sentence that says that it did not answer."""
    # Not `worker_logs`, which fails of one that does not answer.
    message = {"op": "get_logs", "n": tail}
    call = scheduler.broadcast(msg=message, workers=[address], nanny=nanny, on_error="ignore")
    answers, why = await ask(call, seconds)
    entries = answers.get(address) if isinstance(answers, Mapping) else None
    if not isinstance(entries, (list, tuple)):
        return "", f"It did not give its log: {why or 'no answer'}."
    return end_of("".join(_lines(reversed(entries))), tail), ""


def _lines(entries: Iterable[object]) -> Iterable[str]:
    return (f"{entry[-1]}\n" for entry in entries if isinstance(entry, (list, tuple)) and entry)
