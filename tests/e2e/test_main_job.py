"""The main job, from one notebook cell, in every way that people write it."""

from __future__ import annotations

import asyncio
import os
import pwd

import pytest
from dask_gateway import BasicAuth, Gateway, GatewayCluster
from distributed import Worker
from tests.conftest import ClientFactory, GatewayFactory
from tests.e2e.conftest import Connect, condor_settings, gateway_submits
from tests.support.gateway import GatewayServer
from tests.support.watching import exactly, in_state, no_jobs

from htcdaskgateway import HTCGateway, HTCGatewayCluster, WorkerState

pytestmark = [pytest.mark.condor, pytest.mark.usefixtures("submitter")]


def where() -> dict[str, object]:
    """Run in a worker or in the scheduler."""
    return {"user": pwd.getpwuid(os.getuid()).pw_name, "environment": dict(os.environ)}


def resources(dask_worker: Worker) -> tuple[int, int]:
    return dask_worker.state.nthreads, dask_worker.memory_manager.memory_limit


@pytest.mark.parametrize(
    ("interface", "contact"),
    [
        pytest.param("bindings", "scheduler", id="bindings"),
        pytest.param("tools", "scheduler", id="tools"),
        pytest.param("bindings", "gateway-proxy", id="through the gateway proxy"),
    ],
)
def test_scale_compute_shutdown(
    gateway: GatewayFactory, connect: Connect, interface: str, contact: str, submitter: str
) -> None:
    configuration, sessions = condor_settings(interface=interface)
    server = gateway(f'{configuration}c.HTCondorBackend.worker_contact = "{contact}"\n')
    client_gateway = connect(server)
    with sessions:
        cluster = client_gateway.new_cluster()
    cluster.scale(3)
    jobs = server.jobs()
    assert {ad["Owner"] for ad in jobs} == {server.user if submitter == "gateway" else "analyst"}
    assert len(jobs) == 3  # they are in the queue when scale returns
    assert {ad["ClusterId"] for ad in jobs} == {jobs[0]["ClusterId"]}  # one transaction
    cluster.wait_for_workers(3, timeout=60)

    with cluster.get_client() as client:
        assert sum(client.gather(client.map(lambda x: x * x, range(100)))) == 328350
        assert set(client.run(resources).values()) == {(1, 2 * 2**30)}
        assert client.run_on_scheduler(where)["user"] == "analyst"
    workers = exactly(server, cluster, 3)
    schedd = server.pool.command("condor_status", "-schedd", "-af", "Name").strip()
    assert {worker.schedd for worker in workers} == {schedd}
    assert all("execute-point" in worker.host for worker in workers)
    assert [(worker.state, worker.reason) for worker in workers] == [(WorkerState.RUNNING, "")] * 3

    assert [report.name for report in client_gateway.list_clusters()] == [cluster.name]
    cluster.shutdown()
    no_jobs(server)
    assert client_gateway.list_clusters() == []


def test_the_job_ad_says_whose_it_is(server: GatewayServer, cluster: HTCGatewayCluster) -> None:
    cluster.scale(1)
    [ad] = server.jobs()
    [worker] = cluster.workers()
    assert ad["HTCDaskCluster"] == cluster.name
    assert ad["HTCDaskWorker"] == worker.name
    assert ad["HTCDaskUser"] == "analyst"
    assert ad["isDaskJob"] is True
    assert ad["JobBatchName"] == f"dask-analyst-{cluster.name[:8]}"
    assert (ad["RequestCpus"], ad["RequestMemory"]) == (1, 2048)


def test_workers_get_no_token(server: GatewayServer, cluster: HTCGatewayCluster) -> None:
    cluster.scale(1)
    cluster.wait_for_workers(1, timeout=60)
    with cluster.get_client() as client:
        [seen] = client.run(where).values()
    assert "TOKEN" not in str(seen).upper()
    assert "TOKEN" not in str(server.jobs()).upper()


