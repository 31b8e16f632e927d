"""What the other tests stand on: the environment, the pool, the accounts, the fixtures."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import distributed
import pytest
from tests.support import processes
from tests.support.accounts import Accounts
from tests.support.clients import ClientProcess
from tests.support.gateway import GatewayServer
from tests.support.pool import RECIPE, Pool, run_recipe
from tests.support.ports import free_port
from tests.support.waiting import eventually

import htcdaskgateway

Settings = dict[str, Any]
LOCAL = "dask_gateway_server.backends.local.UnsafeLocalBackend"
LOCAL_WITH_DATABASE = """
c.DBBackendBase.db_url = "sqlite:///gateway.sqlite"
c.DBBackendBase.db_encrypt_keys = [b"k" * 32]
"""
QUERY = """
import sqlalchemy as sa
with sa.create_engine({!r}).connect() as connection:
    print(connection.execute(sa.text("select 41 + 1")).scalar())
"""


def submit(pool: Pool, directory: Path, user: str, **commands: str) -> str:
    """Submit one job; its ClusterId."""
    description = directory / "job.sub"
    # no event log: the schedd would make its directory again after the test has removed it
    common = {"output": "out", "error": "err", "should_transfer_files": "YES"}
    lines = {**common, "request_memory": "100", **commands}
    description.write_text("".join(f"{name} = {value}\n" for name, value in lines.items()) + "queue\n")
    answer = pool.command("condor_submit", "-terse", str(description), user=user, cwd=str(directory))
    return answer.split(".")[0]


@pytest.fixture
def directory(accounts: Accounts) -> Iterator[Path]:
    """A directory of the analyst's that the pool's jobs see."""
    path = Path(processes.run(["mktemp", "-d", "/tmp/htcdask-job-XXXXXX"], accounts.analyst).strip())
    yield path
    shutil.rmtree(path)


def test_a_job_runs_as_its_owner_and_can_start_dask(pool: Pool, accounts: Accounts, directory: Path) -> None:
    script = directory / "job.sh"
    script.write_text(f"#!/bin/sh\nid -un\nexec {processes.ENVIRONMENT}/bin/dask worker --version\n")
    script.chmod(0o755)
    job = submit(pool, directory, accounts.analyst, executable="job.sh")
    eventually("job done", lambda: not pool.queue(f"ClusterId == {job}"), 60)
    user, version = (directory / "out").read_text().splitlines()
    assert (user, version.split()[-1]) == (accounts.analyst, distributed.__version__)


def test_the_queue_shows_the_jobs_of_all_users(pool: Pool, accounts: Accounts, directory: Path) -> None:
    job = submit(pool, directory, accounts.analyst, executable="/bin/sleep", arguments="300", hold="true")
    (ad,) = pool.queue(f"ClusterId == {job}")
    assert (ad["Owner"], ad["JobStatus"]) == (accounts.analyst, 5)
    pool.remove(f"ClusterId == {job}")
    assert not pool.queue(f"ClusterId == {job}")
    pool.remove(f"ClusterId == {job}")  # none left: no error


def test_a_token_identifies_its_bearer(pool: Pool, accounts: Accounts) -> None:
    directory = Path(processes.run(["mktemp", "-d", "/tmp/htcdask-token-XXXXXX"], "nobody").strip())
    try:
        (directory / "token").touch(0o600)
        (directory / "token").write_text(pool.token(accounts.other))
        os.chown(directory / "token", directory.stat().st_uid, -1)
        env = {
            **pool.env,
            "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
            "_CONDOR_SEC_TOKEN_DIRECTORY": str(directory),
        }
        ping = [str(pool.home / "bin/condor_ping"), "-type", "schedd", "-verbose", "WRITE"]
        assert f"{accounts.other}@pool.test" in processes.run(ping, "nobody", env)
    finally:
        processes.run(["rm", "-rf", str(directory)], "nobody")


def test_the_schedd_comes_back_after_a_crash(pool: Pool) -> None:
    before = pool.recipe("status")
    pool.recipe("kill", "schedd", "-9")

    def answers() -> bool:
        try:
            return pool.recipe("status") != before and pool.queue() is not None
        except RuntimeError:
            return False

    eventually("schedd answers", answers, 60)


def test_the_installed_project_is_tested_not_the_clone() -> None:
    assert Path(htcdaskgateway.__file__).is_relative_to(sys.prefix)


def test_the_gateway_account_may_become_the_people_and_nobody_else(accounts: Accounts) -> None:
    def become(user: str) -> str:
        return processes.run(["sudo", "-nu", user, "--", "id", "-un"], accounts.service).strip()

    assert [become(user) for user in (accounts.analyst, accounts.other)] == [accounts.analyst, accounts.other]
    with pytest.raises(RuntimeError, match=r"password is required|not allowed"):
        become("root")


@pytest.fixture
def other_pool(pool: Pool) -> Iterator[Settings]:
    """Settings of a second pool, not up yet."""
    settings: Settings = {
        "HTCDASK_POOL_HOME": f"/var/tmp/htcdask-pool-test-{os.getpid()}",
        "HTCDASK_POOL_PORT": str(free_port()),
        "HTCDASK_KEEP_POOL": "0",
    }
    yield settings
    run_recipe("down", "--wipe", **settings)


def test_a_pool_of_one_command_leaves_nothing(other_pool: Settings) -> None:
    home = Path(other_pool["HTCDASK_POOL_HOME"])
    assert "slot1@" in run_recipe("with", "condor_status", "-af", "Name", **other_pool)
    assert not home.exists()
    assert not processes.mentioning(str(home))


def test_the_last_of_several_commands_takes_the_pool_down(other_pool: Settings) -> None:
    inner_then_ask = f"{RECIPE} with true && condor_status -af Name"
    assert "slot1@" in run_recipe("with", "sh", "-c", inner_then_ask, **other_pool)
    assert not Path(other_pool["HTCDASK_POOL_HOME"]).exists()


def test_a_pool_that_was_brought_up_by_hand_stays(other_pool: Settings) -> None:
    run_recipe("up", **other_pool)
    run_recipe("with", "true", **other_pool)
    assert "condor_schedd" in run_recipe("status", **other_pool)


def test_two_starts_at_once_are_one_pool(other_pool: Settings) -> None:
    with ThreadPoolExecutor(2) as threads:
        command = ("with", "condor_status", "-af", "Name")
        both = [threads.submit(run_recipe, *command, **other_pool) for _ in range(2)]
        assert all("slot1@" in answer.result(120) for answer in both)
    assert not Path(other_pool["HTCDASK_POOL_HOME"]).exists()


def test_a_taken_port_is_named(other_pool: Settings) -> None:
    port = int(other_pool["HTCDASK_POOL_PORT"])
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(RuntimeError, match=f"port {port} on 127.0.0.1 is taken"),
    ):
        run_recipe("up", **other_pool)


def test_a_directory_of_another_account_is_refused(accounts: Accounts, directory: Path) -> None:
    (directory / "settings").write_text("touch /tmp/htcdask-must-not-exist\n")
    with pytest.raises(RuntimeError, match="belongs to analyst, not to root"):
        run_recipe("status", HTCDASK_POOL_HOME=str(directory))
    assert not Path("/tmp/htcdask-must-not-exist").exists()


def test_without_htcondor_only_root_can_have_a_pool(accounts: Accounts, directory: Path) -> None:
    # the clone may be unreadable to the account
    recipe = shutil.copytree(RECIPE.parent, directory / "pool") / "pool"
    env = {**processes.environment(accounts.analyst), "HTCDASK_POOL_CONDOR": "built"}
    with pytest.raises(RuntimeError, match="this machine has no HTCondor, and only root can build one"):
        processes.run([str(recipe), "up"], accounts.analyst, env)


@pytest.mark.parametrize("external", [False, True])
async def test_a_gateway_is_killed_and_started_again(
    gateway: Callable[..., GatewayServer], external: bool
) -> None:
    server = gateway(LOCAL_WITH_DATABASE, backend=LOCAL, external=external)
    async with server.connect() as client:
        name = await client.submit()
        for _ in range(600):
            if await client.list_clusters(status="running"):
                break
            await asyncio.sleep(0.1)
        server.kill(signal.SIGKILL)
        server.start()
        assert [report.name for report in await client.list_clusters()] == [name]
        await client.stop_cluster(name)


def test_a_gateway_that_leaves_things_behind_is_told_on(pool: Pool, accounts: Accounts) -> None:
    server = GatewayServer(pool, accounts, backend=LOCAL)
    server.start()
    description = {"executable": "/bin/sleep", "arguments": "300", "+HTCDaskGateway": f'"{server.instance}"'}
    submit(pool, server.state_directory.parent, accounts.service, **description)
    private = server.state_directory.parent
    child = processes.spawn(["/bin/sleep", "300"], accounts.service, {}, private, private / "log")
    left = server.close(deadline=2)
    child.wait(5)
    assert [line.split()[0] for line in left] == ["job", str(child.pid)]
    assert not server.jobs()


def test_a_gateway_that_cannot_start_says_why(gateway: Callable[..., GatewayServer]) -> None:
    with pytest.raises(RuntimeError, match="no_such_module"):
        gateway(backend="no_such_module.Backend")


def test_a_database_is_there_and_only_for_the_gateway(
    database: str, run_client: Callable[..., ClientProcess], accounts: Accounts
) -> None:
    url = database.partition('"')[2].rpartition('"')[0] or "sqlite://"
    script = QUERY.format(url)
    assert run_client(script, user=accounts.service).wait() == "42\n"
    if database:
        with pytest.raises(RuntimeError, match="OperationalError"):
            run_client(script, user=accounts.analyst).wait()


def test_a_client_is_killed(run_client: Callable[..., ClientProcess]) -> None:
    client = run_client("import time; print('ready'); time.sleep(300)")
    client.wait_for("ready")
    client.kill()
    assert client.process.returncode == -signal.SIGKILL
