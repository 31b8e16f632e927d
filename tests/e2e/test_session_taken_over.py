"""A kernel is killed, and its owner connects from another process: full control again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.conftest import ClientFactory
from tests.support.gateway import GatewayServer
from tests.support.jobs import jobs_of
from tests.support.sessions import SESSIONS
from tests.support.watching import no_jobs

pytestmark = pytest.mark.condor

FIRST = """
import time
from htcdaskgateway import HTCGateway

cluster = HTCGateway().new_cluster()
cluster.scale(3)
cluster.wait_for_workers(3, timeout=90)
client = cluster.get_client()
client.publish_dataset(squares=client.map(lambda x: x * x, range(10)))
print("cluster", cluster.name, flush=True)
time.sleep(600)
"""
SECOND = """
import os, time
from htcdaskgateway import HTCGateway

def until(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, (what, cluster.workers())
        time.sleep(0.2)

def live():
    return {w.job_id for w in cluster.workers() if w.state.value not in ("failed", "finished")}

gateway = HTCGateway()
[report] = gateway.list_clusters()
cluster = gateway.connect(report.name)
cluster.wait_for_workers(3, timeout=30)
before = live()
client = cluster.get_client()
print("results", sum(client.gather(client.get_dataset("squares"))), flush=True)
started = time.monotonic()
# fewer: of the jobs that the former session submitted
cluster.scale(1)
until("one is left", lambda: len(live()) == 1)
assert live() < before, (live(), before)
[left] = live()
assert "Registered to" in str(cluster.logs(left)), str(cluster.logs(left))
# more
cluster.scale(2)
cluster.wait_for_workers(2, timeout=60)
assert left in live(), (left, live())
print("submitter", cluster._submitter.role, "after", time.monotonic() - started, "s", flush=True)
while not os.path.exists(os.environ["GO"]):
    time.sleep(0.1)
cluster.shutdown()
print("end", flush=True)
"""


def test_full_control_again(gateway: Callable[..., GatewayServer], run_client: ClientFactory) -> None:
    server = gateway(SESSIONS)
    first = run_client(FIRST, **server.client_environment())
    first.wait_for("cluster ", 120)
    name = first.output().split("cluster ")[1].split()[0]
    of_first = {ad["ClusterId"] for ad in server.jobs()}
    first.kill()

    go = server.directory / "go"
    # Another machine: nothing of the first session's files is there.
    elsewhere = f"{server.schedulers}/elsewhere/{{cluster}}"
    second = run_client(
        SECOND, **server.client_environment(), GO=str(go), DASK_HTCDASKGATEWAY__SANDBOX=elsewhere
    )
    second.wait_for("submitter submitter", 150)
    assert "results 285" in second.output()
    # The first one's process is seen to have ended: its lease of 60 s is not waited for.
    assert float(second.output().split(" after ")[1].split()[0]) < 45
    ads = jobs_of(server, name)
    assert len(ads) == 2
    assert {ad["Owner"] for ad in ads} == {"analyst"}
    assert of_first < {ad["ClusterId"] for ad in ads}, "one job of each session"
    go.touch()
    assert "end" in second.wait()
    no_jobs(server)
