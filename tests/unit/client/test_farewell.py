"""Clients that nobody closed."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from distributed.utils import LoopRunner
from tests.unit.client.conftest import Answers

from htcdaskgateway import HTCGateway, HTCGatewayCluster

ADDRESS = "http://127.0.0.1:1"


def within(seconds: float, action: Callable[[], object]) -> None:
    """Run it in a thread of its own; fail if it waits."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive()


def ends(loop: asyncio.AbstractEventLoop) -> None:
    deadline = time.monotonic() + 5
    while loop.is_running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not loop.is_running()


def test_a_client_is_collected_while_the_lock_of_all_event_loops_is_held() -> None:
    """As the collector does when it runs while the next client starts its event loop."""
    gateway = HTCGateway(ADDRESS)
    loop = gateway.loop.asyncio_loop
    cycle: list[object] = [gateway]
    cycle.append(cycle)
    del gateway, cycle

    def collect() -> None:
        with LoopRunner._lock:
            gc.collect()

    within(5, collect)
    ends(loop)


def test_a_client_is_collected_in_its_own_event_loop() -> None:
    gateway = HTCGateway(ADDRESS)
    loop = gateway.loop.asyncio_loop
    holder = [gateway]
    del gateway
    loop.call_soon_threadsafe(holder.clear)
    ends(loop)


def test_a_cluster_that_nobody_closed_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []

    async def start(cluster: HTCGatewayCluster) -> None:
        cluster.status = "running"

    async def stop(gateway: HTCGateway, name: str) -> None:
        stopped.append(name)

    monkeypatch.setattr(HTCGatewayCluster, "_start_async", start)
    monkeypatch.setattr(HTCGateway, "_stop_cluster", stop)
    for shutdown_on_close in (True, False):
        cluster = HTCGatewayCluster.from_name("c1", address=ADDRESS, shutdown_on_close=shutdown_on_close)
        del cluster
        gc.collect()
        deadline = time.monotonic() + 5
        while not stopped and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stopped == ["c1"]


def test_a_client_that_was_closed_is_closed_once() -> None:
    gateway = HTCGateway(ADDRESS)
    loop = gateway.loop.asyncio_loop
    gateway.close()
    gateway.close()
    del gateway
    gc.collect()
    ends(loop)


ENDINGS = {
    "nobody is there": ("http://127.0.0.1:1", "gateway.list_clusters()"),
    "no such cluster": ("", "gateway.list_clusters(); gateway.connect('c1')"),
    "a cluster of its own": ("", "HTCGatewayCluster.from_name('c1', address=gateway.address)"),
    "no address": (None, ""),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_a_process_that_failed_ends_without_a_word(answers: Answers, case: str) -> None:
    """Nobody closes the client: what was the last line of a notebook or a script is an error."""
    address, call = ENDINGS[case]
    given = answers.url if address == "" else address
    answers.more["/api/v1/clusters/"] = 200, {}
    code = (
        "import dask\nfrom htcdaskgateway import HTCGateway, HTCGatewayCluster\n"
        "dask.config.set({'gateway.address': None})\n"
        f"try:\n    gateway = HTCGateway({given!r})\n    {call}\n"
        "except (ValueError, ConnectionError) as error:\n    print('ERROR', type(error).__name__)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.stdout.startswith("ERROR "), ran
    assert (ran.returncode, ran.stderr) == (0, "")
