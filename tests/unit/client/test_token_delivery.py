"""A token on its way through a real scheduler to real nannies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from distributed import Nanny, Scheduler
from distributed.core import rpc

from htcdaskgateway.client.token_delivery import OP, TAKEN, deliver_token

TOKEN = b"a-secret-token"
QUIET = {"dashboard": False, "dashboard_address": ":0", "port": 0, "host": "127.0.0.1"}


class Cluster:
    """A scheduler and two workers, whose nannies take tokens; or refuse to, or know nothing of it."""

    def __init__(self, scheduler: Scheduler, nannies: list[Nanny], connection: Any) -> None:
        self.scheduler, self.nannies, self.connection = scheduler, nannies, connection
        self.taken: list[tuple[str, bytes]] = []
        for nanny in nannies:
            nanny.handlers[OP] = lambda token, nanny=nanny: self.take(nanny, token)

    def take(self, nanny: Nanny, token: memoryview) -> str:
        self.taken.append((nanny.address, bytes(token)))
        return TAKEN

    @property
    def addresses(self) -> set[str]:
        return {nanny.address for nanny in self.nannies}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Scheduler(**QUIET) as scheduler:
        start = [Nanny(scheduler.address, nthreads=1, memory_limit=0, dashboard=False) for _ in range(2)]
        nannies = list(await asyncio.gather(*start))
        async with rpc(scheduler.address) as connection:
            yield Cluster(scheduler, nannies, connection)
        await asyncio.gather(*(nanny.close() for nanny in nannies))


async def test_it_comes_to_all_that_do_not_have_it(
    cluster: Cluster, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    distributed = logging.getLogger("distributed")
    distributed.addHandler(caplog.handler)  # they do not come to the root
    request.addfinalizer(lambda: distributed.removeHandler(caplog.handler))
    caplog.set_level(logging.DEBUG, "distributed.core")
    first, second = sorted(cluster.addresses)
    assert await deliver_token(cluster.connection, TOKEN, {"tls://gone:1", first}) == (cluster.addresses, "")
    assert cluster.taken == [(second, TOKEN)]
    assert await deliver_token(cluster.connection, TOKEN, cluster.addresses) == (cluster.addresses, "")
    assert len(cluster.taken) == 1
    assert "Message from" in caplog.text
    assert TOKEN.decode() not in caplog.text


async def test_some_do_not_take_it(cluster: Cluster) -> None:
    def fail(token: object) -> None:
        raise OSError("disk full")

    cluster.nannies[0].handlers[OP] = fail
    had, why = await deliver_token(cluster.connection, TOKEN, ())
    assert (had, why) == ({cluster.nannies[1].address}, "1 of 2 workers did not take it")
    del cluster.nannies[1].handlers[OP]  # a job of an earlier release
    assert await deliver_token(cluster.connection, TOKEN, ()) == (set(), "2 of 2 workers did not take it")


async def test_no_scheduler() -> None:
    async with Scheduler(**QUIET) as scheduler:
        address = scheduler.address
    async with rpc(address, timeout=2) as connection:
        had, why = await deliver_token(connection, TOKEN, {"a"}, seconds=3)
    assert had == {"a"}
    assert why.startswith("no answer")
