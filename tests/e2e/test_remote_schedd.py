"""Schedds that are not this host's: chosen among several, spooled to, or found by a site's wrapper."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ClientFactory, GatewayFactory
from tests.e2e.conftest import Connect
from tests.support.gateway import GatewayServer
from tests.support.second import FIRST, SECOND, Schedds
from tests.support.sessions import SESSIONS
from tests.support.waiting import eventually
from tests.support.watching import what_came_back

from htcdaskgateway.client.errors import ClusterFailedError

pytestmark = pytest.mark.condor

SPOOL = "c.HTCondorAccess.spool = True\n"
CHOICE = f'c.HTCondorAccess.schedd_names = ["{FIRST}", "{SECOND}"]\n'


@pytest.fixture
def schedds(both: Schedds) -> Iterator[Schedds]:
    yield both
    both.free()
    both.clear()


class Jobs:
    """Of one gateway, on the two schedds."""

    def __init__(self, schedds: Schedds, server: GatewayServer) -> None:
        self._schedds, self._mine = schedds, f'HTCDaskGateway == "{server.instance}"'

    def on(self, schedd: str) -> list[dict[str, Any]]:
        return self._schedds.jobs(schedd, self._mine)

    def all_gone(self) -> None:
        """From the queues, and with them their secrets from the spool."""
        eventually("no job", lambda: not (self.on(FIRST) or self.on(SECOND)), 60, period=0.5)
        eventually("no secret in the spool", lambda: not self._schedds.secrets(), 20)


def test_the_gateway_chooses_and_remembers(
    gateway: GatewayFactory, connect: Connect, schedds: Schedds
) -> None:
    server = gateway(CHOICE + SPOOL)
    client, jobs = connect(server), Jobs(schedds, server)
    schedds.curb(FIRST, SECOND)
    with pytest.raises(ClusterFailedError) as caught:
        client.new_cluster()
    assert caught.value.words.startswith("None of 2 schedds of the pool (default) can take jobs now. ")
    for name in (FIRST, SECOND):
        assert f"{name}: it asks for no more matches (CurbMatchmaking)" in caught.value.words

    schedds.curb(FIRST)
    cluster = client.new_cluster()
    cluster.scale(1)
    [ad] = jobs.on(SECOND)
    assert jobs.on(FIRST) == []
    cluster.wait_for_workers(1, timeout=90)
    [worker] = cluster.workers()
    assert (worker.job_id, worker.schedd) == (f"{ad['ClusterId']}.{ad['ProcId']}", SECOND)
    assert schedds.secrets()

    schedds.curb(SECOND)  # a choice that is made now would be another one
    server.kill()
    server.start()
    cluster.scale(2)
    assert len(jobs.on(SECOND)) == 2
    assert jobs.on(FIRST) == []
    schedds.curb()
    cluster.wait_for_workers(2, timeout=90)
    assert {one.schedd for one in cluster.workers()} == {SECOND}

    cluster.scale(0)
    for name in (worker.name, *(one.name for one in cluster.workers())):
        assert "Registered to" in what_came_back(cluster, name)
    cluster.shutdown()
    jobs.all_gone()


BEGIN = """
import os, time
from pathlib import Path
from htcdaskgateway import HTCGateway, WorkerState
from htcdaskgateway.client.errors import RefusedError

directory = Path(os.environ["DIRECTORY"])

def running(cluster):
    return [worker for worker in cluster.workers() if worker.state is WorkerState.RUNNING]

def on(word):
    end = time.monotonic() + 60
    while not (directory / word).exists():
        assert time.monotonic() < end, word
        time.sleep(0.1)

"""
FIRST_SESSION = (
    BEGIN
    + """
cluster = HTCGateway().new_cluster(shutdown_on_close=False)
print("name", cluster.name, flush=True)
try:
    cluster.scale(1)
except RefusedError as error:
    print("refused", error.words, flush=True)
on("go")
cluster.scale(1)
cluster.wait_for_workers(1, timeout=90)
[worker] = running(cluster)
print("at", worker.job_id, worker.schedd, flush=True)
time.sleep(600)
"""
)
SECOND_SESSION = (
    BEGIN
    + """
