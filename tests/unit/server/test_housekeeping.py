"""What the gateway does every now and then."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dask_gateway_server.backends.db_base import JobStatus
from sqlalchemy.exc import OperationalError

from htcdaskgateway.errors import ConfigurationError, SchedulerStartError
from htcdaskgateway.sandbox import Sandbox
from htcdaskgateway.server import housekeeping
from htcdaskgateway.server.store import WorkerStore


@pytest.fixture
def site(tmp_path: Path) -> Any:
    return SimpleNamespace(
        db_cleanup_period=0.01,
        stop_clusters_on_shutdown=True,
        sandbox=lambda name: Sandbox(tmp_path, name),
        log=logging.getLogger("test"),
    )


async def until(condition: Callable[[], object], work: Coroutine[Any, Any, None]) -> None:
    """Let it work until it is so."""
    working = asyncio.ensure_future(work)
    try:
        for _ in range(500):
            if condition():
                return
            await asyncio.sleep(0.01)
        pytest.fail("not within 5 s")
    finally:
        working.cancel()
        await asyncio.wait([working])


async def test_sandboxes_go_when_the_database_forgets_their_clusters(
    tmp_path: Path, store: WorkerStore, site: Any
) -> None:
    gone, stays = (store.db.create_cluster("alice", {}, {}) for _ in range(2))
    for name in (gone.name, stays.name, "of-nobody-known"):
        Sandbox(tmp_path, name).prepare({})
    store.watch(gone).problem = "x"
    forgotten: list[str] = []

    async def forget(name: str) -> None:
        forgotten.append(name)

    keepers: Any = SimpleNamespace(forget=forget)
    asyncio.get_running_loop().call_later(0.05, store.db.name_to_cluster.pop, gone.name)
    await until(lambda: forgotten, housekeeping.clean_sandboxes(site, store, keepers))
    assert forgotten == [gone.name]
    assert {path.name for path in tmp_path.iterdir()} == {stays.name, "of-nobody-known"}
    assert store.watch(gone).problem == ""


async def test_schedulers_are_swept_unless_their_cluster_lives(store: WorkerStore, site: Any) -> None:
    live, ended = (store.db.create_cluster("alice", {}, {}) for _ in range(2))
    store.db.update_cluster(ended, status=JobStatus.STOPPED)
    found: list[list[bool]] = []
    words: list[Exception] = [SchedulerStartError("c", "no answer"), KeyError("items"), ValueError("no JSON")]

    async def sweep(is_known: Callable[[str], bool]) -> None:
        found.append([is_known(name) for name in (live.name, ended.name, "unknown")])
        if words:
            raise words.pop()

    launcher: Any = SimpleNamespace(sweep=sweep)
    await until(lambda: len(found) > 4, housekeeping.sweep_schedulers(site, store, launcher))
    assert found[:5] == [[True, False, False]] * 5


@pytest.fixture
async def ended() -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Wait until this process was asked to end."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    yield lambda: asyncio.wait_for(asked.wait(), 5)
    loop.remove_signal_handler(signal.SIGTERM)


async def test_a_gateway_whose_database_is_anothers_ends_and_leaves_the_clusters(
    monkeypatch: pytest.MonkeyPatch, site: Any, ended: Callable[[], Awaitable[object]]
) -> None:
    monkeypatch.setattr(housekeeping, "CLAIM_PERIOD", 0.01)
    words: list[Exception] = [
        ConfigurationError("Another gateway uses the database x."),
        OperationalError("select 1", None, Exception("server closed the connection")),
    ]

    def check() -> None:
        raise words.pop()

    claim: Any = SimpleNamespace(check=check)
    await asyncio.wait_for(housekeeping.keep_claim(site, claim), 5)
    await ended()
    assert not site.stop_clusters_on_shutdown
    assert words == []  # a database that cannot be asked says nothing of whose it is
