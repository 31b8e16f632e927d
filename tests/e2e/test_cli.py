"""``htcdask`` from a person's terminal, in both modes: look, scale, shut down."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.clients import ClientProcess
from tests.support.gateway import GatewayServer
from tests.support.watching import no_jobs

pytestmark = pytest.mark.condor

SCRIPT = """
import json, subprocess, sys, time
from htcdaskgateway import HTCGateway

def htcdask(*arguments, code=0):
    ran = subprocess.run([sys.executable, "-m", "htcdaskgateway", *arguments],
                         capture_output=True, text=True, timeout=120)
    assert ran.returncode == code, (arguments, ran.returncode, ran.stdout, ran.stderr)
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.stdout if code == 0 else ran.stderr

told = json.loads(htcdask("check", "--json"))
levels = {one["part"]: one["level"] for one in told["checks"]}
print("check", json.dumps(levels), flush=True)
assert told["well"], told
print(htcdask("check"), flush=True)

assert htcdask("clusters") == "You have no cluster.\\n"
with HTCGateway() as gateway:
    name = gateway.submit()
    while gateway.list_clusters()[0].status.name != "RUNNING":
        time.sleep(0.2)
scaled = htcdask("scale", name[:6], "2", "--wait", "90")
assert f"Cluster {name} is scaled to 2 workers: 2 running." in scaled, scaled
assert "2 of 2: 2 running" in htcdask("clusters")
[known] = json.loads(htcdask("clusters", "--json"))
assert (known["name"], known["running"], known["cores"]) == (name, 2, 2), known
workers = htcdask("workers")
print(workers, flush=True)
assert "2 of 2 workers" in workers
listed = json.loads(htcdask("workers", name, "--json"))["workers"]
assert [one["state"] for one in listed] == ["running"] * 2, listed
for one in listed:
    assert one["job_id"] in workers
refused = htcdask("scale", name, "9", code=1)
assert "9 workers are more than the site allows in one cluster: 4." in refused
assert f"Ask for at most 4: `htcdask scale {name} 4`." in refused
assert "None of your clusters begins with 'nobody'." in htcdask("shutdown", "nobody", code=1)
assert json.loads(htcdask("scale", name, "2", "--json"))["running"] == 2
print("before", flush=True)
assert json.loads(htcdask("shutdown", "--all", "--json")) == {"shut_down": [name]}
assert htcdask("clusters") == "You have no cluster.\\n"
print("all seen")
"""


@pytest.mark.parametrize("submitter", ["gateway", "session"])
def test_a_terminal_is_enough(
    gateway: Callable[..., GatewayServer], run_client: Callable[..., ClientProcess], submitter: str
) -> None:
    server = gateway(
        f'c.HTCondorBackend.submitter = "{submitter}"\nc.ClusterConfig.cluster_max_workers = 4\n'
    )
    terminal = run_client(SCRIPT, **server.client_environment())
    output = terminal.wait(300)
    assert "all seen" in output
    assert ('"HTCondor": "ok"' in output) == (submitter == "session")
    assert '"slots": "ok"' in output
    no_jobs(server)
