"""What breaks on execute points and in the queue, and what becomes of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from distributed import Client
from tests.e2e.conftest import Connect
from tests.support.gateway import GatewayServer
from tests.support.waiting import eventually
from tests.support.watching import exactly, in_state, live, no_jobs, stays

from htcdaskgateway import HTCGatewayCluster, WorkerState
from htcdaskgateway.client.errors import WorkersMissingError

pytestmark = [pytest.mark.condor, pytest.mark.usefixtures("submitter")]


def slow_square(x: int) -> int:
    import time

    time.sleep(0.3)
    return x * x


def kill_worker(with_nanny: bool) -> None:
    """Run in a worker: kills its process, and with it, if asked, the job that started it."""
    if with_nanny:
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def addresses(client: Client) -> list[str]:
    return list(client.scheduler_info(n_workers=-1)["workers"])


@pytest.mark.parametrize("with_nanny", [False, True], ids=["worker", "worker and nanny"])
def test_a_killed_worker_is_replaced(
    server: GatewayServer, cluster: HTCGatewayCluster, with_nanny: bool
) -> None:
    cluster.scale(3)
    cluster.wait_for_workers(3, timeout=60)
    before = exactly(server, cluster, 3)
    with cluster.get_client() as client:
        futures = client.map(slow_square, range(60))
        victim = addresses(client)[0]
        kill = client.submit(kill_worker, with_nanny, workers=[victim], pure=False, priority=10)
        eventually("the worker is gone", lambda: victim not in addresses(client), 20)
        after = exactly(server, cluster, 3, deadline=15)
        assert sum(client.gather(futures)) == sum(x * x for x in range(60))
        kill.cancel()
    kept = {worker.job_id for worker in before} & {worker.job_id for worker in after}
    assert len(kept) == (2 if with_nanny else 3)
    if with_nanny:
        [failed] = in_state(cluster, WorkerState.FAILED)
        assert "its job" in failed.reason


def test_a_removed_job_is_replaced_and_its_record_says_who_removed_it(
    server: GatewayServer, cluster: HTCGatewayCluster
) -> None:
    cluster.scale(2)
    [first, _] = exactly(server, cluster, 2)
    server.pool.command("condor_rm", first.job_id)
    eventually("a failed record", lambda: in_state(cluster, WorkerState.FAILED), 20)
    exactly(server, cluster, 2)
    [failed] = in_state(cluster, WorkerState.FAILED)
    assert failed.job_id == first.job_id
    # HTCondor takes this machine's root for its own account
    assert failed.reason.startswith("its job was removed: via condor_rm (by user condor)")


def test_a_held_job_fails_its_record_and_the_cluster_lives_on(
    server: GatewayServer, cluster: HTCGatewayCluster
) -> None:
    cluster.scale(2)
    [victim, other] = exactly(server, cluster, 2)
    server.pool.command("condor_hold", "-reason", "the operator says so", victim.job_id)
    [failed] = eventually("a failed record", lambda: in_state(cluster, WorkerState.FAILED), 20)
    assert failed.name == victim.name
    # 1: held by a user; HTCondor manual, HoldReasonCode
    assert failed.reason.startswith("held: [1/0]")
    after = exactly(server, cluster, 2)
    assert other.job_id in {worker.job_id for worker in after}
    with cluster.get_client() as client:
        assert client.submit(sum, [1, 2]).result(30) == 3


def test_after_a_few_held_jobs_the_cluster_stops_trying_and_says_why(
    gateway: Callable[..., GatewayServer], connect: Connect
) -> None:
    server = gateway(
        "c.HTCondorClusterConfig.submit_commands = {\n"
        "    'periodic_hold': 'JobStatus == 2',\n"
        "    'periodic_hold_reason': '\"the site does not like it\"',\n"
        "    'periodic_hold_subcode': '7'}\n"
    )
    with connect(server).new_cluster() as cluster:
        cluster.scale(1)
        with pytest.raises(WorkersMissingError) as caught:
            cluster.wait_for_workers(1, timeout=60)
        failed = in_state(cluster, WorkerState.FAILED)
        assert len(failed) == 3
        # 3: a PERIODIC_HOLD expression; with the site's own subcode
        assert {worker.reason for worker in failed} == {"held: [3/7] the site does not like it"}
        assert caught.value.why == (
            "Gave up: 3 attempts in a row to start workers failed. The last: "
            "held: [3/7] the site does not like it. scale() or adapt() tries again."
        )
        no_jobs(server)
        stays("given up", lambda: not live(cluster) and not server.jobs(), 4)
        assert cluster.gateway.list_clusters()[0].name == cluster.name
        cluster.scale(1)  # tries again
        eventually("another try", lambda: len(in_state(cluster, WorkerState.FAILED)) > 3, 20)


def test_a_program_that_the_execute_point_lacks(
    gateway: Callable[..., GatewayServer], connect: Connect
) -> None:
    server = gateway('c.ClusterConfig.worker_cmd = ["/no/such/dask", "worker"]\n')
    with connect(server).new_cluster() as cluster:
        cluster.scale(1)
        with pytest.raises(WorkersMissingError, match=r"on .*: the program '/no/such/dask' is not found"):
            cluster.wait_for_workers(1, timeout=60)
        no_jobs(server)


def test_a_worker_without_a_scheduler_ends_by_itself(
    gateway: Callable[..., GatewayServer], connect: Connect
) -> None:
    """The gateway is gone and the scheduler as well: each job's own guard ends it."""
    server = gateway("c.HTCondorBackend.worker_death_timeout = 15\n")
    cluster = connect(server).new_cluster(shutdown_on_close=False)
    cluster.scale(2)
    exactly(server, cluster, 2)
    with cluster.get_client() as client:
        pid = client.run_on_scheduler(os.getpid)
    server.kill(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    no_jobs(server, deadline=60)
    server.start()
    # and the gateway, when it comes back, sees that the scheduler is gone
    eventually("the cluster failed", lambda: not connect(server).list_clusters(), 30)
    cluster.close()


def test_a_scheduler_that_dies_fails_its_cluster_with_the_reason(
    server: GatewayServer, cluster: HTCGatewayCluster
) -> None:
    cluster.scale(1)
    exactly(server, cluster, 1)
    with cluster.get_client() as client:
        pid = client.run_on_scheduler(os.getpid)
    os.kill(pid, signal.SIGKILL)
    problem = eventually("a reason", lambda: cluster.gateway.sync(cluster.report).problem, 20)
    assert problem.startswith("The scheduler's process has ended. Its last words:")
    no_jobs(server)
