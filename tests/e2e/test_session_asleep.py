"""A laptop that sleeps for longer than the lease, while another session of its owner goes on."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator

import pytest
from tests.conftest import ClientFactory
from tests.e2e.conftest import Connect
from tests.support.clients import ClientProcess
from tests.support.gateway import GatewayServer
from tests.support.jobs import workers_of_all_jobs
from tests.support.sessions import SESSIONS, people_submit
from tests.support.waiting import eventually
from tests.support.watching import exactly, no_jobs, stays

from htcdaskgateway import HTCGatewayCluster

pytestmark = pytest.mark.condor

LEASE = 5
SITE = f"{SESSIONS}c.HTCondorBackend.session_lease = {LEASE}\n"
# Says every change of its role; does what files in the directory ask for.
SCRIPT = """
import os, threading, time
from pathlib import Path
from htcdaskgateway import HTCGateway

cluster = HTCGateway().new_cluster(shutdown_on_close=False)
print("cluster", cluster.name, flush=True)

def scale(number):
    try:
        cluster.scale(number)
    except Exception as error:
        print("refused", repr(error), flush=True)
    else:
        print("scaled", number, flush=True)

role = ""
while True:
    if cluster._submitter.role != role:
        role = cluster._submitter.role
        print("role", role, flush=True)
    for file in Path(os.environ["DIRECTORY"]).glob("scale-*"):
        file.unlink()
        threading.Thread(target=scale, args=(int(file.name[6:]),)).start()
    time.sleep(0.05)
"""


@pytest.fixture
def server(gateway: Callable[..., GatewayServer]) -> Iterator[GatewayServer]:
    with people_submit((server := gateway(SITE)).pool):
        yield server


class Laptop:
    """A session in a process of its own, which sleeps with all that it has started."""

    def __init__(self, server: GatewayServer, run_client: ClientFactory, **settings: str) -> None:
        self.directory = server.directory / "laptop"
        self.directory.mkdir()
        self.directory.chmod(0o777)  # who finds a file there removes it
        environment = {**server.client_environment(), "DIRECTORY": str(self.directory), **settings}
        self.session: ClientProcess = run_client(SCRIPT, **environment)
        self.session.wait_for("role submitter")
        self.cluster = self.session.output().split("cluster ")[1].split()[0]

    @property
    def role(self) -> str:
        return self.session.output().rpartition("role ")[2].split()[0]

    def ask_for(self, workers: int) -> None:
        (self.directory / f"scale-{workers}").touch()

    def sleep(self) -> None:
        os.killpg(self.session.process.pid, signal.SIGSTOP)

    def wake_up(self) -> None:
        os.killpg(self.session.process.pid, signal.SIGCONT)


def takes_over(cluster: HTCGatewayCluster) -> None:
    submitter = cluster._submitter
    assert submitter is not None
    assert submitter.role == "watcher"
    eventually("it submits", lambda: submitter.role == "submitter", LEASE + 15)


def test_who_wakes_up_only_watches(
    server: GatewayServer, run_client: ClientFactory, connect: Connect
) -> None:
    laptop = Laptop(server, run_client)
    laptop.ask_for(2)
    laptop.session.wait_for("scaled 2")
    cluster = connect(server).connect(laptop.cluster)
    before = exactly(server, cluster, 2)
    laptop.sleep()
    takes_over(cluster)
    assert exactly(server, cluster, 2) == before
    cluster.scale(3)
    after = exactly(server, cluster, 3)
    laptop.wake_up()
    eventually("the first session watches", lambda: laptop.role == "watcher", LEASE + 15)
    stays("as it was", lambda: exactly(server, cluster, 3) == after, LEASE + 1)
    # Its wishes count as before; another session's hands carry them out.
    laptop.ask_for(1)
    laptop.session.wait_for("scaled 1")
    [left] = exactly(server, cluster, 1)
    assert left.job_id in {worker.job_id for worker in after}
    assert laptop.role == "watcher"
    workers = workers_of_all_jobs(server, laptop.cluster)
    assert sorted(workers) == sorted({worker.name for worker in after})
    cluster.shutdown()
    no_jobs(server)


def test_who_falls_asleep_in_the_middle_of_a_submit(
    server: GatewayServer, run_client: ClientFactory, connect: Connect
) -> None:
    """Its jobs come when others have been submitted in their place: they belong to nobody, and go."""
    begun, go = server.directory / "laptop" / "begun", server.directory / "go"
    slow = server.directory / "condor_submit"
    real = shlex.quote(str(server.pool.home / "bin" / "condor_submit"))
    slow.write_text(f'#!/bin/sh\ntouch {begun}\nwhile [ ! -e {go} ]; do sleep 0.1; done\nexec {real} "$@"\n')
    slow.chmod(0o755)
    laptop = Laptop(
        server,
        run_client,
        DASK_HTCDASKGATEWAY__CONDOR__INTERFACE="tools",
        DASK_HTCDASKGATEWAY__CONDOR__TIMEOUT="300",
        DASK_HTCDASKGATEWAY__CONDOR__TOOLS=f"{{'condor_submit': '{slow}'}}",
    )
    laptop.ask_for(3)
    eventually("it submits", begun.exists, 20)
    laptop.sleep()
    cluster = connect(server).connect(laptop.cluster)
    takes_over(cluster)
    exactly(server, cluster, 3)
    go.touch()
    laptop.wake_up()
    eventually("its jobs have come, too", lambda: len(workers_of_all_jobs(server, laptop.cluster)) == 6, 30)
    left = exactly(server, cluster, 3)
    stays("three workers", lambda: exactly(server, cluster, 3) == left, 3)
    assert laptop.role == "watcher"
    cluster.shutdown()
    no_jobs(server)


def test_who_wakes_up_and_nobody_else_was_there(server: GatewayServer, run_client: ClientFactory) -> None:
    """It submits again; what was wanted meanwhile comes then, and nothing comes twice."""
    laptop = Laptop(server, run_client)
    laptop.ask_for(2)
    laptop.session.wait_for("scaled 2")
    before = {ad["HTCDaskWorker"] for ad in server.jobs()}
    laptop.sleep()
    stays("two jobs", lambda: {ad["HTCDaskWorker"] for ad in server.jobs()} == before, LEASE + 3)
    laptop.wake_up()

    def scaled() -> bool:  # refused until the gateway has heard of it
        laptop.ask_for(3)
        return "scaled 3" in laptop.session.output()

    eventually("three are accepted", scaled, 45, period=1)
    assert laptop.role == "submitter"
    after = {ad["HTCDaskWorker"] for ad in server.jobs()}
    assert len(after) == 3
    assert before < after
    laptop.ask_for(0)
    laptop.session.wait_for("scaled 0")
    no_jobs(server)
    assert sorted(workers_of_all_jobs(server, laptop.cluster)) == sorted(after)
