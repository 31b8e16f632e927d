"""A person goes on from another machine: another sandbox, another X.509 proxy, another token."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ClientFactory
from tests.support.accounts import Accounts
from tests.support.credentials import HOUR, go, new_token, new_x509, private_home
from tests.support.gateway import GatewayServer
from tests.support.pool import Pool
from tests.support.sessions import SESSIONS
from tests.support.waiting import eventually
from tests.support.watching import no_jobs

from htcdaskgateway.sandbox import SECRETS

pytestmark = pytest.mark.condor

LEASE = 5
SITE = f"""{SESSIONS}
c.HTCondorBackend.session_lease = {LEASE}
c.HTCondorBackend.x509 = "required"
c.HTCondorBackend.token = "required"
"""
AT_HOME = """
import time
from htcdaskgateway import HTCGateway

cluster = HTCGateway().new_cluster()
cluster.scale(1)
cluster.wait_for_workers(1, timeout=90)
print("cluster", cluster.name, cluster.sandbox, flush=True)
time.sleep(600)
"""
# Shows what workers have, again and again.
ELSEWHERE = """
import json, os, time
from pathlib import Path
from htcdaskgateway import HTCGateway
from htcdaskgateway.credentials.x509 import parse_x509

def found():
    return [open(os.environ[name]).read() for name in ("X509_USER_PROXY", "BEARER_TOKEN_FILE")]

cluster = HTCGateway().connect(os.environ["CLUSTER"])
while cluster._submitter.role != "submitter":
    time.sleep(0.1)
cluster.scale(2)
cluster.wait_for_workers(2, timeout=90)
print("sandbox", cluster.sandbox, flush=True)
client = cluster.get_client()
shown, end = Path(os.environ["HOME"], "shown"), time.monotonic() + 240
while not Path(os.environ["HOME"], "go-end").exists():
    assert time.monotonic() < end
    told = client.run(found).values()
    told = sorted((parse_x509(x509.encode(), "the job's").not_after, token) for x509, token in told)
    shown.with_suffix(".new").write_text(json.dumps(told))
    shown.with_suffix(".new").replace(shown)
    time.sleep(0.5)
client.close()
cluster.shutdown()
"""
OTHERS = "They run with the X.509 proxy file of a session that submitted before, in another sandbox"


def secrets_in(sandbox: Path) -> set[str]:
    return {name for name in SECRETS if (sandbox / name).exists()}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("spool", [False, True])
def test_credentials_of_another_machine(
    gateway: Callable[..., GatewayServer],
    run_client: ClientFactory,
    pool: Pool,
    accounts: Accounts,
    spool: bool,
) -> None:
    """New workers have the new session's. What it renews reaches all jobs that HTCondor lets it reach."""
    user = accounts.analyst
    server = gateway(f"{SITE}c.HTCondorAccess.spool = {spool}\n")

    def session(script: str, home: Path, hours: float, **more: str) -> Any:
        home.mkdir()
        shutil.chown(home, user, user)
        x509 = new_x509(pool, home / "grid", user, hours * HOUR)
        new_token(home, user, HOUR)
        return run_client(
            script,
            **server.client_environment(),
            HOME=str(home),
            X509_USER_PROXY=str(x509),
            BEARER_TOKEN_FILE=str(home / "token"),
            DASK_HTCDASKGATEWAY__CONDOR__INTERFACE="bindings",
            **more,
        )

    with private_home(user) as homes:
        first = session(AT_HOME, homes / "laptop", 6)
        first.wait_for("cluster ", 120)
        name, at_home = first.output().split("cluster ")[1].split()[:2]
        first.process.send_signal(signal.SIGSTOP)  # the laptop is closed
        time.sleep(LEASE + 1)

        there = homes / "office"
        second = session(ELSEWHERE, there, 12, CLUSTER=name)
        second.wait_for("sandbox ", 150)
        sandbox = Path(second.output().split("sandbox ")[1].split()[0])

        def seen() -> tuple[list[int], list[str]]:
            """Hours that the workers' X.509 proxies are good for, and their tokens."""
            if not (there / "shown").exists():
                return [], []
            told = json.loads((there / "shown").read_text())
            return [round((until - time.time()) / HOUR) for until, _ in told], [token for _, token in told]

        tokens = [(homes / home / "token").read_text() for home in ("laptop", "office")]
        eventually("each has its session's", lambda: seen() == ([6, 12], tokens), 20)
        assert not sandbox.is_relative_to(homes / "laptop")
        assert secrets_in(sandbox) == secrets_in(Path(at_home)) == set(SECRETS)

        new_x509(pool, there / "grid", user, 18 * HOUR)
        renewed = [new_token(there, user, 2 * HOUR)] * 2
        # A job that was not spooled has the file of the session that submitted it, which is not here.
        hours = [18, 18] if spool else [6, 18]
        eventually("what can be renewed is renewed", lambda: seen() == (hours, renewed), 60)
        if not spool:
            second.wait_for(OTHERS, 60)  # it is tried twice, half a minute apart
        assert ("could not be given the renewed" in second.output()) is not spool

        def said() -> list[int]:
            return sorted(round((ad["HTCDaskX509Until"] - time.time()) / HOUR) for ad in server.jobs())

        eventually("the jobs' own word follows", lambda: said() == hours, 40)

        go(there, "end")
        second.wait(60)
        no_jobs(server)
        assert secrets_in(sandbox) == set()
        first.process.send_signal(signal.SIGCONT)
        eventually("the laptop's are removed, too", lambda: not secrets_in(Path(at_home)), 30)
