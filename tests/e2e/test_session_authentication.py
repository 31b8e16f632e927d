"""A session is whoever its HTCondor configuration says, by each method of authentication alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import ClientFactory
from tests.support.authentication import IDENTITY, USER, Authentication, Person
from tests.support.clients import ClientProcess
from tests.support.credentials import go, private_home
from tests.support.gateway import GatewayServer
from tests.support.pool import Pool
from tests.support.sessions import SESSIONS
from tests.support.watching import no_jobs

pytestmark = pytest.mark.condor

INTERFACES = ("bindings", "tools")
SESSION = """
import os, time
from pathlib import Path
from htcdaskgateway import HTCGateway

with HTCGateway().new_cluster() as cluster:
    cluster.scale(1)
    cluster.wait_for_workers(1, timeout=90)
    with cluster.get_client() as client:
        print("result", client.submit(sum, [40, 2]).result(60))
    print("job", *(worker.job_id for worker in cluster.workers()), "is there")
    end = time.monotonic() + 60
    while not Path(os.environ["HOME"], "go-end").exists():
        assert time.monotonic() < end
        time.sleep(0.1)
"""
STRANGER = """
from htcdaskgateway import HTCGateway

with HTCGateway().new_cluster() as cluster:
    try:
        cluster.scale(1)
    except Exception as error:
        print(error)
"""
Start = Callable[[GatewayServer, str, Person, str, str], ClientProcess]


@pytest.fixture(scope="module")
def schedd(pool: Pool) -> Iterator[Authentication]:
    found = Authentication(pool)
    with found.running():
        yield found


@pytest.fixture
def home() -> Iterator[Path]:
    with private_home(USER) as directory:
        yield directory


@pytest.fixture
def start(run_client: ClientFactory, pool: Pool, home: Path) -> Start:
    """A session that has one method: its configuration is a file, or variables."""

    def started(
        server: GatewayServer, method: str, person: Person, interface: str, script: str
    ) -> ClientProcess:
        settings = {"SEC_CLIENT_AUTHENTICATION_METHODS": method, **person.settings}
        if interface == "bindings":
            lines = [f"{name} = {value}" for name, value in settings.items()]
            file = home / "condor_config"
            file.write_text("\n".join([f"include : {pool.home}/condor_config", *lines, ""]))
            shutil.chown(file, USER)
            configuration = {"CONDOR_CONFIG": str(file)}
        else:
            configuration = {f"_CONDOR_{name}": value for name, value in settings.items()}
        return run_client(
            script,
            **server.client_environment(),
            **configuration,
            **person.environment,
            HOME=str(home),
            DASK_HTCDASKGATEWAY__CONDOR__INTERFACE=interface,
        )

    return started


@pytest.mark.timeout(300)
@pytest.mark.parametrize("method", ["FS", "IDTOKENS", "SSL", "SCITOKENS"])
def test_each_method(
    gateway: Callable[..., GatewayServer],
    schedd: Authentication,
    start: Start,
    home: Path,
    method: str,
) -> None:
    server, person, before = gateway(SESSIONS), schedd.person(method, home), len(schedd.audit())
    sessions = [start(server, method, person, interface, SESSION) for interface in INTERFACES]
    for session in sessions:
        session.wait_for("is there", 120)
    jobs = {re.findall(r"^job (\S+) is there", session.output(), re.M)[0] for session in sessions}
    ads = {f"{ad['ClusterId']}.{ad['ProcId']}": (ad["Owner"], ad["User"]) for ad in server.jobs()}
    assert ads == dict.fromkeys(jobs, (USER, IDENTITY))
    go(home, "end")
    assert [re.findall(r"^result (\d+)", session.wait(60), re.M) for session in sessions] == [["42"]] * 2
    no_jobs(server)

    log = schedd.audit()[before:]
    who = re.findall(r"AuthMethod=(.*), AuthId=(.*), CondorId=(.*)", log)
    assert set(who) == {(method, person.shown, IDENTITY)}, log
    assert jobs == set(re.findall(r"Submitting new job (\S+)", log))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("interface", INTERFACES)
def test_who_has_no_certificate_is_refused(
    gateway: Callable[..., GatewayServer],
    schedd: Authentication,
    start: Start,
    home: Path,
    interface: str,
) -> None:
    server, before = gateway(SESSIONS), len(schedd.audit())
    said = start(server, "SSL", schedd.no_certificate(), interface, STRANGER).wait(60)
    assert "does not know who we are." in said
    assert "Failed to authenticate using SSL" in said
    assert server.jobs() == []
    assert "AuthMethod" not in schedd.audit()[before:], "not let in by another method"
