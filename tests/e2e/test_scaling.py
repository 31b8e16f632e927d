"""More and fewer workers in the middle of a computation."""

from __future__ import annotations

import os

import pytest
from distributed import wait
from tests.support.gateway import GatewayServer
from tests.support.waiting import eventually
from tests.support.watching import exactly, live, no_jobs, stays

from htcdaskgateway import HTCGatewayCluster, WorkerState
from htcdaskgateway.client.errors import ClusterFailedError, WorkersMissingError

pytestmark = [pytest.mark.condor, pytest.mark.usefixtures("submitter")]


def square(number: int, topic: str) -> int:
    """Tells the scheduler every time that it is run."""
    import time

    from distributed import get_worker

    get_worker().log_event(topic, number)
    time.sleep(0.2)
    return number * number


def slow(x: int) -> int:
    import time

    time.sleep(0.5)
    return x


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_results_survive_a_scale_down_and_exactly_so_many_stay(
    server: GatewayServer, cluster: HTCGatewayCluster
) -> None:
    """20 times of 20, or of ``HTCDASK_INSTANTS``: 6 workers, 2 of them stay, no result is computed twice."""
    with cluster.get_client() as client:
        for number in range(int(os.environ.get("HTCDASK_INSTANTS", "20"))):
            cluster.scale(6)
            cluster.wait_for_workers(6, timeout=60)
            topic = f"round {number}"
            futures = client.map(square, range(48), topic=topic, pure=False)
            wait(futures[:24], timeout=60)
            computed = [x for x, future in enumerate(futures) if future.done()]
            cluster.scale(2)
            exactly(server, cluster, 2)
            assert client.gather(futures) == [x * x for x in range(48)]
            runs = [run for _, run in client.get_events(topic)]
            # What was still running on a worker that retired may have run again, a result never.
            assert [x for x in computed if runs.count(x) != 1] == [], topic
            assert len(computed) >= 24


def test_scale_to_zero_and_up_again(server: GatewayServer, cluster: HTCGatewayCluster) -> None:
    cluster.scale(3)
    exactly(server, cluster, 3)
    cluster.scale(0)
    exactly(server, cluster, 0)
    no_jobs(server)
    cluster.scale(1)
    exactly(server, cluster, 1)


def test_a_change_of_mind_before_any_worker_came(server: GatewayServer, cluster: HTCGatewayCluster) -> None:
    for number in (5, 1, 4, 2):
        cluster.scale(number)
    exactly(server, cluster, 2)
    stays("two workers", lambda: len(live(cluster)) == 2, 3)


def test_adapt_follows_the_load_and_nothing_fights(server: GatewayServer, cluster: HTCGatewayCluster) -> None:
    cluster.adapt(0, 6)
    stays("empty", lambda: not server.jobs(), 3)
    with cluster.get_client() as client:
        futures = client.map(slow, range(120))
        eventually("workers come", lambda: len(live(cluster)) == 6, 60)
        assert client.gather(futures) == list(range(120))
        del futures
        eventually("workers go", lambda: not live(cluster), 60)
    no_jobs(server)
    stays("empty", lambda: not server.jobs(), 3)
    # none of them failed: they came and went as they were asked to
    assert {worker.state for worker in cluster.workers()} == {WorkerState.FINISHED}
    cluster.adapt(active=False)
    cluster.scale(1)
    exactly(server, cluster, 1)


@pytest.mark.timeout(240)
def test_workers_that_the_load_decides_on_can_be_waited_for(cluster: HTCGatewayCluster) -> None:
    cluster.adapt(0, 3)
    with cluster.get_client() as client:
        futures = client.map(slow, range(60))
        cluster.wait_for_workers(1, timeout=60)
        cluster.wait_for_workers(3, timeout=60)
        with pytest.raises(WorkersMissingError, match="the load decides, between 0 and 3"):
            cluster.wait_for_workers(4, timeout=60)
        assert client.gather(futures) == list(range(60))
    cluster.scale(1)
    with pytest.raises(WorkersMissingError, match="the cluster is scaled to 1"):
        cluster.wait_for_workers(2, timeout=60)
    cluster.shutdown()
    for asked in (cluster.get_client, lambda: cluster.scale(2), lambda: cluster.adapt(0, 2)):
        with pytest.raises(ClusterFailedError, match="its status here is closed"):
            asked()
