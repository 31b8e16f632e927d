"""The gateway or the schedd goes away for a while; the clusters do not notice more than they must."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.conftest import Connect, condor_settings, gateway_submits
from tests.support.gateway import GatewayServer
from tests.support.pool import Pool
from tests.support.waiting import eventually
from tests.support.watching import exactly, live, no_jobs, stays

from htcdaskgateway import HTCGatewayCluster, WorkerState
from htcdaskgateway.client.errors import RefusedError, WorkersMissingError

pytestmark = [pytest.mark.condor, pytest.mark.usefixtures("submitter")]


def slow_square(x: int) -> int:
    import time

    time.sleep(0.5)
    return x * x


def job_ids(server: GatewayServer) -> set[str]:
    return {f"{ad['ClusterId']}.{ad['ProcId']}" for ad in server.jobs()}


def test_a_gateway_that_is_killed_finds_its_clusters_again(
    gateway: Callable[..., GatewayServer], connect: Connect, database: str
) -> None:
    server = gateway(database, external=True)
    cluster = connect(server).new_cluster()
    cluster.scale(3)
    before = exactly(server, cluster, 3)
    with cluster.get_client() as client:
        futures = client.map(slow_square, range(40))
        server.kill(signal.SIGKILL)
        time.sleep(2)
        server.start()
        assert exactly(server, cluster, 3) == before
        # the computation went on: its way leads through the gateway proxy, a process of its own
        assert sum(client.gather(futures)) == sum(x * x for x in range(40))
    again = connect(server).connect(cluster.name)
    again.scale(5)
    assert {worker.job_id for worker in before} < {worker.job_id for worker in exactly(server, again, 5)}
    again.scale(1)
    exactly(server, again, 1)
    again.shutdown()
    no_jobs(server)
    cluster.close()


@gateway_submits
def test_a_second_gateway_on_the_same_state_is_refused(
    gateway: Callable[..., GatewayServer], connect: Connect, database: str
) -> None:
    server = gateway(database)
    with connect(server).new_cluster() as cluster:
        cluster.scale(1)
        before = exactly(server, cluster, 1)
        same = database or f'c.HTCondorBackend.state_directory = "{server.state_directory}"\n'
        with pytest.raises(RuntimeError, match=r"Another gateway uses the (state directory|database)"):
            gateway(same + f'c.HTCondorBackend.instance = "{server.instance}"\n')
        assert exactly(server, cluster, 1) == before


def test_who_waits_for_workers_rides_over_a_restart(
    gateway: Callable[..., GatewayServer], connect: Connect
) -> None:
    # the pool promises 16 cores
    server = gateway("c.ClusterConfig.worker_cores = 8\n", external=True)
    cluster = connect(server).new_cluster()
    cluster.scale(4)

    def restart() -> None:
        time.sleep(1)
        server.kill(signal.SIGKILL)
        time.sleep(2)
        server.start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    with pytest.raises(WorkersMissingError) as caught:
        cluster.wait_for_workers(4, timeout=20)
    restarting.join()
    assert caught.value.states == "2 running, 2 idle"
    cluster.shutdown()
    no_jobs(server)


def test_workers_outlive_the_gateway_proxy_as_well(server: GatewayServer, connect: Connect) -> None:
    """Here the gateway proxy ends with the gateway; workers reach their scheduler without it."""
    cluster = connect(server).new_cluster()
    cluster.scale(2)
    before = exactly(server, cluster, 2)
    server.kill(signal.SIGKILL)
    time.sleep(3)
    assert job_ids(server) == {worker.job_id for worker in before}
    server.start()
    again = connect(server).connect(cluster.name)
    assert {worker.job_id for worker in exactly(server, again, 2)} == {worker.job_id for worker in before}
    again.shutdown()
    no_jobs(server)
    cluster.close()


# With sessions: test_session_killed.py
@gateway_submits
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.3, 1.0])
def test_a_gateway_that_is_killed_while_it_submits(
    server: GatewayServer, connect: Connect, delay: float
) -> None:
    """Nothing is submitted twice and nothing lost."""
    cluster = connect(server).new_cluster()

    def scale() -> None:
        with contextlib.suppress(Exception):  # whether the answer came is not the point
            cluster.scale(5)

    asking = threading.Thread(target=scale)
    asking.start()
    time.sleep(delay)
    server.kill(signal.SIGKILL)
    asking.join(30)
    server.start()
    again = connect(server).connect(cluster.name)
    wanted = again.gateway.sync(again.report).count or 5
    again.scale(wanted)
    exactly(server, again, wanted)
    stays("just so many jobs", lambda: len(server.jobs()) == wanted, 3)
    again.shutdown()
    no_jobs(server)
    cluster.close()


@gateway_submits  # a session has the jobs of one cluster only
def test_jobs_that_belong_to_no_cluster_are_swept(
    server: GatewayServer, connect: Connect, pool: Pool
) -> None:
    with connect(server).new_cluster() as cluster:
        cluster.scale(1)
        [ours] = exactly(server, cluster, 1)
        unknown = '+HTCDaskCluster="gone"\n+HTCDaskWorker="w"\n'
        submit(pool, f'+HTCDaskGateway="{server.instance}"\n' + unknown + "queue 2\n", server.user)
        submit(pool, f'+HTCDaskGateway="other-{server.instance}"\n' + unknown + "queue\n", server.user)
        eventually("only ours is left", lambda: job_ids(server) == {ours.job_id}, 30)
        # another gateway's job is not touched
        assert len(pool.queue(f'HTCDaskGateway == "other-{server.instance}"')) == 1
        pool.remove(f'HTCDaskGateway == "other-{server.instance}"')


def test_a_second_job_of_a_worker_is_swept(
    server: GatewayServer, cluster: HTCGatewayCluster, pool: Pool
) -> None:
    cluster.scale(1)
    [ours] = exactly(server, cluster, 1)
    [ad] = server.jobs()
    second = (
        f'+HTCDaskGateway="{server.instance}"\n+HTCDaskCluster="{cluster.name}"\n'
        f'+HTCDaskWorker="{ours.name}"\n'
    )
    submit(pool, second + "queue\n", ad["Owner"])
    eventually("only ours is left", lambda: job_ids(server) == {ours.job_id}, 30)


def try_to_scale(cluster: HTCGatewayCluster, count: int) -> bool:
    """Whether it was accepted; the only accepted refusal is that the schedd is away."""
    try:
        cluster.scale(count)
    except RefusedError as error:
        if "cannot be reached" not in error.words:
            raise
        return False
    return True


SLEEP = "executable=/bin/sleep\narguments=600\ntransfer_executable=false\nlog=/dev/null\n"


def submit(pool: Pool, description: str, user: str) -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "job.sub"
        file.write_text(SLEEP + description)
        Path(directory).chmod(0o755)
        pool.command("condor_submit", str(file), user=user, cwd="/tmp")


@pytest.fixture
def silent_schedd(pool: Pool) -> Iterator[Callable[[], None]]:
    """Stops the schedd's process; goes on when called, or at the end of the test."""
    pool.recipe("kill", "schedd", "-STOP")
    resumed: list[bool] = []

    def resume() -> None:
        if not resumed:
            pool.recipe("kill", "schedd", "-CONT")
            resumed.append(True)

    yield resume
    resume()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("submitter", "interface"),
    [("gateway", "bindings"), ("gateway", "tools"), ("session", "bindings")],
    indirect=["submitter"],
)
def test_a_schedd_that_is_silent_for_30_s(
    gateway: Callable[..., GatewayServer], connect: Connect, interface: str, request: pytest.FixtureRequest
) -> None:
    configuration, sessions = condor_settings(interface=interface, timeout=5)
    server = gateway(configuration + "c.HTCondorBackend.session_timeout = 10\n")
    with sessions, connect(server).new_cluster() as cluster:
        cluster.scale(2)
        before = exactly(server, cluster, 2)
        resume: Callable[[], None] = request.getfixturevalue("silent_schedd")
        since = time.monotonic()
        # whether this one is refused or waits, no job comes twice of it
        try_to_scale(cluster, 4)
        while time.monotonic() - since < 30:
            states = {worker.name: worker.state for worker in cluster.workers()}
            assert {states[worker.name] for worker in before} == {WorkerState.RUNNING}
            time.sleep(1)
        resume()
        cluster.scale(4)
        after = exactly(server, cluster, 4)
        assert {worker.job_id for worker in before} < {worker.job_id for worker in after}
        assert len(live(cluster)) == 4


@pytest.mark.parametrize("how", [("restart", "schedd"), ("kill", "schedd", "-9")], ids=["orderly", "kill -9"])
def test_a_schedd_that_is_restarted(
    server: GatewayServer, connect: Connect, pool: Pool, how: tuple[str, ...]
) -> None:
    with connect(server).new_cluster() as cluster:
        cluster.scale(2)
        before = exactly(server, cluster, 2)
        pool.recipe(*how)
        with cluster.get_client() as client:
            assert client.submit(sum, [1, 2]).result(30) == 3
        eventually("the schedd takes jobs", lambda: try_to_scale(cluster, 3), 30, period=1)
        after = exactly(server, cluster, 3)
        assert {worker.job_id for worker in before} < {worker.job_id for worker in after}
