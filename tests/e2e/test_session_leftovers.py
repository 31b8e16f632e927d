"""A cluster ends while no session is there: what it has left is removed by the next session of its owner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import ClientFactory
from tests.e2e.conftest import Connect
from tests.support.clients import ClientProcess
from tests.support.gateway import GatewayServer
from tests.support.jobs import jobs_of
from tests.support.pool import Pool
from tests.support.sessions import SESSIONS, people_submit
from tests.support.waiting import eventually
from tests.support.watching import IDLE, RUNNING, live, no_jobs, stays

pytestmark = pytest.mark.condor

COMPLETED = 4  # HTCondor's JobStatus
NOWHERE = "c.HTCondorClusterConfig.submit_commands = {'requirements': 'NoSuchSlot =?= True'}\n"
SITE = f"{SESSIONS}c.HTCondorBackend.session_lease = 5\n"
TWO_CLUSTERS = """
import time
from htcdaskgateway import HTCGateway

for number in (3, 1):
    cluster = HTCGateway().new_cluster(shutdown_on_close=False)
    cluster.scale(number)
    print("cluster", cluster.name, cluster.sandbox, flush=True)
print("made", flush=True)
time.sleep(600)
"""
ANOTHER = """
import time
from htcdaskgateway import HTCGateway

cluster = HTCGateway().new_cluster()
print("another", flush=True)
time.sleep(600)
"""
RUNNING_ONE = """
import time
from htcdaskgateway import HTCGateway

cluster = HTCGateway().new_cluster(shutdown_on_close=False)
cluster.scale(1)
cluster.wait_for_workers(1, timeout=90)
print("cluster", cluster.name, cluster.sandbox, flush=True)
print("made", flush=True)
time.sleep(600)
"""
SHUTDOWN = """
import time
from htcdaskgateway import HTCGateway, WorkerState

cluster = HTCGateway().new_cluster()
cluster.scale(1)
while [worker.state for worker in cluster.workers()] != [WorkerState.STARTING]:
    time.sleep(0.2)
print("cluster", cluster.name, flush=True)
cluster.shutdown()
"""


def clusters_of(session: ClientProcess) -> list[tuple[str, Path]]:
    lines = [line.split() for line in session.output().splitlines() if line.startswith("cluster ")]
    return [(name, Path(sandbox)) for _, name, sandbox in lines]


def test_jobs_and_secrets_of_a_cluster_that_ended_without_a_session(
    gateway: Callable[..., GatewayServer], run_client: ClientFactory, connect: Connect
) -> None:
    server = gateway(SITE + NOWHERE)
    session = run_client(TWO_CLUSTERS, **server.client_environment())
    session.wait_for("made", 90)
    (ended, its_sandbox), (alive, other_sandbox) = clusters_of(session)
    session.kill()
    connect(server).stop_cluster(ended)
    stays("three jobs wait", lambda: [ad["JobStatus"] for ad in jobs_of(server, ended)] == [IDLE] * 3, 5)
    assert (its_sandbox / "dask.pem").exists()

    next_session = run_client(ANOTHER, **server.client_environment())
    next_session.wait_for("another", 90)
    eventually("its jobs are removed", lambda: not jobs_of(server, ended), 20)
    eventually("its secrets, too", lambda: not (its_sandbox / "dask.pem").exists(), 10)
    assert not (its_sandbox / "worker.env").exists()
    assert (its_sandbox / "workers.sub").exists()
    # Of a cluster that goes on without a session nothing is removed.
    assert [ad["JobStatus"] for ad in jobs_of(server, alive)] == [IDLE]
    assert (other_sandbox / "dask.pem").exists()
    next_session.kill()
    with people_submit(server.pool):
        connect(server).connect(alive).shutdown()
        no_jobs(server)


def test_what_a_job_without_a_session_has_left_in_the_spool(
    gateway: Callable[..., GatewayServer], run_client: ClientFactory, connect: Connect, pool: Pool
) -> None:
    """Its output comes back; copies of secrets do not stay until somebody fetches it."""
    server = gateway(f"{SITE}c.HTCondorAccess.spool = True\nc.HTCondorBackend.worker_death_timeout = 15\n")
    session = run_client(RUNNING_ONE, **server.client_environment())
    session.wait_for("made", 120)
    [(name, sandbox)] = clusters_of(session)
    session.kill()
    [job] = jobs_of(server, name)
    spool = Path(pool.command("condor_config_val", "SPOOL").strip())

    def secrets() -> list[Path]:
        return [path for path in spool.rglob("dask.pem") if f"cluster{job['ClusterId']}." in str(path)]

    connect(server).stop_cluster(name)
    eventually("it ends", lambda: [ad["JobStatus"] for ad in jobs_of(server, name)] == [COMPLETED], 60)
    stays("it waits for somebody", lambda: len(jobs_of(server, name)) == len(secrets()) == 1, 3)

    next_session = run_client(ANOTHER, **server.client_environment())
    next_session.wait_for("another", 90)
    eventually("the job leaves", lambda: not jobs_of(server, name), 40)
    eventually("its secrets, too", lambda: not secrets(), 10)
    assert "Registered to" in (sandbox / f"worker-{job['HTCDaskWorker']}.err").read_text()
    assert not (sandbox / "dask.pem").exists()


def test_jobs_that_wait_for_too_long_are_submitted_again(
    gateway: Callable[..., GatewayServer], connect: Connect
) -> None:
    """HTCondor removes them, also without any session; that is no failed start."""
    server = gateway(
        f"{SITE}{NOWHERE}c.HTCondorBackend.worker_idle_lifetime = 1\n"
        "c.HTCondorBackend.worker_start_failure_limit = 1\n"
    )
    with people_submit(server.pool):
        cluster = connect(server).new_cluster()
        cluster.scale(2)
        first = {worker.name for worker in live(cluster)}

        def others() -> set[str]:
            now = {worker.name for worker in live(cluster) if worker.job_id}
            return set() if now & first else now

        assert len(eventually("others wait in their place", others, 120)) == 2
        report = cluster.gateway.sync(cluster.report)
        assert (report.problem, report.count) == ("", 2)
        reasons = {worker.reason for worker in cluster.workers() if worker.name in first}
        assert all("PeriodicRemove" in reason for reason in reasons), reasons
        cluster.shutdown()
        no_jobs(server)


def test_running_jobs_of_a_cluster_that_is_shut_down_at_the_end_of_python(
    gateway: Callable[..., GatewayServer], run_client: ClientFactory
) -> None:
    """They do not outlive it, however long the site's grace. This worker does not see its scheduler go."""
    server = gateway(
        f"{SITE}c.HTCondorBackend.removal_grace = 300\n"
        'c.ClusterConfig.worker_cmd = ["/bin/sh", "-c", "exec sleep 600"]\n'
    )
    session = run_client(SHUTDOWN, **server.client_environment())
    session.wait_for("cluster ", 120)
    assert [ad["JobStatus"] for ad in server.jobs()] == [RUNNING]
    session.wait(60)
    no_jobs(server, deadline=20)
