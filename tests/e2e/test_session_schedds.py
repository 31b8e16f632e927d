"""Where several schedds may have the jobs, an answer that is lost loses no jobs, and none come twice."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import ClientFactory, GatewayFactory
from tests.support.clients import ClientProcess
from tests.support.second import FIRST, SECOND, Schedds
from tests.support.waiting import eventually

pytestmark = pytest.mark.condor

# Jobs that run and never connect: what is counted is jobs.
SITE = """
c.HTCondorBackend.submitter = "session"
c.HTCondorBackend.session_lease = 5
c.HTCondorBackend.removal_grace = 0
c.ClusterConfig.worker_cmd = ["/bin/sh", "-c", "exec sleep 600"]
"""
# Submits where the test wants it, unless it is told, and says so only when the test lets it.
WRAPPER = """#!/bin/sh
case " $* " in *" -name "*) ;; *) set -- -name "$(cat {directory}/choice)" "$@" ;; esac
said=$({bin}/condor_submit "$@") || exit
tries=0
while [ -e {directory}/hang ] && [ $tries -lt 600 ]; do sleep 0.1; tries=$((tries + 1)); done
echo "$said"
"""
BEGIN = """
import os, time
from pathlib import Path
from htcdaskgateway import HTCGateway

directory = Path(os.environ["DIRECTORY"])

def until(what):
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end, cluster.workers()
        time.sleep(0.1)

def known():
    return len(cluster.workers()) == 3 and all(one.job_id and one.schedd for one in cluster.workers())

def finish():
    until(known)
    print("at", *sorted({one.schedd for one in cluster.workers()}), flush=True)
    until((directory / "go").exists)
    cluster.shutdown()
    print("end", flush=True)

"""
SCALES = (
    BEGIN
    + """
cluster = HTCGateway().new_cluster(shutdown_on_close=False)
print("name", cluster.name, flush=True)
try:
    cluster.scale(3)
except Exception as error:
    print("failed", repr(error), flush=True)
finish()
"""
)
CONNECTS = BEGIN + 'cluster = HTCGateway().connect(os.environ["NAME"])\nfinish()\n'


class Site:
    """A gateway, two schedds, and a ``condor_submit`` of the site's own."""

    def __init__(self, schedds: Schedds, gateway: GatewayFactory, run_client: ClientFactory, directory: Path):
        self.schedds, self.run_client, self.directory = schedds, run_client, directory
        self.server = gateway(SITE, external=True)
        wrapper = directory / "condor_submit"
        wrapper.write_text(WRAPPER.format(directory=directory, bin=schedds.pool.home / "bin"))
        wrapper.chmod(0o755)
        self.tools = f'{{"condor_submit": "{wrapper}"}}'

    def choose(self, name: str) -> None:
        (self.directory / "choice").write_text(name)

    def session(self, script: str, **condor: str) -> ClientProcess:
        return self.run_client(
            script,
            **self.server.client_environment(),
            DIRECTORY=str(self.directory),
            DASK_HTCDASKGATEWAY__CONDOR__INTERFACE="tools",
            DASK_HTCDASKGATEWAY__CONDOR__TOOLS=self.tools,
            **condor,
        )

    def jobs(self) -> tuple[int, int]:
        """How many are on the first and on the second schedd."""
        mine = f'HTCDaskGateway == "{self.server.instance}"'
        return len(self.schedds.jobs(FIRST, mine)), len(self.schedds.jobs(SECOND, mine))

    def interrupted_submit(self, **condor: str) -> tuple[ClientProcess, str]:
        """Let a session submit to the second one; returns before it has heard of it."""
        hang = self.directory / "hang"
        hang.touch()
        session = self.session(SCALES, **condor)
        eventually("three jobs", lambda: self.jobs() == (0, 3), 60)
        return session, session.output().partition("name ")[2].split()[0]

    def ends_well(self, session: ClientProcess) -> None:
        """The session knows all jobs, there are no others, and they end with the cluster."""
        session.wait_for("at ", 90)
        assert f"at {SECOND}\n" in session.output()
        assert self.jobs() == (0, 3)
        (self.directory / "go").touch()
        session.wait(60)
        eventually("no job", lambda: self.jobs() == (0, 0), 60, period=0.5)


@pytest.fixture
def site(both: Schedds, gateway: GatewayFactory, run_client: ClientFactory) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="htcdask-schedds-"))
    directory.chmod(0o755)
    yield Site(both, gateway, run_client, directory)
    (directory / "hang").unlink(missing_ok=True)
    both.free()
    both.clear()
    shutil.rmtree(directory)


def test_a_choice_outlives_gateway_and_session(site: Site) -> None:
    any_of_them = {"DASK_HTCDASKGATEWAY__CONDOR__SCHEDD": "any"}
    site.schedds.curb(FIRST)
    session, name = site.interrupted_submit(**any_of_them)
    site.server.kill()
    session.kill()
    (site.directory / "hang").unlink()
    site.schedds.curb(SECOND)  # a choice that is made now would be another one
    site.server.start()
    site.ends_well(site.session(CONNECTS, NAME=name, **any_of_them))


@pytest.mark.parametrize("victims", [("session",), ("session", "gateway")])
def test_what_a_wrapper_chose_is_found(site: Site, victims: tuple[str, ...]) -> None:
    site.choose(SECOND)
    session, name = site.interrupted_submit()
    if "gateway" in victims:
        site.server.kill()
    session.kill()
    (site.directory / "hang").unlink()
    site.choose(FIRST)
    if "gateway" in victims:
        site.server.start()
    site.ends_well(site.session(CONNECTS, NAME=name))


def test_a_wrapper_that_takes_too_long(site: Site) -> None:
    site.choose(SECOND)
    session, _ = site.interrupted_submit(DASK_HTCDASKGATEWAY__CONDOR__TIMEOUT="8")
    site.choose(FIRST)
    site.ends_well(session)
