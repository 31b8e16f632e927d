"""An X.509 proxy ends, of jobs that run and of one that waits; and nobody makes a new one for an hour."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import ClientFactory
from tests.support.accounts import Accounts
from tests.support.credentials import HOUR, go, new_x509, private_home
from tests.support.gateway import GatewayServer
from tests.support.pool import Pool
from tests.support.sessions import SESSIONS
from tests.support.waiting import eventually
from tests.support.watching import IDLE, RUNNING, stays

from htcdaskgateway.condor.jobs import X509_GRACE

pytestmark = pytest.mark.condor

SITE = f"""{SESSIONS}
c.HTCondorBackend.x509 = "required"
c.HTCondorBackend.x509_minimum = 0
c.HTCondorBackend.token = "never"
c.HTCondorBackend.worker_start_failure_limit = 1
c.ClusterConfig.worker_cores = 8  # the pool promises 16
"""
SHORT = 100.0  # seconds that the first X.509 proxy is good for; with less than 60 no job starts
SCRIPT = """
import json, os, time
from pathlib import Path
from htcdaskgateway import HTCGateway

home = Path(os.environ["HOME"])

def on(word):
    end = time.monotonic() + 60
    while not (home / word).exists():
        assert time.monotonic() < end, word
        time.sleep(0.05)

cluster = HTCGateway().new_cluster()
print("READY", flush=True)
on("go-submit")
cluster.scale(3)
cluster.wait_for_workers(2, timeout=40)
client = cluster.get_client()
print("RUNNING", flush=True)
end = time.monotonic() + 240
while not (home / "go-end").exists():
    assert time.monotonic() < end
    report = cluster.gateway.sync(cluster.report)
    told = {"problem": report.problem, "works": client.submit(pow, 2, 5, pure=False).result(timeout=20)}
    told["workers"] = [[w.name, w.state.value, w.job_id, w.reason] for w in cluster.workers()]
    (home / "shown.new").write_text(json.dumps(told))
    (home / "shown.new").replace(home / "shown")
    time.sleep(0.5)
client.close()
cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_running_jobs_go_on_and_idle_ones_make_room(
    gateway: Callable[..., GatewayServer], run_client: ClientFactory, pool: Pool, accounts: Accounts
) -> None:
    user = accounts.analyst
    server = gateway(SITE)
    with private_home(user) as home:
        session = run_client(
            SCRIPT,
            **server.client_environment(),
            HOME=str(home),
            X509_USER_PROXY=str(new_x509(pool, home / "grid", user, 12 * HOUR)),
            _CONDOR_CRED_MIN_TIME_LEFT="1",  # HTCondor submits no job with less
        )
        session.wait_for("READY", 90)
        new_x509(pool, home / "grid", user, SHORT)
        ends = time.time() + SHORT
        go(home, "submit")
        session.wait_for("RUNNING", 60)

        def shown() -> Any:
            return json.loads((home / "shown").read_text())

        def jobs() -> dict[str, int]:
            return {f"{ad['ClusterId']}.{ad['ProcId']}": ad["JobStatus"] for ad in server.jobs()}

        def idle() -> set[str]:
            return {job_id for job_id, status in jobs().items() if status == IDLE}

        eventually("two run, one waits", lambda: sorted(jobs().values()) == [IDLE, RUNNING, RUNNING], 20)
        before, [waits] = jobs(), idle()

        # It has ended: those that run go on, the other one waits and says for what.
        time.sleep(max(0.0, ends + 3 - time.time()))
        stays("nothing happens", lambda: jobs() == before and shown()["works"] == 32, 5)
        [[name, state, _, reason]] = [told for told in shown()["workers"] if told[2] == waits]
        assert state == "idle"
        assert reason.endswith(" UTC: it does not start before you have made a new one")

        # As if it had ended an hour before: HTCondor removes the one that waits, and no other.
        said = str(int(time.time() - X509_GRACE - 1))
        mine = f'HTCDaskGateway == "{server.instance}"'
        pool.command("condor_qedit", "-constraint", mine, "HTCDaskX509Until", said, user=user)
        del before[waits]
        eventually("it is removed", lambda: jobs() == before, 30)

        def in_its_place() -> list[Any]:
            return [told for told in shown()["workers"] if told[1] == "wanted" and "expired" in told[3]]

        eventually("its worker waits for a new X.509 proxy", lambda: len(in_its_place()) == 1, 30)
        stays("two run on", lambda: jobs() == before and shown()["works"] == 32, 5)
        [removed] = [told for told in shown()["workers"] if told[0] == name]
        assert removed[1] == "failed"
        assert "PeriodicRemove" in removed[3]
        assert shown()["problem"] == "", "that is no failed start"

        # A new one: the worker is submitted, and all jobs have it.
        new_x509(pool, home / "grid", user, 12 * HOUR)
        eventually("another one waits in its place", lambda: len(jobs()) == 3 and idle(), 60)
        soon = time.time() + 11 * HOUR
        eventually("all have it", lambda: all(ad["HTCDaskX509Until"] > soon for ad in server.jobs()), 60)
        assert not idle() & {waits}
        go(home, "end")
        session.wait(60)
