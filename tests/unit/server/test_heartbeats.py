"""What a heartbeat changes, with records in memory. How one is read is in test_heartbeat."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.backends.db_base import Cluster, JobStatus
from tests.unit.server.conftest import records

from htcdaskgateway.server.heartbeats import Heartbeats
from htcdaskgateway.server.store import WorkerStore

HERE = {
    "scheduler_address": "tls://10.0.0.1:8786",
    "dashboard_address": "http://10.0.0.1:8787",
    "api_address": "http://10.0.0.1:8788",
}
BETTER = {name: address.replace("10.0.0.1", "scheduler.svc") for name, address in HERE.items()}


def message(count: int = 0, active: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    workers = {"active_workers": list(active), "closing_workers": [], "closed_workers": []}
    return {"count": count, **workers, **HERE, **more}


class Stage:
    """A cluster that has been submitted, and a launcher at one address."""

    host = "10.0.0.1"

    def __init__(self) -> None:
        self.db = records()
        self.store = WorkerStore(self.db, failure_limit=3)
        self.known: dict[str, str] = {}
        self.queued: list[Cluster] = []
        self.kicked: list[Cluster] = []
        parts: Any = SimpleNamespace(queue=SimpleNamespace(put=self.queued.append), kick=self.kicked.append)
        launcher: Any = self
        self.heartbeats = Heartbeats(parts, launcher, self.store, parts)
        self.cluster = self.db.create_cluster("alice", {}, {"cluster_max_workers": 9})
        self.db.update_cluster(self.cluster, status=JobStatus.SUBMITTED)
        self.cluster.last_heartbeat = 0

    def addresses(self, state: Mapping[str, Any]) -> dict[str, str]:
        return self.known

    def runs(self) -> None:
        self.db.update_cluster(self.cluster, status=JobStatus.RUNNING, **HERE)

    def hear(self, msg: dict[str, Any]) -> bool:
        """Whether who waits for news was woken."""
        before = self.store.watch(self.cluster).revision
        self.heartbeats.hear(self.cluster, msg)
        return self.store.watch(self.cluster).revision > before


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.db.db.dispose()


@pytest.mark.parametrize("better", [False, True])
async def test_the_first_one_tells_where_the_scheduler_is(stage: Stage, better: bool) -> None:
    stage.known = BETTER if better else {}
    assert stage.hear(message())
    assert stage.cluster.scheduler_address == (BETTER if better else HERE)["scheduler_address"]
    assert stage.queued == [stage.cluster]
    assert stage.cluster.last_heartbeat > 0
    assert stage.kicked == []  # no jobs before the cluster runs


async def test_one_that_says_nothing_new_wakes_nobody(stage: Stage) -> None:
    stage.runs()
    assert not stage.hear(message())
    assert stage.queued == []
    assert stage.cluster.last_heartbeat > 0


async def test_a_count_makes_records_and_wakes_the_keeper(stage: Stage) -> None:
    stage.runs()
    assert stage.hear(message(count=3))
    assert (stage.cluster.count, len(list(stage.store.wanted(stage.cluster)))) == (3, 3)
    assert stage.kicked == [stage.cluster]
    stage.hear(message(count=1000))
    assert stage.cluster.count == 9  # the site's limit


async def test_addresses_do_not_change_while_it_runs(stage: Stage) -> None:
    stage.runs()
    stage.hear(message(scheduler_address="tls://10.0.0.1:9999"))
    assert stage.cluster.scheduler_address == HERE["scheduler_address"]


async def test_a_worker_that_connects_is_news(stage: Stage) -> None:
    stage.runs()
    stage.hear(message(count=1))
    [worker] = stage.store.wanted(stage.cluster)
    assert stage.hear(message(count=1, active=(worker.name,)))
    assert worker.status == JobStatus.RUNNING


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": -1},
        {"count": "3"},
        {"api_address": "http://10.0.0.2:8788"},
        {"scheduler_address": 5},
        {"active_workers": None},
    ],
)
async def test_what_is_no_heartbeat_changes_nothing(stage: Stage, wrong: dict[str, Any]) -> None:
    for msg in (message(**wrong), {"count": 1}):
        with pytest.raises(PublicException, match="This is no heartbeat"):
            stage.hear(msg)
    assert (stage.cluster.last_heartbeat, stage.cluster.count, stage.queued) == (0, 0, [])
