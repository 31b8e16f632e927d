"""Notebooks of htcdaskgateway 0.1.25, cell by cell, where the user's session submits."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.support.clients import ClientProcess
from tests.support.gateway import GatewayServer
from tests.support.watching import no_jobs

pytestmark = pytest.mark.condor

SESSION = 'c.HTCondorBackend.submitter = "session"\n'

BASIC = """
from htcdaskgateway import HTCGateway

gateway = HTCGateway()
cluster = gateway.new_cluster()
repr(cluster), cluster._repr_html_()

cluster.scale(2)

client = cluster.get_client()
repr(client), client._repr_html_()
print("sum", client.submit(sum, [1, 2, 3]).result(timeout=90))

clusters = gateway.list_clusters()
print("clusters", [one.name for one in clusters] == [cluster.name])

cluster = gateway.connect(clusters[0].name)
repr(cluster)
cluster.shutdown()
print("left", gateway.list_clusters())
"""

MORE = """
import json, time, warnings
from htcdaskgateway.cluster import HTCGatewayCluster
from htcdaskgateway.gateway import HTCGateway
from htcdaskgateway.options import Options

gateway = HTCGateway()
options = gateway.cluster_options()
assert isinstance(options, Options)
options.worker_cores = 1
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    cluster = gateway.new_cluster(
        cluster_options=options, worker_memory=1, node_match_expr="rank = (isDaskNode == True)",
        **{"": "131.225.218.222"},
    )
print("warned", [str(one.message) for one in told if "The keyword ''" in str(one.message)])
assert isinstance(cluster, HTCGatewayCluster)
gateway.scale_cluster(cluster.name, 1, "htcondor")
cluster.scale_batch_workers(1)
cluster.scale_kube_workers(5)
cluster.wait_for_workers(2, timeout=90)
print("jobs", json.dumps(cluster.batchWorkerJobs))
print("sandbox", cluster.sandbox)
time.sleep(5)
cluster.destroy_all_batch_clusters()
gateway.stop_cluster(cluster.name)
print("end")
"""


def test_the_cells_of_its_readme(
    gateway: Callable[..., GatewayServer], run_client: Callable[..., ClientProcess]
) -> None:
    # The notebook ends with its last cell: what was still on its way ends by its own guard.
    server = gateway(SESSION + "c.HTCondorBackend.worker_death_timeout = 10\n")
    told = run_client(BASIC, **server.client_environment()).wait()
    assert "sum 6\n" in told
    assert "clusters True\n" in told
    assert "left []\n" in told
    assert "Sandbox: " in told
    assert "PRIVATE KEY" not in told
    no_jobs(server, deadline=60)


def test_its_further_arguments_and_methods(
    gateway: Callable[..., GatewayServer], run_client: Callable[..., ClientProcess]
) -> None:
    server = gateway(SESSION + "c.HTCondorClusterConfig.submit_commands = {'+Project': '\"cms\"'}\n")
    session = run_client(MORE, **server.client_environment())
    session.wait_for("sandbox ", 120)
    ads = server.jobs()
    assert [(ad["RequestCpus"], ad["RequestMemory"], ad["Project"]) for ad in ads] == [(1, 1024, "cms")] * 2
    assert {ad["Owner"] for ad in ads} == {"analyst"}
    assert all("isDaskNode" in str(ad["Rank"]) for ad in ads)
    told = session.wait()
    lines = dict(line.partition(" ")[::2] for line in told.splitlines())
    assert "131.225.218.222" in lines["warned"]
    jobs = json.loads(lines["jobs"])
    assert {(job["ClusterId"], job["n_jobs"]) for job in jobs} == {(str(ad["ClusterId"]), 1) for ad in ads}
    assert {job["Iwd"] for job in jobs} == {lines["sandbox"]}
    assert {job["ScheddName"] for job in jobs} == {
        server.pool.command("condor_status", "-schedd", "-af", "Name").strip()
    }
    assert "end" in told
    no_jobs(server)
