"""No session is there: who wants workers is told so, those that run go on, and every job ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest
from tests.conftest import ClientFactory
from tests.e2e.conftest import Connect
from tests.support.gateway import GatewayServer
from tests.support.sessions import SESSIONS, people_submit
from tests.support.waiting import eventually
from tests.support.watching import IDLE, exactly, no_jobs, stays

from htcdaskgateway import WorkerState
from htcdaskgateway.client import submitter
from htcdaskgateway.client.errors import RefusedError
from htcdaskgateway.errors import GatewayUnreachableError

pytestmark = pytest.mark.condor

LEASE = 5
SITE = f"""{SESSIONS}
c.HTCondorBackend.session_lease = {LEASE}
c.HTCondorBackend.session_timeout = 10
c.HTCondorBackend.worker_death_timeout = 10
"""
SCRIPT = """
import time
from htcdaskgateway import HTCGateway

cluster = HTCGateway().new_cluster()
cluster.scale(2)
cluster.wait_for_workers(2, timeout=90)
print("cluster", cluster.name, flush=True)
time.sleep(600)
"""


def test_workers_wait_for_a_session_and_end_without_one(
    gateway: Callable[..., GatewayServer], run_client: ClientFactory, connect: Connect
) -> None:
    server = gateway(SITE)
    session = run_client(SCRIPT, **server.client_environment())
    session.wait_for("cluster ", 120)
    name = session.output().split("cluster ")[1].split()[0]
    session.kill()
    time.sleep(LEASE + 1)  # before, who asks has to wait whether it still answers

    client = connect(server)  # of no cluster: it submits nothing
    words = f"No session of analyst is attached to cluster {name}, so no jobs can be submitted."

    def states() -> list[WorkerState]:
        workers = client.sync(client._workers, name).workers
        return [worker.state for worker in workers if worker.state is not WorkerState.FINISHED]

    def refused() -> str:
        with pytest.raises(RefusedError) as caught:
            client.scale_cluster(name, 3)
        return str(caught.value)

    # The one who asks for them himself hears it; nothing is changed.
    assert words in refused()
    assert client.sync(client._workers, name).count == 2
    # The others wait, and it is said for what.
    client.adapt_cluster(name, minimum=4, maximum=4)
    waiting = [WorkerState.RUNNING] * 2 + [WorkerState.WANTED] * 2
    try:
        eventually("two are wanted", lambda: states() == waiting, 20)
    except TimeoutError as error:
        raise AssertionError(client.sync(client._workers, name)) from error
    assert client.sync(client._workers, name).problem == words
    stays("two run on, two wait", lambda: states() == waiting, 12)
    assert len(server.jobs()) == 2
    # Each job ends by itself when the scheduler has gone.
    client.stop_cluster(name)
    no_jobs(server, deadline=60)


def test_a_session_that_comes_brings_those_that_wait(
    gateway: Callable[..., GatewayServer], connect: Connect
) -> None:
    server = gateway(SITE)
    with people_submit(server.pool):
        first = connect(server).new_cluster(shutdown_on_close=False)
        first.close()
        client = connect(server)
        client.adapt_cluster(str(first.name), minimum=2, maximum=2)
        eventually("two are wanted", lambda: client.sync(client._workers, first.name).count == 2, 20)
        assert server.jobs() == []
        cluster = connect(server).connect(first.name)
        exactly(server, cluster, 2)
        cluster.shutdown()
        no_jobs(server)


def test_jobs_of_a_cluster_that_is_shut_down_while_the_gateway_is_away(
    gateway: Callable[..., GatewayServer], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session removes them itself: idle or held ones would not end otherwise."""
    monkeypatch.setattr(submitter, "FINISH_SECONDS", 3.0)
    nowhere = "c.HTCondorClusterConfig.submit_commands = {'requirements': 'NoSuchSlot =?= True'}\n"
    server = gateway(SITE + nowhere)
    with people_submit(server.pool):
        cluster = connect(server).new_cluster()
        cluster.scale(3)
        assert [ad["JobStatus"] for ad in server.jobs()] == [IDLE] * 3
        server.kill()
        with contextlib.suppress(GatewayUnreachableError):
            cluster.shutdown()
        no_jobs(server, deadline=30)
        server.start()
        connect(server).stop_cluster(str(cluster.name))
