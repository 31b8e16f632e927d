"""Waits for workers, over reports as a gateway would tell them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from htcdaskgateway.client.cluster import HTCGatewayCluster
from htcdaskgateway.client.errors import ClusterFailedError, WorkersMissingError
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.waiting import wait_for_running
from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.records import WorkerRecord, WorkerState

Bounds = tuple[int | None, int | None]


def report(count: int, running: int = 0, adapts: Bounds | None = None, **more: Any) -> WorkersReport:
    workers = tuple(WorkerRecord(f"w{n}", WorkerState.RUNNING) for n in range(running))
    return WorkersReport(1, "running", count, 20, False, "", workers, adapts=adapts, **more)


async def wait(n_workers: int, timeout: float | None, *reports: WorkersReport) -> None:
    """Hear these, the last one again and again."""
    told = list(reports)

    async def next_report(since: int | None = None) -> WorkersReport:
        await asyncio.sleep(0.01)
        return told.pop(0) if len(told) > 1 else told[0]

    cluster: Any = SimpleNamespace(name="c7", report=next_report, _submitter=None)
    await asyncio.wait_for(wait_for_running(cluster, n_workers, timeout, None, await next_report()), 5)


@pytest.mark.parametrize("timeout", [None, 4])
async def test_workers_that_the_load_asks_for_later_are_waited_for(timeout: float | None) -> None:
    adapts = (0, 3)
    told = report(0, adapts=adapts), report(0, adapts=adapts), report(1, 0, adapts), report(1, 1, adapts)
    await wait(1, timeout, *told)


async def test_a_change_to_a_fixed_number_ends_a_wait_that_is_in_vain() -> None:
    with pytest.raises(WorkersMissingError, match=r"why: +the cluster is scaled to 1"):
        await wait(2, None, report(0, adapts=(0, 3)), report(1))


@pytest.mark.parametrize(
    ("n_workers", "told", "why", "remedy"),
    [
        (3, report(1), "the cluster is scaled to 1", "cluster.scale(3) asks for them."),
        (
            4, report(0, adapts=(0, 3)), "the load decides, between 0 and 3; it asks for 0 now",
            "cluster.scale(4) asks for them, whatever the load is.",
        ),
        (
            25, report(0, adapts=(None, None)), "the load decides, between 0 and 20; it asks for 0 now",
            "The site allows 20 workers in one cluster: wait for at most so many.",
        ),
        (
            21, report(20, 20), "the cluster is scaled to 20",
            "The site allows 20 workers in one cluster: wait for at most so many.",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_come_is_not_waited_for(
    n_workers: int, told: WorkersReport, why: str, remedy: str
) -> None:
    with pytest.raises(WorkersMissingError) as caught:
        await wait(n_workers, None, told)
    assert caught.value.why == why
    assert caught.value.remedy.splitlines()[0] == remedy
    assert str(caught.value).startswith(f"{told.running} of {n_workers} workers are running after 0 s.")


async def test_when_the_time_is_over_it_is_the_load_that_asked_for_too_few() -> None:
    with pytest.raises(WorkersMissingError, match=r"1 of 2 .* after 0 s") as caught:
        await wait(2, 0.1, report(1, 1, adapts=(1, 3)))
    assert caught.value.seconds >= 0.1
    assert "the load decides, between 1 and 3; it asks for 1 now" in str(caught.value)
    assert "cluster.scale(2) asks for them, whatever the load is." in str(caught.value)


def closed() -> HTCGatewayCluster:
    cluster = HTCGatewayCluster.__new__(HTCGatewayCluster)
    cluster.name, cluster.status = "c7", "closed"
    return cluster


async def test_of_a_cluster_that_has_ended_nothing_is_asked() -> None:
    cluster = closed()
    for asked in (
        cluster._scale(1),
        cluster._adapt(0, 1, True),
        cluster._wait_for_workers(1, None, None),
    ):
        with pytest.raises(ClusterFailedError, match="its status here is closed"):
            await asked
    with pytest.raises(ClusterFailedError, match="Cluster c7 is not running"):
        cluster.get_client()


async def test_a_cluster_that_somebody_else_has_ended_is_not_scaled() -> None:
    cluster = closed()
    cluster.status = "running"
    told = WorkersReport(1, "stopped", 0, None, False, "", ())

    async def tell() -> WorkersReport:
        return told

    cluster.__dict__["report"] = tell
    with pytest.raises(ClusterFailedError, match="its status is stopped"):
        await cluster._scale(1)


def test_a_time_that_is_none() -> None:
    with pytest.raises(InvalidRequestError, match="timeout must be a number of seconds"):
        closed().wait_for_workers(1, timeout=-5)
