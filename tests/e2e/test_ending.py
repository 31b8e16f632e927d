"""However a cluster ends, nothing of it is left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.conftest import Connect, gateway_submits
from tests.support.clients import ClientProcess
from tests.support.gateway import GatewayServer
from tests.support.waiting import eventually
from tests.support.watching import exactly, no_jobs

from htcdaskgateway import HTCGatewayCluster
from htcdaskgateway.client.errors import ClusterFailedError

SECRETS = ("dask.crt", "dask.pem", "worker.env")
pytestmark = [pytest.mark.condor, pytest.mark.usefixtures("submitter")]


def sandbox(server: GatewayServer, cluster: HTCGatewayCluster) -> Path:
    """Of whoever submits."""
    return cluster.sandbox or server.state_directory / "clusters" / cluster.name


def nothing_is_left(server: GatewayServer, directory: Path) -> None:
    """No job within 20 s, no secret, no directory of a scheduler; the logs are there."""
    no_jobs(server, deadline=20)

    def files() -> set[str]:
        return {path.name for path in directory.iterdir()}

    eventually("no secrets", lambda: files().isdisjoint(SECRETS), 20)
    eventually("no scheduler", lambda: not list(server.schedulers.glob("daskgateway-*")), 20)
    assert {"events.log", "workers.sub"} <= files()
    assert ("scheduler.log" in files()) == directory.is_relative_to(server.state_directory)


@pytest.mark.parametrize("how", ["shutdown", "close", "context manager", "stop_cluster"])
def test_an_orderly_end(server: GatewayServer, connect: Connect, how: str) -> None:
    client_gateway = connect(server)
    cluster = client_gateway.new_cluster()
    cluster.scale(3)
    exactly(server, cluster, 3)
    files = sandbox(server, cluster)
    assert all((files / name).exists() for name in SECRETS)
    if how == "context manager":
        with cluster:
            pass
    elif how == "stop_cluster":
        client_gateway.stop_cluster(cluster.name)
    else:
        getattr(cluster, how)()
    nothing_is_left(server, files)
    cluster.close()


def test_logs_of_the_workers_come_back(server: GatewayServer, connect: Connect) -> None:
    with connect(server).new_cluster() as cluster:
        cluster.scale(3)
        names = [worker.name for worker in exactly(server, cluster, 3)]
        files = sandbox(server, cluster)
    nothing_is_left(server, files)
    for name in names:
        log = (files / f"worker-{name}.err").read_text()
        assert "Registered to" in log


def test_idle_jobs_go_as_well(gateway: Callable[..., GatewayServer], connect: Connect) -> None:
    server = gateway("c.HTCondorClusterConfig.submit_commands = {'requirements': 'NoSuchSlot =?= True'}\n")
    with connect(server).new_cluster() as cluster:
        cluster.scale(100)
        assert len(server.jobs()) == 100
        files = sandbox(server, cluster)
    nothing_is_left(server, files)


@gateway_submits  # with sessions: test_session_gone.py
def test_a_client_that_is_killed(
    gateway: Callable[..., GatewayServer], run_client: Callable[..., ClientProcess], connect: Connect
) -> None:
    server = gateway("c.ClusterConfig.idle_timeout = 20\n")
    session = run_client(
        """
import time
from htcdaskgateway import HTCGateway
cluster = HTCGateway().new_cluster()
cluster.scale(2)
cluster.wait_for_workers(2, timeout=60)
client = cluster.get_client()
busy = client.map(lambda x: time.sleep(1), range(1000))
print("cluster", cluster.name)
time.sleep(600)
""",
        **server.client_environment(),
    )
    session.wait_for("cluster ")
    name = session.output().split()[-1]
    assert len(server.jobs()) == 2
    session.kill()
    eventually("the cluster is gone", lambda: not connect(server).list_clusters(), 60)
    nothing_is_left(server, server.state_directory / "clusters" / name)


@gateway_submits  # with sessions: test_session_gone.py
def test_the_end_of_the_gateway_where_clusters_end_with_it(server: GatewayServer, connect: Connect) -> None:
    cluster = connect(server).new_cluster(shutdown_on_close=False)
    cluster.scale(2)
    exactly(server, cluster, 2)
    server.stop()
    nothing_is_left(server, sandbox(server, cluster))
    cluster.close()


def test_who_waits_for_workers_hears_of_the_end(server: GatewayServer, connect: Connect) -> None:
    cluster = connect(server).new_cluster()
    cluster.scale(20)  # more than the pool has slots
    stop = threading.Timer(1, connect(server).stop_cluster, [cluster.name])
    stop.start()
    with pytest.raises(ClusterFailedError, match=f"Cluster {cluster.name} is not running"):
        cluster.wait_for_workers(20, timeout=60)
    stop.join()
    cluster.close()
