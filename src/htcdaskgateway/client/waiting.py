"""Waits for workers, and says of those that have not come what they wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from htcdaskgateway.client.errors import ClusterFailedError, WorkersMissingError
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.running import worker_names
from htcdaskgateway.client.slot_match import Found, slot_match
from htcdaskgateway.client.views.reasons import reasons
from htcdaskgateway.errors import GatewayUnreachableError
from htcdaskgateway.records import WorkerState

if TYPE_CHECKING:
    from htcdaskgateway.client.cluster import HTCGatewayCluster

GATEWAY_AWAY = 120.0  # seconds that a wait goes on while no gateway answers
SLOTS_SECONDS = 10.0  # that a wait in vain takes longer, to say whether there are slots


async def wait_for_running(
    cluster: HTCGatewayCluster,
    n_workers: int,
    timeout: float | None,
    on_change: Callable[[WorkersReport], None] | None,
    report: WorkersReport,
) -> None:
    """Wait until the gateway reports so many as running.

    Raises
    ------
    ClusterFailedError, WorkersMissingError, GatewayUnreachableError
    """
    start = heard = time.monotonic()
    while True:
        if on_change is not None:
            on_change(report)
        if report.running >= n_workers:
            return
        if report.has_ended:
            raise ClusterFailedError(str(cluster.name), report.problem or f"its status is {report.status}")
        seconds = time.monotonic() - start
        left = None if timeout is None else timeout - seconds
        never = report.most is not None and report.most < n_workers
        if report.gave_up or never or (left is not None and left <= 0):
            raise await _missing(cluster, report, n_workers, seconds)
        try:
            report = await asyncio.wait_for(cluster.report(report.revision), left)
        except asyncio.TimeoutError:
            report = await cluster.report()
        except GatewayUnreachableError:
            # It may be restarted: the clusters are the same afterwards.
            if time.monotonic() - heard > GATEWAY_AWAY:
                raise
            await asyncio.sleep(1)
        else:
            heard = time.monotonic()


async def wait_for_connected(cluster: HTCGatewayCluster, n_workers: int, timeout: float | None) -> None:
    """Wait until so many are connected: where the gateway tells nothing of workers, their scheduler does.

    Raises
    ------
    ClusterFailedError, WorkersMissingError
    """
    start = time.monotonic()
    while (running := len(await worker_names(cluster.scheduler_comm))) < n_workers:
        seconds = time.monotonic() - start
        status = (await cluster.gateway._cluster_report(cluster.name)).status.name.lower()
        if status != "running":
            raise ClusterFailedError(str(cluster.name), f"its status is {status}")
        if timeout is not None and seconds >= timeout:
            raise WorkersMissingError(n_workers, running, seconds, "", f"{running} running")
        await asyncio.sleep(0.5)


async def _missing(
    cluster: HTCGatewayCluster, report: WorkersReport, n_workers: int, seconds: float
) -> WorkersMissingError:
    too_few = report.count < n_workers
    why = report.decided if too_few else report.why
    slots: Found | None = None
    if any(worker.state is WorkerState.IDLE for worker in report.workers):
        slots = await _slots(cluster)
    told = reasons(report, slots)
    remedy = more_wanted(report, n_workers) if too_few else ""
    return WorkersMissingError(n_workers, report.running, seconds, why, report.states, told, remedy)


def more_wanted(report: WorkersReport, n_workers: int) -> str:
    """Say how to ask for so many. Pure."""
    if report.maximum is not None and n_workers > report.maximum:
        return f"The site allows {report.maximum} workers in one cluster: wait for at most so many."
    always = "" if report.adapts is None else ", whatever the load is"
    return f"cluster.scale({n_workers}) asks for them{always}."


async def _slots(cluster: HTCGatewayCluster) -> Found:
    submits = cluster._submitter is not None
    asked = slot_match(cluster.gateway, str(cluster.name), submits=submits)
    try:
        return await asyncio.wait_for(asked, SLOTS_SECONDS)
    except asyncio.TimeoutError:
        return Found(problem=f"no answer within {SLOTS_SECONDS:g} s")
