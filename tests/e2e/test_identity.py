"""Whose jobs they are that the gateway submits: a token of each user, or accounted to them."""

from __future__ import annotations

import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import GatewayFactory
from tests.e2e.conftest import Connect
from tests.support.accounts import Accounts
from tests.support.gateway import GatewayServer
from tests.support.pool import Pool
from tests.support.waiting import eventually
from tests.support.watching import exactly, live, no_jobs, what_came_back

from htcdaskgateway import WorkerState
from htcdaskgateway.client.errors import ClusterFailedError, RefusedError
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.sandbox import SECRETS

pytestmark = pytest.mark.condor

SITE = """
c.HTCondorAccess.interface = "{interface}"
c.HTCondorAccess.token_directory = "{directory}"
c.HTCondorAccess.spool = True
c.HTCondorAccess.accounting_group_user = True
"""


class Tokens:
    """The gateway's directory of tokens."""

    def __init__(self, directory: Path, service: str) -> None:
        self.directory, self._service = directory, service

    def write(self, user: str, token: str, mode: int = 0o600) -> None:
        file, beside = self.directory / user, self.directory / f".{user}.new"
        beside.touch(mode)
        beside.write_text(token)
        beside.chmod(mode)
        shutil.chown(beside, self._service, self._service)
        beside.replace(file)


@pytest.fixture
def tokens(accounts: Accounts) -> Iterator[Tokens]:
    directory = Path(tempfile.mkdtemp(prefix="htcdask-tokens-"))  # 0700
    try:
        shutil.chown(directory, accounts.service, accounts.service)
        yield Tokens(directory, accounts.service)
    finally:
        shutil.rmtree(directory)


def secrets_in_spool(pool: Pool) -> list[Path]:
    """Of the jobs that the schedd has: no two pools share it."""
    return [path for path in (pool.home / "local" / "spool").rglob("*") if path.name in SECRETS]


@pytest.mark.parametrize("interface", ["bindings", "tools"])
def test_jobs_belong_to_whom_the_token_says(
    gateway: GatewayFactory, connect: Connect, pool: Pool, tokens: Tokens, interface: str
) -> None:
    tokens.write("analyst", pool.token("analyst"))
    server = gateway(SITE.format(interface=interface, directory=tokens.directory))
    cluster = connect(server).new_cluster()
    cluster.scale(2)
    ads = server.jobs()
    assert {(ad["Owner"], ad["User"]) for ad in ads} == {("analyst", "analyst@pool.test")}
    assert {ad["AcctGroupUser"] for ad in ads} == {"analyst"}
    cluster.wait_for_workers(2, timeout=90)
    assert secrets_in_spool(pool), "the jobs have them, so they are looked for in the right place"

    server.kill()
    server.start()
    first, second = exactly(server, cluster, 2)

    # What a worker wrote comes back when it has ended, to a place that is the gateway's alone.
    cluster.scale(0)
    for worker in (first, second):
        assert "Registered to" in what_came_back(cluster, worker.name)
        assert cluster.logs(worker.job_id)[worker.name].record.state is WorkerState.FINISHED
    sandbox = server.state_directory / "clusters" / cluster.name
    assert stat.S_IMODE(sandbox.stat().st_mode) == 0o700
    assert "Job terminated" in (sandbox / f"worker-{first.name}.log").read_text()

    cluster.shutdown()
    no_jobs(server, 60)
    eventually("no secret in the spool", lambda: not secrets_in_spool(pool), 20)
    token = pool.token("analyst")
    assert token.rpartition(".")[2] not in server.log()


def expired(pool: Pool, user: str) -> str:
    made = pool.command("condor_token_create", "-identity", f"{user}@pool.test", "-lifetime", "1").strip()
    time.sleep(2)
    return made


def test_who_has_no_token_that_will_do(
    gateway: GatewayFactory, connect: Connect, pool: Pool, tokens: Tokens
) -> None:
    server = gateway(SITE.format(interface="bindings", directory=tokens.directory))
    client = connect(server, "analyst2")
    with pytest.raises(ClusterFailedError) as caught:
        client.new_cluster()
    assert caught.value.words == (
        "The gateway has no HTCondor token of analyst2, under which it could submit jobs."
    )

    tokens.write("analyst2", pool.token("analyst2"), 0o640)
    with pytest.raises(ClusterFailedError, match=r"The token '.*/analyst2' is open to others\."):
        client.new_cluster()
    assert client.list_clusters() == []

    tokens.write("analyst2", expired(pool, "analyst2"))
    cluster = client.new_cluster()
    with pytest.raises(RefusedError, match="does not know who we are") as refused:
        cluster.scale(1)
    assert "AUTHENTICATE" in refused.value.words
    assert live(cluster) == []

    # Workers that are wanted in another way wait, until there is a token that is valid.
    cluster.adapt(minimum=1, maximum=1)

    def report() -> WorkersReport:
        found: WorkersReport = client.sync(cluster.report)
        return found

    eventually("HTCondor's words", lambda: "AUTHENTICATE" in report().problem, 30)
    assert [worker.state for worker in live(cluster)] == [WorkerState.WANTED]
    assert server.jobs() == []
    tokens.write("analyst2", pool.token("analyst2"))
    cluster.wait_for_workers(1, timeout=90)
    assert [ad["Owner"] for ad in server.jobs()] == ["analyst2"]
    cluster.shutdown()
    no_jobs(server, 60)


def test_without_spooling_there_is_no_gateway(gateway: Callable[..., GatewayServer], tokens: Tokens) -> None:
    with pytest.raises(RuntimeError, match="the gateway ended") as caught:
        gateway(f"c.HTCondorAccess.token_directory = {str(tokens.directory)!r}\n")
    assert (
        f"c.HTCondorAccess.token_directory is '{tokens.directory}', but spool is not set:"
        " users' jobs cannot read the gateway's files."
    ) in str(caught.value)


def test_one_account_for_all(gateway: GatewayFactory, connect: Connect) -> None:
    never = "c.HTCondorClusterConfig.submit_commands = {'requirements': 'false'}\n"
    server = gateway(never + "c.HTCondorAccess.accounting_group_user = True\n")
    for user in ("analyst", "analyst2"):
        with connect(server, user).new_cluster() as cluster:
            cluster.scale(1)
            [ad] = server.jobs()
            assert (ad["Owner"], ad["AcctGroupUser"], ad["AccountingGroup"]) == ("htcdask", user, user)
        no_jobs(server)