def test_options_of_the_site_reach_the_job(gateway: GatewayFactory, connect: Connect) -> None:
    server = gateway(
        "from dask_gateway_server.options import Float, Integer, Options\n"
        "c.Backend.cluster_options = Options(\n"
        "    Integer('worker_cores', 1, min=1, max=4),\n"
        "    Float('worker_memory', 1, min=0.5, max=8),\n"
        "    handler=lambda o: {'worker_cores': o.worker_cores,\n"
        "                       'worker_memory': int(o.worker_memory * 2**30)})\n"
        "c.ClusterConfig.environment = {'SITE': \"it's $HOME; `x`\"}\n"
        "c.HTCondorClusterConfig.submit_commands = {'rank': 'isDaskNode', '+Project': '\"cms\"'}\n"
    )
    with connect(server).new_cluster(worker_cores=2, worker_memory=1.5) as cluster:
        cluster.scale(1)
        [ad] = server.jobs()
        assert (ad["RequestCpus"], ad["RequestMemory"], ad["Project"]) == (2, 1536, "cms")
        assert "it's" not in str(ad)  # an environment is nobody's business but the worker's
        cluster.wait_for_workers(1, timeout=60)
        with cluster.get_client() as client:
            assert list(client.run(resources).values()) == [(2, 1536 * 2**20)]
            assert list(client.run(os.getenv, "SITE").values()) == ["it's $HOME; `x`"]


def test_another_session_takes_over(
    server: GatewayServer, cluster: HTCGatewayCluster, connect: Connect
) -> None:
    cluster.scale(1)
    again = connect(server).connect(cluster.name)
    assert isinstance(again, HTCGatewayCluster)
    again.wait_for_workers(1, timeout=60)
    again.scale(2)
    exactly(server, again, 2)
    again.shutdown()
    no_jobs(server)


def test_stop_by_name(gateway: GatewayFactory, connect: Connect) -> None:
    # where sessions submit, and none is there to remove the jobs, each ends by its own guard
    server = gateway("c.HTCondorBackend.worker_death_timeout = 10\n")
    client_gateway = connect(server)
    cluster = client_gateway.new_cluster(shutdown_on_close=False)
    cluster.scale(2)
    cluster.close()
    assert len(server.jobs()) == 2  # it lives on without a session
    client_gateway.stop_cluster(cluster.name)
    no_jobs(server, deadline=60)


@gateway_submits  # it is no session that could
def test_the_stock_client_works(server: GatewayServer) -> None:
    stock = Gateway(server.url, auth=BasicAuth("analyst"))
    with stock.new_cluster() as cluster:
        assert type(cluster) is GatewayCluster
        cluster.scale(2)
        with cluster.get_client() as client:
            client.wait_for_workers(2, timeout=60)
            assert client.submit(sum, [1, 2]).result(30) == 3
    no_jobs(server)


async def test_in_an_event_loop(server: GatewayServer) -> None:
    async with (
        HTCGateway(server.url, auth=BasicAuth("analyst"), asynchronous=True) as client_gateway,
        client_gateway.new_cluster() as cluster,
    ):
        await cluster.scale(2)
        await cluster.wait_for_workers(2, timeout=60)
        assert [worker.state for worker in await cluster.workers()] == [WorkerState.RUNNING] * 2
        async with cluster.get_client() as client:
            assert await client.submit(sum, [1, 2]) == 3
        again = await client_gateway.connect(cluster.name)
        await again.scale(1)
        await again.close()
    await asyncio.to_thread(no_jobs, server)


def test_the_gateway_is_found_in_dasks_configuration(
    server: GatewayServer, run_client: ClientFactory
) -> None:
    script = """
from htcdaskgateway import HTCGateway
with HTCGateway() as gateway, gateway.new_cluster() as cluster:
    cluster.scale(1)
    cluster.wait_for_workers(1, timeout=60)
    print("workers:", [str(worker.state) for worker in cluster.workers()])
"""
    session = run_client(script, **server.client_environment())
    assert "workers: ['running']" in session.wait()


def test_an_idle_pool_is_waited_for(gateway: GatewayFactory, connect: Connect) -> None:
    """Nothing is failed because of queue time, though a worker may take 20 s only to start."""
    server = gateway(
        "c.HTCondorClusterConfig.submit_commands = {'requirements': 'NoSuchSlot =?= True'}\n"
        "c.HTCondorBackend.worker_start_timeout = 20\n"
        "c.HTCondorBackend.check_timeouts_period = 0.5\n"
    )
    with connect(server).new_cluster() as cluster:
        cluster.scale(2)
        jobs = {ad["ClusterId"] for ad in server.jobs()}
        with pytest.raises(TimeoutError, match="0 of 2 workers are running") as caught:
            cluster.wait_for_workers(2, timeout=22)
        assert "2 idle" in str(caught.value)
        assert len(in_state(cluster, WorkerState.IDLE)) == 2
        assert {ad["ClusterId"] for ad in server.jobs()} == jobs
        server.pool.command(
            "condor_qedit", "-constraint", f'HTCDaskCluster == "{cluster.name}"', "Requirements", "True"
        )
        exactly(server, cluster, 2)
