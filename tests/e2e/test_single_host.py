"""The example for one host, run as its units say: gateway, gateway proxy, schedd, sudo rule, backup."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

import pytest
from tests.conftest import show_if_failed
from tests.support import processes
from tests.support.accounts import Accounts, check_environment, sudo_rule
from tests.support.hub import CLOSED, running_hub
from tests.support.one_host import OneHost, another_schedd_allowed
from tests.support.pool import Pool
from tests.support.waiting import eventually

pytestmark = pytest.mark.condor


@pytest.fixture
def hub() -> Iterator[int]:
    """Port of something that answers as JupyterHub does."""
    with running_hub() as port:
        yield port


@pytest.fixture
def host(pool: Pool, hub: int, request: pytest.FixtureRequest) -> Iterator[OneHost]:
    accounts = Accounts()
    check_environment(accounts)
    made = OneHost(pool, accounts, hub)
    show_if_failed(request, "gateway", made.gateway.log)
    show_if_failed(request, "gateway proxy", made.gateway_proxy.log)
    show_if_failed(request, "schedd", made.schedd_log)
    rule = (made.directory / "etc" / "sudoers").read_text()
    with sudo_rule(rule), another_schedd_allowed(pool):
        try:
            yield made
        finally:
            left = made.close()
    assert not left, "left behind:\n" + "\n".join(left)


COMPUTE = """
import time
from htcdaskgateway import HTCGateway

def slowly(x):
    import time
    time.sleep(0.5)
    return x

def came_and_went(dask_scheduler):
    said = [event["action"] for _, event in dask_scheduler.get_events("all")]
    return sorted(word for word in said if word in ("add-worker", "remove-worker", "remove-client"))

slowly.__module__ = came_and_went.__module__ = "__main__"
gateway = HTCGateway()
cluster = gateway.new_cluster(shutdown_on_close=False)
cluster.scale(1)
cluster.wait_for_workers(1, timeout=60)
with cluster.get_client() as client:
    assert client.submit(sum, [1, 2]).result(30) == 3
    futures = client.map(slowly, range(40))
    print("computing on", [worker.job_id for worker in cluster.workers()])
    print("sum:", sum(client.gather(futures)))
    print("in between:", client.run_on_scheduler(came_and_went))
cluster.close()
print("cluster", cluster.name)
"""
AGAIN = """
import getpass
from htcdaskgateway import HTCGateway

def events(dask_scheduler):
    return dask_scheduler.get_events("all")

events.__module__ = "__main__"

with HTCGateway() as gateway:
    [report] = gateway.list_clusters()
    cluster = gateway.connect(report.name)
    before = [worker.job_id for worker in cluster.workers()]
    with cluster.get_client() as client:
        assert client.submit(sum, [1, 2]).result(30) == 3
    print("cluster", report.name, "on", before)
    if END:
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=60)
        with cluster.get_client() as client:
            print("scheduler's account:", client.run_on_scheduler(getpass.getuser))
            print("workers' accounts:", set(client.run(getpass.getuser).values()))
            said = [event["action"] for _, event in client.run_on_scheduler(events)]
            print("workers that went:", said.count("remove-worker"))
        cluster.shutdown()
"""


def ids(text: str, after: str) -> str:
    [line] = [line for line in text.splitlines() if line.startswith(after)]
    return line.rpartition(" on ")[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_example_for_one_host_runs(host: OneHost) -> None:
    host.schedd.start()
    eventually("the pool knows the schedd", host.takes_jobs, 60, period=0.5)
    host.gateway_proxy.start()
    host.gateway.start()
    eventually("the gateway answers", host.answers, 60, period=0.5)

    # Restarted while it is used: nothing that goes through the gateway proxy is cut.
    session = host.session(COMPUTE)
    session.wait_for("computing on", 120)
    host.gateway.stop()
    assert host.gateway_proxy.runs
    host.gateway.start()
    eventually("the gateway answers", host.answers, 60, period=0.5)
    assert "sum:" not in session.output()  # or it was no test
    said = session.wait()
    assert f"sum: {sum(range(40))}" in said
    assert "in between: ['add-worker']" in said
    [job] = host.jobs()
    assert ids(said, "computing on") == f"['{job['ClusterId']}.{job['ProcId']}']"

    # Who may not use the service in JupyterHub gets nothing.
    with pytest.raises(RuntimeError, match="did not accept your credentials"):
        host.session(AGAIN.replace("END", "False"), token=CLOSED).wait()

    # Jobs outlive a restart of the schedd.
    host.schedd.stop(60)
    host.schedd.start()
    eventually("the schedd answers", host.schedd_answers, 60, period=0.5)

    # The state is lost; the backup of the running gateway, with a new key in front, brings it back.
    archive = host.back_up()
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as tar:
        assert {"gateway.sqlite", "keys", "clusters"} <= set(tar.getnames())
    host.gateway.stop()
    host.restore(archive)
    keys = host.state / "keys"
    old = keys.read_text()
    processes.run(
        [
            "sh",
            "-c",
            f"umask 077; (openssl rand -base64 32; cat {keys}) > {keys}.new && mv {keys}.new {keys}",
        ],
        host.accounts.service,
    )
    assert keys.read_text().endswith(old)
    host.gateway.start()
    eventually("the gateway answers", host.answers, 60, period=0.5)
    again = host.session(AGAIN.replace("END", "True")).wait()
    assert ids(again, "cluster") == ids(said, "computing on")
    assert f"cluster {said.split()[-1]} on" in again
    assert "scheduler's account: analyst" in again
    assert "workers' accounts: {'nobody'}" in again  # no account that has a file of the site's
    assert "workers that went: 0" in again
    eventually("no job in the queue", lambda: not host.jobs(), 30, period=0.5)