cluster = HTCGateway().connect(os.environ["NAME"])
cluster.scale(2)
print("scaled", flush=True)
cluster.wait_for_workers(2, timeout=90)
workers = running(cluster)
print("at", *sorted({worker.schedd for worker in workers}), flush=True)
cluster.scale(0)
end = time.monotonic() + 60
while not all("Registered to" in cluster.logs(w.name)[w.name].streams.get("err", "") for w in workers):
    assert time.monotonic() < end, str(cluster.logs())
    time.sleep(0.5)
names = {path.name for path in cluster.sandbox.iterdir()}
assert {f"worker-{worker.name}.log" for worker in workers} <= names, names
cluster.shutdown()
print("end", flush=True)
"""
)


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that everybody can read."""
    path = Path(tempfile.mkdtemp(prefix="htcdask-remote-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize(("schedd", "interface"), [("any", "bindings"), (SECOND, "tools")])
def test_a_session_spools_and_remembers(
    gateway: GatewayFactory,
    run_client: ClientFactory,
    schedds: Schedds,
    directory: Path,
    schedd: str,
    interface: str,
) -> None:
    server = gateway(SESSIONS + SPOOL + "c.HTCondorBackend.session_lease = 5\n")
    jobs = Jobs(schedds, server)
    settings = {
        **server.client_environment(),
        "DIRECTORY": str(directory),
        "DASK_HTCDASKGATEWAY__CONDOR__SCHEDD": schedd,
        "DASK_HTCDASKGATEWAY__CONDOR__INTERFACE": interface,
    }
    schedds.curb(FIRST, SECOND)
    session = run_client(FIRST_SESSION, **settings)
    if schedd == "any":
        session.wait_for("refused", 90)
        words = session.output().partition("refused ")[2].splitlines()[0]
        assert "None of 2 schedds of the pool (default) can take jobs now." in words
        assert f"{FIRST}: it asks for no more matches" in words
        assert jobs.on(FIRST) == jobs.on(SECOND) == []
    schedds.curb(FIRST)
    (directory / "go").touch()
    session.wait_for("at ", 120)
    [ad] = jobs.on(SECOND)
    assert jobs.on(FIRST) == []
    assert f"at {ad['ClusterId']}.{ad['ProcId']} {SECOND}\n" in session.output()
    assert ad["Owner"] == "analyst"
    assert schedds.secrets()

    schedds.curb(SECOND)  # a choice that is made now would be another one
    session.kill()
    name = session.output().partition("name ")[2].split()[0]
    again = run_client(SECOND_SESSION, **settings, NAME=name)
    again.wait_for("scaled", 60)
    assert len(jobs.on(SECOND)) == 2
    assert jobs.on(FIRST) == []
    schedds.curb()
    assert f"at {SECOND}\n" in again.wait(180)
    jobs.all_gone()


WRAPPER = """#!/bin/sh
echo 'Querying the pool for a free schedd...'
echo 'WARNING: your quota is nearly used up' >&2
case " $* " in *" -name "*) ;; *) set -- -name second@ "$@" ;; esac
echo "Attempting to submit jobs to $2"
{bin}/condor_submit "$@"
code=$?
echo 'Have a look at https://site.example/jobs [new]'
exit $code
"""
ANALYSIS = """
from htcdaskgateway import HTCGateway
cluster = HTCGateway().new_cluster()
cluster.scale(2)
client = cluster.get_client()
cluster.wait_for_workers(2, timeout=90)
print("sum", sum(client.gather(client.map(lambda x: x * x, range(100)))), flush=True)
print("at", *sorted({worker.schedd for worker in cluster.workers()}), flush=True)
client.close()
cluster.shutdown()
"""


def test_a_wrapper_that_talks_and_chooses(
    gateway: GatewayFactory, run_client: ClientFactory, schedds: Schedds, directory: Path
) -> None:
    server = gateway(SESSIONS)
    wrapper = directory / "condor_submit"
    wrapper.write_text(WRAPPER.format(bin=schedds.pool.home / "bin"))
    wrapper.chmod(0o755)
    session = run_client(
        ANALYSIS,
        **server.client_environment(),
        DASK_HTCDASKGATEWAY__CONDOR__INTERFACE="tools",
        DASK_HTCDASKGATEWAY__CONDOR__TOOLS=f'{{"condor_submit": "{wrapper}"}}',
    )
    told = session.wait(150)
    assert "sum 328350\n" in told
    assert f"at {SECOND}\n" in told
    Jobs(schedds, server).all_gone()
