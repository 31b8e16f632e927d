"""When a cluster has failed for its scheduler, with records in memory and a launcher that the test plays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from dask_gateway_server.backends.db_base import Cluster, JobStatus
from dask_gateway_server.utils import TaskPool, timestamp
from tests.unit.server.conftest import records

from htcdaskgateway.errors import SchedulerStartError
from htcdaskgateway.server.liveness import Liveness
from htcdaskgateway.server.store import WorkerStore


class Stage:
    """Some clusters, and what the launcher says of their schedulers, by the user's name."""

    def __init__(self) -> None:
        self.failures: dict[str, str | Exception] = {}
        self.delays: dict[str, str | Exception] = {}
        self.asked: list[str] = []
        self.queued: list[Cluster] = []
        self.db = records()
        self.tasks = TaskPool()
        site: Any = SimpleNamespace(
            cluster_start_timeout=60,
            cluster_heartbeat_timeout=300,
            cluster_status_period=0.01,
            queue=SimpleNamespace(put=self.queued.append),
            task_pool=self.tasks,
            log=logging.getLogger("test"),
        )
        self.store = WorkerStore(self.db, failure_limit=3)
        self.liveness = Liveness(site, self, self.store)  # type: ignore[arg-type]  # only what it asks of it

    async def failure(self, user: str, state: Mapping[str, Any]) -> str:
        self.asked.append(user)
        return await self._say(self.failures.get(user, ""))

    async def delay(self, user: str, state: Mapping[str, Any]) -> str:
        return await self._say(self.delays.get(user, ""))

    @staticmethod
    async def _say(what: str | Exception) -> str:
        if isinstance(what, Exception):
            raise what
        if what == "hang":
            await asyncio.sleep(60)
        return what

    def cluster(self, user: str = "alice", status: JobStatus = JobStatus.RUNNING, age: float = 0) -> Cluster:
        """Give one that was started, or last heard of, ``age`` seconds ago."""
        made = self.db.create_cluster(user, {}, {})
        at = timestamp() - int(age * 1000)
        self.db.update_cluster(made, status=status, start_time=at, state={"pid": 1})
        made.last_heartbeat = at
        return made


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.tasks.close()
    made.db.db.dispose()


@pytest.mark.parametrize(
    ("status", "age", "reason"),
    [
        (JobStatus.SUBMITTED, 59, ""),
        (JobStatus.SUBMITTED, 61, "The scheduler did not start in 60 s."),
        (JobStatus.RUNNING, 299, ""),
        (JobStatus.RUNNING, 301, "The scheduler has not been heard of for 301 s."),
        (JobStatus.CREATED, 1e6, ""),
        (JobStatus.STOPPED, 1e6, ""),
    ],
)
async def test_how_long_is_too_long(stage: Stage, status: JobStatus, age: float, reason: str) -> None:
    cluster = stage.cluster(status=status, age=age)
    revision = stage.store.watch(cluster).revision
    await stage.liveness.check_heartbeats()
    assert cluster.state == ({"pid": 1, "reason": reason} if reason else {"pid": 1})
    assert (cluster.target == JobStatus.FAILED) is bool(reason)
    assert stage.queued == ([cluster] if reason else [])
    assert (stage.store.watch(cluster).revision > revision) is bool(reason)


async def test_a_late_one_says_what_keeps_it_if_that_is_known(stage: Stage) -> None:
    stage.delays = {
        "alice": "The pod waits: no room on a node.",
        "bob": SchedulerStartError("c", "no answer"),
    }
    late = [stage.cluster(user, JobStatus.SUBMITTED, 61) for user in stage.delays]
    await stage.liveness.check_heartbeats()
    assert [cluster.state["reason"] for cluster in late] == [
        "The scheduler did not start in 60 s. The pod waits: no room on a node.",
        "The scheduler did not start in 60 s.",
    ]


@pytest.mark.parametrize(
    "trouble", [SchedulerStartError("c", "no"), OSError("x"), ValueError("x"), KeyError("x")]
)
async def test_one_that_cannot_be_asked_about_does_not_keep_the_others_from_their_end(
    stage: Stage, trouble: Exception
) -> None:
    stage.delays = {"alice": trouble}
    late = [stage.cluster(user, JobStatus.SUBMITTED, 61) for user in ("alice", "bob")]
    silent = stage.cluster("carol", JobStatus.RUNNING, 301)
    await stage.liveness.check_heartbeats()
    assert [cluster.target for cluster in (*late, silent)] == [JobStatus.FAILED] * 3


async def test_late_ones_are_asked_about_together(stage: Stage) -> None:
    stage.delays = {"alice": "hang"}
    for user in ("alice", "bob"):
        stage.cluster(user, JobStatus.SUBMITTED, 61)
    checking = asyncio.ensure_future(stage.liveness.check_heartbeats())
    await asyncio.sleep(0.05)
    assert [cluster.username for cluster in stage.queued] == ["bob"]
    checking.cancel()


async def test_a_launcher_that_does_not_know_fails_nobody(stage: Stage) -> None:
    cluster = stage.cluster()
    troubles = (SchedulerStartError("c", "sudo said no"), OSError("no such process"), KeyError("items"), "")
    for trouble in troubles:
        stage.failures["alice"] = trouble
        await stage.liveness.check_process(cluster)
        assert cluster.target == JobStatus.RUNNING
    stage.failures["alice"] = "The scheduler was ended by signal 9."
    await stage.liveness.check_process(cluster)
    assert (cluster.target, cluster.state["reason"]) == (JobStatus.FAILED, stage.failures["alice"])


async def test_the_first_reason_stays(stage: Stage) -> None:
    cluster = stage.cluster()
    stage.liveness.fail(cluster, "first")
    stage.liveness.fail(cluster, "second")
    assert (cluster.state["reason"], stage.queued) == ("first", [cluster])


async def test_one_that_hangs_does_not_keep_the_others_waiting(stage: Stage) -> None:
    slow, dead = stage.cluster("alice"), stage.cluster("bob")
    stage.failures = {"alice": "hang", "bob": "ended"}
    watching = asyncio.ensure_future(stage.liveness.watch_processes())
    for _ in range(500):
        if dead.target == JobStatus.FAILED:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    watching.cancel()
    assert (dead.state["reason"], slow.target) == ("ended", JobStatus.RUNNING)
    assert stage.asked.count("alice") == 1
