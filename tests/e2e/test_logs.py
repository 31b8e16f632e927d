"""What workers wrote, wherever it is: in both modes, by method and by command."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.clients import ClientProcess
from tests.support.gateway import GatewayServer
from tests.support.watching import no_jobs

pytestmark = pytest.mark.condor

SCRIPT = """
import json, subprocess, sys, time
from htcdaskgateway import HTCGateway, WorkerState

def command(*arguments):
    ran = subprocess.run([sys.executable, "-m", "htcdaskgateway", "logs", *arguments],
                         capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout

def until(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, str(cluster.logs())
        time.sleep(0.5)

cluster = HTCGateway().new_cluster()
name = cluster.name
cluster.scale(2)
cluster.wait_for_workers(2, timeout=90)

running = cluster.logs(tail=50)
assert len(running) == 2 and not running.notes, str(running)
for log in running.values():
    assert "Registered to" in log.streams["worker"], str(log)
[first, second] = cluster.workers()
assert "Registered to" in command(name, first.job_id)
print("running", flush=True)

print("hold", first.job_id, flush=True)
until(lambda: cluster.logs(first.name)[first.name].record.state is WorkerState.FAILED)
held = str(cluster.logs(first.name, tail=5))
assert "for the tests" in held, held
assert "for the tests" in command(name, first.name)

cluster.wait_for_workers(2, timeout=90)
cluster.scale(0)
until(lambda: "Registered to" in cluster.logs(second.name)[second.name].streams.get("err", ""))
assert cluster.logs(second.name, tail=1)[second.name].streams["err"].count("\\n") == 1
assert cluster.logs(second.job_id)[second.name].record.state is WorkerState.FINISHED
try:
    cluster.logs("nobody")
except ValueError as error:
    assert "has no worker 'nobody'" in str(error)
else:
    raise AssertionError("a worker that is not there")
cluster.shutdown()

told = json.loads(command(name, second.name, "--json"))
[log] = told["workers"]
assert "Registered to" in log["streams"]["err"], told
assert log["job_id"] == second.job_id
print("all seen")
"""


@pytest.mark.parametrize("submitter", ["gateway", "session"])
def test_of_workers_that_run_and_that_are_gone(
    gateway: Callable[..., GatewayServer], run_client: Callable[..., ClientProcess], submitter: str
) -> None:
    server = gateway(f'c.HTCondorBackend.submitter = "{submitter}"\n')
    session = run_client(SCRIPT, **server.client_environment())
    session.wait_for("hold ", 120)
    job_id = session.output().partition("hold ")[2].split()[0]
    server.pool.command("condor_hold", job_id, "-reason", "for the tests")
    assert "all seen" in session.wait(180)
    no_jobs(server)
