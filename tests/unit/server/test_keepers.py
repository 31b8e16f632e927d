"""Which keeper has which cluster, with schedds in memory."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from dask_gateway_server.backends.db_base import Cluster, JobStatus
from tests.doubles import FakeSchedd
from tests.unit.server.conftest import records

from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.errors import NoScheddError
from htcdaskgateway.errors import ConfigurationError
from htcdaskgateway.server.keepers import Keepers
from htcdaskgateway.server.sessions import Sessions
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.verdicts import Limits
from htcdaskgateway.server.ways import SERVICE, Way


@dataclass(frozen=True)
class _Access(Access):
    """Notes for what schedds it was asked; chooses the one that ``scene.best`` is."""

    scene: Any = None

    def schedd(self, name: str = "") -> FakeSchedd:
        self.scene.made.append((self.token, name or self.schedd_name))
        return FakeSchedd()

    async def choose_schedd(self, random: Callable[[], float]) -> str:
        if not self.scene.best:
            raise NoScheddError({"a@h": "busy"})
        return str(self.scene.best)


class Scene:
    """A gateway's records, and keepers that may be started again."""

    def __init__(self) -> None:
        self.db = records()
        self.store = WorkerStore(self.db, failure_limit=3)
        self.made: list[tuple[str, str]] = []
        self.best = "a@h"
        self._running: list[Keepers] = []

    def keepers(self, *, tokens: bool = False, **settings: Any) -> Keepers:
        def access(user: str = "") -> Access:
            if tokens and user == "nobody":
                raise ConfigurationError("There is no token of nobody.")
            return _Access(**settings, token=user if tokens else "", scene=self)

        site: Any = SimpleNamespace(
            submitter="gateway",
            condor_access=SimpleNamespace(
                token_directory="/tokens" if tokens else "",
                access=access,
                schedd_names=list(settings.get("schedd_names", ())),
                chooses=bool(settings.get("schedd_names") or settings.get("schedd_constraint")),
            ),
            limits=Limits(start=600, lost=30, idle=0, period=5, grace=0),
        )
        sessions, log = Sessions(lease=60, timeout=60), logging.getLogger("test")
        self._running.append(Keepers(site, "gateway-1", self.store, sessions, log))
        return self._running[-1]

    def cluster(self, user: str = "alice", **columns: Any) -> Cluster:
        made = self.db.create_cluster(user, {}, {})
        self.db.update_cluster(made, status=JobStatus.RUNNING, **columns)
        return made

    async def close(self) -> None:
        for keepers in self._running:
            await keepers.close()
        self.db.db.dispose()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.close()


def has_jobs(scene: Scene, cluster: Cluster, schedd: str) -> None:
    scene.db.update_cluster(cluster, count=1)
    scene.store.match_count(cluster)
    [worker] = scene.store.wanted(cluster)
    scene.store.save([(worker, {"state": {"schedd": schedd, "job_id": "1.0", "asked": True}})])


async def test_one_for_all(scene: Scene) -> None:
    keepers = scene.keepers(schedd_name="s@h")
    keepers.start()
    first, second = scene.cluster(), scene.cluster("bob")
    assert await keepers.choose(first) == {}
    assert keepers.of(first) is keepers.of(second)
    assert scene.made == [("", "s@h")]


async def test_one_a_user_that_has_a_token(scene: Scene) -> None:
    keepers = scene.keepers(tokens=True)
    keepers.start()
    assert scene.made == []
    first, second, third, nobody = map(scene.cluster, ["alice", "alice", "bob", "nobody"])
    assert keepers.of(first) is keepers.of(second) is not keepers.of(third)
    assert scene.made == [("alice", ""), ("bob", "")]
    mine = keepers.of(first).is_mine
    assert [mine(name) for name in (first.name, second.name, third.name, "unknown")] == [
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(ConfigurationError, match="no token of nobody"):
        await keepers.choose(nobody)
    assert keepers.trouble(nobody) == "There is no token of nobody."
    keepers.kick(nobody)

    # After a restart they go on at once, also where no user is there to ask.
    scene.made.clear()
    scene.keepers(tokens=True).start()
    assert scene.made == [("alice", ""), ("bob", "")]


async def test_a_choice_is_made_once_for_a_cluster(scene: Scene) -> None:
    keepers = scene.keepers(schedd_names=("a@h", "b@h"))
    keepers.start()
    assert scene.made == [("", "a@h"), ("", "b@h")]  # jobs may be left over on each
    clusters = []
    for scene.best in ("a@h", "b@h", "b@h"):
        cluster = scene.cluster()
        scene.db.update_cluster(cluster, state=await keepers.choose(cluster))
        clusters.append(cluster)
    assert [cluster.state for cluster in clusters] == [{"schedd": name} for name in ("a@h", "b@h", "b@h")]
    first, second, third = map(keepers.of, clusters)
    assert second is third is not first
    assert first.clusters() == clusters[:1]
    assert second.clusters() == clusters[1:]
    scene.best = ""
    with pytest.raises(NoScheddError):
        await keepers.choose(scene.cluster())

    scene.made.clear()
    again = scene.keepers(schedd_constraint="true")
    again.start()
    assert sorted(scene.made) == [("", "a@h"), ("", "b@h")]
    assert again.of(clusters[1]) is again.of(clusters[2])


async def test_no_choice_was_made(scene: Scene) -> None:
    keepers = scene.keepers(schedd_constraint="true")
    cluster = scene.cluster()
    with pytest.raises(ConfigurationError, match="No schedd was chosen"):
        keepers.of(cluster)
    keepers.kick(cluster)
    assert scene.made == []
    has_jobs(scene, cluster, "c@h")  # it is older than the choice
    assert keepers.of(cluster).clusters() == [cluster]
    assert scene.made == [("", "c@h")]


async def test_what_a_wrapper_has_chosen_is_kept(scene: Scene) -> None:
    programs = {"condor_submit": "/usr/local/bin/condor_submit"}
    has_jobs(scene, scene.cluster(), "b@h")
    scene.keepers(interface="tools", programs=programs).start()
    scene.keepers(interface="tools").start()
    scene.keepers(interface="tools", programs=programs, schedd_name="s@h").start()
    assert scene.made == [("", "b@h"), ("", ""), ("", "s@h")]


async def test_a_user_who_has_gone_leaves_no_keeper(scene: Scene) -> None:
    keepers = scene.keepers(tokens=True)
    alice, bob = scene.cluster("alice"), scene.cluster("bob")
    schedd: Any = keepers.of(alice).schedd
    keepers.of(bob)
    del scene.db.name_to_cluster[alice.name]
    await keepers.forget(alice.name)
    assert schedd.closed
    assert set(keepers._keepers) == {Way("bob")}

    service = scene.keepers()
    service.start()
    await service.forget(alice.name)
    assert set(service._keepers) == {Way(SERVICE)}
