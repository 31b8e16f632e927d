"""Fixtures over real parts: a pool, a gateway, databases, clients.

Where there can be no pool, tests that need one skip and say why; ``HTCDASK_REQUIRE=condor`` makes
failures of those skips.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import dask
import hypothesis
import pytest
from dask_gateway import Gateway, GatewayCluster

from htcdaskgateway import HTCGateway, HTCGatewayCluster

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `tests.support`, wherever pytest was started

from tests.support import clients, processes, several
from tests.support.accounts import Accounts, check_environment, sudo_for
from tests.support.gateway import GatewayServer
from tests.support.pool import NoPoolError, Pool, running_pool
from tests.support.postgres import NoPostgresError, Postgres, running_postgres

HOW = "Run `make test` as root on Debian 12."


def unavailable(reason: str) -> NoReturn:
    """Skip for this reason, or fail if the caller wants these tests to run."""
    if "condor" in os.environ.get("HTCDASK_REQUIRE", "").split(","):
        pytest.fail(f"HTCDASK_REQUIRE=condor, but {reason}. {HOW}", pytrace=False)
    pytest.skip(f"{reason}. {HOW}")


def pytest_configure(config: pytest.Config) -> None:
    several.end_in_order(config)
    # The finalizer of dask-gateway's own client raises if it was closed, and can wait for ever (see
    # htcdaskgateway.client.farewell), in whatever test the garbage is collected: the tests use ours for both.
    Gateway.__del__ = HTCGateway.__del__
    GatewayCluster.__del__ = HTCGatewayCluster.__del__


@pytest.hookimpl(tryfirst=True)  # pytest-xdist looks at it then
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marker and fixture go together: who uses the pool is marked, who is marked gets it."""
    for item in items:
        names: list[str] = getattr(item, "fixturenames", [])
        if "pool" in names:
            item.add_marker(pytest.mark.condor)
        elif item.get_closest_marker("condor"):
            names.insert(0, "pool")
    if several.are_there():
        several.share(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the gateways and clients of a test that failed."""
    report = yield
    if report.failed:
        for title, log in item.stash.get(LOGS, []):
            report.sections.append((title, text_of(log)))
    return report


def text_of(log: Callable[[], str]) -> str:
    """What it says; that it cannot be read is no reason to lose the report of the test."""
    try:
        return log()
    except OSError as error:
        return f"(cannot be read: {error})"


# How long an example takes says something about the machine only.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

LOGS = pytest.StashKey[list[tuple[str, Callable[[], str]]]]()


def show_if_failed(request: pytest.FixtureRequest, title: str, log: Callable[[], str]) -> None:
    request.node.stash.setdefault(LOGS, []).append((title, log))


@pytest.fixture(scope="session", autouse=True)
def _workers_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Workers in the tests' own processes leave nothing in /tmp: tests in other processes look there."""
    with dask.config.set({"temporary-directory": str(tmp_path_factory.mktemp("dask"))}):
        yield


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """A real HTCondor pool, or a skip."""
    if os.geteuid() != 0:
        unavailable("only root can make the pool's accounts")
    try:
        with running_pool() as found:
            yield found
    except NoPoolError as error:
        unavailable(str(error))


@pytest.fixture(scope="session")
def accounts(pool: Pool) -> Iterator[Accounts]:
    """The pool's accounts; the service account may run commands as the others."""
    found = Accounts()
    check_environment(found)
    with sudo_for(found):
        yield found


GatewayFactory = Callable[..., GatewayServer]


@pytest.fixture
def gateway(pool: Pool, accounts: Accounts, request: pytest.FixtureRequest) -> Iterator[GatewayFactory]:
    """Starts gateways: ``gateway(configuration="…", external=True)``. See `GatewayServer`."""
    servers: list[GatewayServer] = []

    def start(configuration: str = "", **options: Any) -> GatewayServer:
        server = GatewayServer(pool, accounts, configuration, **options)
        servers.append(server)
        show_if_failed(request, f"gateway {server.url}", server.log)
        server.start()
        return server

    yield start
    left = [line for server in servers for line in server.close()]
    assert not left, "the gateway left behind:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def postgresql(accounts: Accounts) -> Iterator[Postgres]:
    """A PostgreSQL server of the service account."""
    try:
        with running_postgres(accounts.service) as server:
            yield server
    except NoPostgresError as error:
        unavailable(str(error))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Configuration lines for a new database: SQLite is the gateway's default."""
    if request.param == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgresql")
    return f'c.HTCondorBackend.db_url = "{server.create_database()}"\n'


ClientFactory = Callable[..., clients.ClientProcess]


@pytest.fixture
def run_client(accounts: Accounts, pool: Pool, request: pytest.FixtureRequest) -> Iterator[ClientFactory]:
    """Starts Python sessions of people: ``run_client(script, user="analyst", **environment)``."""
    directory = Path(tempfile.mkdtemp(prefix="htcdask-client-"))
    directory.chmod(0o711)
    started: list[clients.ClientProcess] = []

    def start(script: str, user: str = accounts.analyst, **environment: str) -> clients.ClientProcess:
        log = directory / f"client-{len(started)}"
        env = {**processes.environment(user), **pool.env, **environment}
        process = processes.spawn(clients.python(script), user, env, Path("/"), log)
        client = clients.ClientProcess(process, log)
        started.append(client)
        show_if_failed(request, f"client {process.pid}", client.output)
        return client

    try:
        yield start
    finally:
        for client in started:
            client.close()
        shutil.rmtree(directory)
