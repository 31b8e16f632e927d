"""Two notebooks that want different things of one cluster."""

from __future__ import annotations

import random
import sys
import threading
import time

import pytest
from tests.e2e.conftest import Connect
from tests.support.gateway import GatewayServer
from tests.support.jobs import workers_of_all_jobs
from tests.support.watching import exactly, no_jobs

from htcdaskgateway import HTCGatewayCluster

pytestmark = pytest.mark.condor

WISHES = 8  # of each, in each part
MOST = 6  # workers


class Wisher(threading.Thread):
    """Scales up and down at random."""

    def __init__(self, cluster: HTCGatewayCluster, seed: int) -> None:
        super().__init__(name=f"wishes of seed {seed}")
        self.cluster, self.chance = cluster, random.Random(seed)
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            for _ in range(WISHES):
                self.cluster.scale(self.chance.randint(0, MOST))
                time.sleep(self.chance.uniform(0, 0.8))
        except Exception as error:  # noqa: BLE001 - of a thread
            self.failure = error


def fight(seed: int, *clusters: HTCGatewayCluster) -> None:
    """All of them at the same time; never do two of their sessions submit."""
    wishers = [Wisher(cluster, seed + index) for index, cluster in enumerate(clusters)]
    for wisher in wishers:
        wisher.start()
    while any(wisher.is_alive() for wisher in wishers):
        roles = [cluster._submitter.role for cluster in clusters if cluster._submitter is not None]
        assert roles.count("submitter") <= 1, roles
        time.sleep(0.02)
    assert [wisher.failure for wisher in wishers] == [None] * len(wishers)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("submitter", ["session"], indirect=True)
@pytest.mark.usefixtures("submitter")
def test_the_last_wish_counts(server: GatewayServer, connect: Connect) -> None:
    seed = random.SystemRandom().randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    first = connect(server).new_cluster(shutdown_on_close=False)
    second = connect(server).connect(first.name)
    fight(seed, first, second)
    first.scale(2)
    exactly(server, second, 2)
    first.close()  # with the lease
    third = connect(server).connect(second.name)
    fight(seed + 10, second, third)
    third.scale(3)
    exactly(server, second, 3)
    workers = workers_of_all_jobs(server, second.name)
    assert len(workers) == len(set(workers)), "a worker had two jobs"
    roles = [cluster._submitter.role for cluster in (second, third) if cluster._submitter]
    assert sorted(roles) == ["submitter", "watcher"]
    second.shutdown()
    no_jobs(server)
