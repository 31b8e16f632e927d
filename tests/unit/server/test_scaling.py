"""What a user's request to scale does, with a schedd in memory and a scheduler that the test plays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.backends.db_base import Cluster
from tests.unit.server.test_keeper import Scene

from htcdaskgateway.errors import ConfigurationError
from htcdaskgateway.server import scaling
from htcdaskgateway.server.scaling import Scaling, check_message


@pytest.mark.parametrize(
    "message",
    [
        {"op": "scale", "count": 0},
        {"op": "scale", "count": 7},
        {"op": "adapt", "minimum": None, "maximum": None, "active": True},
        {"op": "adapt", "minimum": 0, "maximum": 5, "active": True},
    ],
)
def test_what_a_scheduler_understands(message: dict[str, Any]) -> None:
    check_message(message)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"op": "scale", "count": True}, "count must be a whole number of workers, not True"),
        ({"op": "scale", "count": 1.5}, "not 1.5"),
        ({"op": "adapt", "minimum": "2"}, "minimum must be"),
        ({"op": "adapt", "maximum": -1}, "maximum must be"),
    ],
)
def test_what_it_does_not(message: dict[str, Any], words: str) -> None:
    with pytest.raises(PublicException, match=words):
        check_message(message)


class Stage:
    """A cluster, and its scheduler: a count that is told is the next heartbeat's, unless it is deaf."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.cluster = self.scene.cluster()
        self.told: list[dict[str, Any]] = []
        self.kicks = 0
        self.deaf = False
        self.refused: Exception | None = None
        keepers: Any = SimpleNamespace(of=self.keeper, kick=self.kick)
        self.scaling = Scaling(self.scene.store, keepers, logging.getLogger("test"))

    def keeper(self, cluster: Cluster) -> object:
        if self.refused:
            raise self.refused
        return self.scene.keeper

    def kick(self, cluster: Cluster) -> None:
        self.kicks += 1

    async def tell(self, msg: dict[str, Any]) -> None:
        self.told.append(msg)
        if msg["op"] == "scale" and not self.deaf:
            asyncio.get_running_loop().call_soon(self.beat, msg["count"])

    def beat(self, count: int) -> None:
        self.scene.db.update_cluster(self.cluster, count=count)
        self.scene.store.watch(self.cluster).touch()

    async def request(self, msg: dict[str, Any]) -> None:
        await asyncio.wait_for(self.scaling.request(self.cluster, msg, self.tell), 10)

    async def scale(self, count: int) -> None:
        await self.request({"op": "scale", "count": count})


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.scene.close()


async def test_jobs_are_submitted_when_it_returns(stage: Stage) -> None:
    await stage.scale(3)
    assert [len(one.worker_names) for one in stage.scene.schedd.submits] == [3]
    assert (stage.told, stage.kicks) == ([{"op": "scale", "count": 3}], 1)


async def test_fewer_are_submitted_to_nobody(stage: Stage) -> None:
    await stage.scale(3)
    await stage.scale(1)
    assert len(stage.scene.schedd.submits) == 1
    assert len(stage.scene.wanted(stage.cluster)) == 1


async def test_what_to_adapt_to_is_for_the_scheduler_alone(stage: Stage) -> None:
    await stage.request({"op": "adapt", "minimum": 1, "maximum": 2, "active": True})
    assert (len(stage.told), stage.kicks, stage.scene.schedd.submits) == (1, 1, [])


async def test_who_decides_on_the_count_is_remembered_beyond_this_process(stage: Stage) -> None:
    async def adapts(**msg: Any) -> object:
        before = stage.scene.store.watch(stage.cluster).revision
        await stage.request(msg)
        assert stage.scene.store.watch(stage.cluster).revision > before
        return stage.cluster.state["adapts"]

    assert await adapts(op="adapt", minimum=1, maximum=None, active=True) == [1, None]
    assert await adapts(op="scale", count=1) is None
    assert await adapts(op="adapt", maximum=3) == [None, 3]
    assert await adapts(op="adapt", active=False) is None


def over_quota(stage: Stage) -> None:
    stage.scene.schedd.refuse = "over quota"


def no_way(stage: Stage) -> None:
    stage.refused = ConfigurationError("There is no token of analyst.")


@pytest.mark.parametrize(("break_it", "words"), [(over_quota, "over quota"), (no_way, "no token of analyst")])
async def test_what_is_refused_changes_nothing(
    stage: Stage, break_it: Callable[[Stage], None], words: str
) -> None:
    await stage.scale(1)
    break_it(stage)
    with pytest.raises(PublicException, match=words):
        await stage.scale(5)
    assert [msg["count"] for msg in stage.told] == [1, 5, 1]
    assert stage.cluster.count == 1
    assert len(stage.scene.wanted(stage.cluster)) == 1


async def test_a_schedd_that_is_silent_is_the_keepers_business(stage: Stage) -> None:
    stage.scene.schedd.silent = "acted"
    await stage.scale(2)
    assert [msg["count"] for msg in stage.told] == [2]
    assert (len(stage.scene.wanted(stage.cluster)), stage.kicks) == (2, 1)


async def test_a_count_that_no_heartbeat_brings_is_not_waited_for_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling, "HEARTBEAT_WAIT", 0.1)
    stage.deaf = True
    await stage.scale(2)
    assert stage.scene.schedd.submits == []


async def test_a_scheduler_that_hangs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "SCHEDULER_WAIT", 0.1)

    async def hang(msg: dict[str, Any]) -> None:
        await asyncio.sleep(60)

    with pytest.raises(PublicException, match=f"cluster {stage.cluster.name} did not answer in 0.1 s"):
        await stage.scaling.request(stage.cluster, {"op": "scale", "count": 1}, hang)
    await stage.scale(1)  # it holds up nobody


async def test_requests_take_turns(stage: Stage) -> None:
    await asyncio.gather(*(stage.scale(count) for count in (2, 5, 3)))
    assert [msg["count"] for msg in stage.told] == [2, 5, 3]
    assert stage.cluster.count == 3
    assert [len(one.worker_names) for one in stage.scene.schedd.submits] == [2, 3]


async def test_who_asks_again_has_as_many_tries_again(stage: Stage) -> None:
    stage.scene.schedd.refuse = "over quota"
    for _ in range(4):  # the limit is 3
        with pytest.raises(PublicException):
            await stage.scale(1)
    stage.scene.schedd.refuse = ""
    await stage.scale(1)
    assert stage.scene.states(stage.cluster)[-1] == "idle"
