"""The gateway and the session that submits are killed at any instant of `scale`, and nothing comes twice."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.conftest import ClientFactory
from tests.e2e.conftest import Connect
from tests.support.clients import ClientProcess
from tests.support.gateway import GatewayServer
from tests.support.jobs import jobs_of, workers_of_all_jobs
from tests.support.sessions import SESSIONS, people_submit
from tests.support.waiting import eventually
from tests.support.watching import live, no_jobs, stays

from htcdaskgateway import HTCGatewayCluster
from htcdaskgateway.client.errors import RefusedError

pytestmark = pytest.mark.condor

WORKERS = 10
# Jobs that run and never connect: what is counted is jobs, and ten workers take ten seconds of this machine.
SITE = f"""{SESSIONS}
c.HTCondorBackend.session_lease = 5
c.HTCondorBackend.removal_grace = 0
c.ClusterConfig.worker_cmd = ["/bin/sh", "-c", "exec sleep 600"]
"""
SCRIPT = f"""
import os, time
from pathlib import Path
from htcdaskgateway import HTCGateway

cluster = HTCGateway().new_cluster(shutdown_on_close=False)
print("cluster", cluster.name, flush=True)
while not Path(os.environ["GO"]).exists():
    time.sleep(0.002)
started = time.monotonic()
try:
    cluster.scale({WORKERS})
except Exception as error:  # the gateway was killed
    print("failed", repr(error), flush=True)
else:
    print("took", time.monotonic() - started, flush=True)
time.sleep(600)
"""


@dataclass(frozen=True)
class Instant:
    """Who is killed, how many seconds after `scale` was called; and whether the cluster is then shut down."""

    victims: tuple[str, ...]
    after: float
    shutdown: bool


def instants(number: int, seed: int, seconds: float) -> Iterator[Instant]:
    """So many random instants, of which each victim and each part of the time gets its share."""
    chance = random.Random(seed)
    parts = list(range(number))
    chance.shuffle(parts)
    for index, part in enumerate(parts):
        victims = (("gateway",), ("session",), ("gateway", "session"))[index % 3]
        yield Instant(victims, seconds * (part + chance.random()) / number, chance.random() < 0.25)


class Rounds:
    """One gateway, and for each round a new cluster of a new session in a process of its own."""

    def __init__(self, server: GatewayServer, connect: Connect, run_client: ClientFactory) -> None:
        self.server, self.connect, self.run_client = server, connect, run_client
        self.started = 0

    def begin(self) -> tuple[ClientProcess, str]:
        """Let a session make a cluster and call `scale`; returns at that moment."""
        go = self.server.directory / f"go-{self.started}"
        self.started += 1
        session = self.run_client(SCRIPT, **self.server.client_environment(), GO=str(go))
        session.wait_for("cluster ")
        name = session.output().split("cluster ")[1].split()[0]
        go.touch()
        return session, name

    def just_so_many(self, cluster: HTCGatewayCluster, count: int) -> bool:
        """Whether records and jobs in the queue are the same workers, and so many."""
        ids = {
            f"{ad['ClusterId']}.{ad['ProcId']}": ad["HTCDaskWorker"]
            for ad in jobs_of(self.server, cluster.name)
        }
        records = {worker.job_id: worker.name for worker in live(cluster)}
        return len(ids) == count and ids == records

    def run(self, instant: Instant) -> None:
        session, name = self.begin()
        time.sleep(instant.after)
        if "gateway" in instant.victims:
            self.server.kill()
        if "session" in instant.victims:
            session.kill()
        if "gateway" in instant.victims:
            self.server.start()
        cluster = self.connect(self.server).connect(name)
        try:
            if not instant.shutdown:
                # The scheduler holds the count: it did not hear of it if the kill came first.
                if cluster.gateway.sync(cluster.report).count != WORKERS:
                    eventually("scale is accepted", lambda: scaled(cluster), 30, period=0.5)
                eventually("ten workers", lambda: self.just_so_many(cluster, WORKERS), 40)
                stays("ten workers", lambda: self.just_so_many(cluster, WORKERS), 2)
            cluster.shutdown()
            eventually("no job is left", lambda: not jobs_of(self.server, name), 40)
            ever = workers_of_all_jobs(self.server, name)
            assert len(ever) == len(set(ever)), "a worker had two jobs"
            assert len(ever) == WORKERS or instant.shutdown
        finally:
            session.kill()


def scaled(cluster: HTCGatewayCluster) -> bool:
    """Whether it was accepted. It is refused while the lease of a session that was killed goes on."""
    try:
        cluster.scale(WORKERS)
    except RefusedError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_at_random_instants(
    gateway: Callable[..., GatewayServer], connect: Connect, run_client: ClientFactory
) -> None:
    """Twenty; ``HTCDASK_INSTANTS`` for another number, and ``HTCDASK_SEED`` for the same ones again."""
    number = int(os.environ.get("HTCDASK_INSTANTS", "20"))
    seed = int(os.environ.get("HTCDASK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    server = gateway(SITE, external=True)
    with people_submit(server.pool):
        rounds = Rounds(server, connect, run_client)
        session, name = rounds.begin()
        session.wait_for("took ")
        seconds = float(session.output().split("took ")[1].split()[0])
        connect(server).stop_cluster(name)
        sys.stdout.write(f"HTCDASK_SEED={seed}, scale({WORKERS}) takes {seconds:.2f} s\n")
        for index, instant in enumerate(instants(number, seed, 1.2 * seconds)):
            started = time.monotonic()
            try:
                rounds.run(instant)
            except (AssertionError, TimeoutError, RuntimeError) as error:
                raise AssertionError(f"HTCDASK_SEED={seed}, round {index}: {instant}") from error
            sys.stdout.write(f"{index}: {instant}, {time.monotonic() - started:.1f} s\n")
    no_jobs(server, deadline=60)
