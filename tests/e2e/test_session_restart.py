"""A gateway is restarted with its gateway proxy, which knows no routes at first: sessions outlive that."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tests.e2e.conftest import Connect
from tests.support.gateway import GatewayServer
from tests.support.sessions import SESSIONS, people_submit
from tests.support.waiting import eventually
from tests.support.watching import live, no_jobs

pytestmark = pytest.mark.condor

RESTARTS = 4
# Jobs that never connect: what is restarted is the way of workers to their scheduler, too.
SITE = f"""{SESSIONS}
c.HTCondorBackend.removal_grace = 0
c.ClusterConfig.worker_cmd = ["/bin/sh", "-c", "exec sleep 600"]
"""


def test_the_same_session_submits_after_each_restart(
    gateway: Callable[..., GatewayServer], connect: Connect
) -> None:
    server = gateway(SITE)
    with people_submit(server.pool):
        clusters = [connect(server).new_cluster() for _ in range(3)]
        clusters[0].scale(1)
        sessions = [cluster._submitter for cluster in clusters]
        for restart in range(RESTARTS):
            server.kill()
            time.sleep(2)  # pauses between polls have grown by now
            server.start()
            # At once: nobody has to wait for the next poll, nor to connect again.
            clusters[0].scale(restart + 2)
            jobs = {f"{ad['ClusterId']}.{ad['ProcId']}" for ad in server.jobs()}
            assert jobs == {worker.job_id for worker in live(clusters[0])}
            assert len(jobs) == restart + 2
            eventually(
                "all sessions are attached again",
                lambda: [session is not None and session.trouble for session in sessions] == [""] * 3,
                30,
            )
        assert all(session is not None and session.alive for session in sessions)
        assert clusters[0].sandbox is not None
        for cluster in clusters:
            cluster.shutdown()
        no_jobs(server)
        for session in sessions:
            assert session is not None
            assert session.join(20)
            assert session.role == "done"
            assert session.trouble == ""
        left = {file.name for file in clusters[0].sandbox.iterdir()}
        assert not left & {"dask.pem", "dask.crt", "worker.env"}, left
