"""Kubernetes is away for a while, in the middle of what a person asks for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dask_gateway import BasicAuth
from tests.kubernetes.conftest import Start
from tests.kubernetes.launching import objects, whole
from tests.support.front import WAYS, Front
from tests.support.kubernetes import Kubernetes
from tests.support.waiting import eventually

from htcdaskgateway import HTCGateway

AWAY = 30.0  # seconds

pytestmark = pytest.mark.xdist_group("away")  # one pool for both


@pytest.fixture
def front(gateways_kubeconfig: Path) -> Iterator[Front]:
    """The gateway's way to the API server; kubelet and tests have their own."""
    found = Front.of(gateways_kubeconfig)
    found.lead_here(gateways_kubeconfig)
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", WAYS)
def test_kubernetes_is_away_while_a_cluster_starts_and_while_it_ends(
    front: Front, facility: Start, kubernetes: Kubernetes, namespace: str, way: str
) -> None:
    server = facility()
    with HTCGateway(server.url, auth=BasicAuth("analyst")) as gateway, ThreadPoolExecutor(1) as thread:
        with front.away(way):
            starting = thread.submit(gateway.new_cluster)
            time.sleep(AWAY)
            assert not starting.done()
            assert objects(kubernetes, namespace) == []
        cluster = starting.result(60)
        assert objects(kubernetes, namespace) == whole(server.instance, [cluster.name])
        with front.away(way):
            ending = thread.submit(cluster.shutdown)
            time.sleep(AWAY)
            assert objects(kubernetes, namespace) == whole(server.instance, [cluster.name])
        ending.result(60)
        eventually("nothing left in Kubernetes", lambda: not objects(kubernetes, namespace), 60, 0.5)
        sandbox = server.state_directory / "clusters" / cluster.name
        eventually("the cluster has ended", lambda: not list(sandbox.rglob("*.pem")), 30)
        assert gateway.list_clusters() == []
    # Its words are in the log: that it was really away.
    words = {"refuses": "Connect call failed", "hangs": "TimeoutError"}[way]
    assert words in server.log(), server.log()[-5000:]
