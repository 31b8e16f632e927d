"""All of it: schedulers in Kubernetes, workers in HTCondor's jobs and in images, people outside both."""

from __future__ import annotations

import inspect
import os
import urllib.request
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from dask_gateway import BasicAuth
from tests.kubernetes.conftest import REPOSITORY, Start
from tests.kubernetes.launching import objects, whole
from tests.support.gateway import GatewayServer
from tests.support.kubernetes import NODE_ADDRESS, Kubernetes
from tests.support.waiting import eventually
from tests.support.watching import exactly, no_jobs

from htcdaskgateway import HTCGateway
from htcdaskgateway.client.errors import ClusterFailedError
from htcdaskgateway.demo import analysis, sample
from htcdaskgateway.demo.distribute import analyse, count_entries
from htcdaskgateway.demo.spectrum import Spectrum
from htcdaskgateway.sandbox import SECRETS
from htcdaskgateway.versions import versions_here


@pytest.fixture(autouse=True)
def _sent_by_value(request: pytest.FixtureRequest) -> None:
    """Functions of this file go to workers as they are: workers cannot import them."""
    for function in vars(request.module).values():
        if inspect.isfunction(function) and function.__module__ == request.module.__name__:
            function.__module__ = "__main__"


FORGETS = """
c.HTCondorBackend.db_cluster_max_age = 30
c.HTCondorBackend.db_cleanup_period = 2
"""


def files_of(cluster: str, *roots: Path) -> list[Path]:
    """Whatever is called after a cluster."""
    found = (one for root in roots for one in os.walk(root))
    return [Path(where, name) for where, *both in found for name in chain(*both) if cluster in name]


def look() -> dict[str, Any]:
    """Run in a scheduler: where it is."""
    return {"host": os.uname().nodename, "user": os.getuid(), "directory": str(Path.cwd())}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_analysis_with_its_scheduler_in_kubernetes(
    facility: Start, kubernetes: Kubernetes, namespace: str, data: Path
) -> None:
    server = facility(FORGETS)
    places = (server.directory, server.pool.home / "local")
    paths = sample.write_files(data, seed=1, files=2, events=5_000)
    here = Spectrum()
    for path in paths:
        here.add(analysis.dimuons(str(path), 0, 5_000))

    with HTCGateway(server.url, auth=BasicAuth("analyst")) as gateway:
        cluster = gateway.new_cluster()  # the image is looked at first: it fits
        assert objects(kubernetes, namespace) == whole(server.instance, [cluster.name])
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=120)
        before = exactly(server, cluster, 2)

        server.kill()  # an upgrade, say: nobody notices
        server.start()
        assert exactly(server, cluster, 2) == before

        with cluster.get_client() as client:
            versions = client.get_versions(check=True)
            scheduler, workers = versions["scheduler"], versions["workers"].values()
            assert len(workers) == 2
            for one in (versions["client"], scheduler, *workers):
                assert one["packages"]["distributed"] == versions_here()["distributed"]
            place = client.run_on_scheduler(look)
            [pod] = kubernetes.objects("pods", namespace)
            assert place == {"host": pod["metadata"]["name"], "user": 1000, "directory": "/home/dask"}

            there = [Path("/data") / path.name for path in paths]
            entries = count_entries(client, there, stall=60)
            found = analyse(
                client, list(zip(there, entries, strict=True)), 1_000, 60, lambda done, total: None
            )
            assert found.candidates == here.candidates > 0
            assert (found.counts == here.counts).all()

        assert cluster.dashboard_link
        with urllib.request.urlopen(cluster.dashboard_link, timeout=20) as page:
            assert b"Dask" in page.read()
        logs = cluster.logs()
        assert len(logs) == 2
        assert all("Registered to" in log.streams["worker"] for log in logs.values()), str(logs)

        cluster.shutdown()
        no_jobs(server, 60)
        eventually("nothing left in Kubernetes", lambda: not objects(kubernetes, namespace), 60, 0.5)
        sandbox = server.state_directory / "clusters" / cluster.name
        log = eventually("the scheduler's log", (sandbox / "scheduler.log").read_text, 30)
        assert "Scheduler at:" in log
        eventually("no secrets", lambda: {path.name for path in sandbox.iterdir()}.isdisjoint(SECRETS), 10)
        scratch = server.pool.home / "local" / "execute"
        eventually("execute points are clean", lambda: not list(scratch.iterdir()), 30)
        assert sandbox in files_of(cluster.name, *places), "its logs can be read for a while"
        eventually("no file of it", lambda: not files_of(cluster.name, *places), 60, 0.5)


@pytest.mark.timeout(240)
def test_the_reason_of_kubernetes_is_in_the_notebook(
    server: GatewayServer, kubernetes: Kubernetes, namespace: str
) -> None:
    with HTCGateway(server.url, auth=BasicAuth("analyst")) as gateway:
        with pytest.raises(ClusterFailedError, match="ErrImageNeverPull"):
            gateway.new_cluster(image=f"{REPOSITORY}:no-dask", check_versions="off")
        kubernetes.kubectl("create", "quota", "nothing", "--hard=pods=0", "-n", namespace)
        quota = ("get", "quota", "-n", namespace)
        eventually("quota", lambda: "pods: 0/0" in kubernetes.kubectl(*quota), 20)
        with pytest.raises(ClusterFailedError, match="exceeded quota: nothing, requested: pods=1"):
            gateway.new_cluster()
    eventually("nothing left", lambda: not objects(kubernetes, namespace), 60, 0.5)


@pytest.mark.timeout(240)
def test_a_scheduler_that_cannot_tell_its_gateway(
    facility: Start, kubernetes: Kubernetes, namespace: str
) -> None:
    server = facility(
        f'c.HTCondorBackend.api_url = "http://{NODE_ADDRESS}:9/api"\n'
        "c.HTCondorBackend.cluster_start_timeout = 15\n"
        "c.HTCondorBackend.check_timeouts_period = 1\n"
    )
    with HTCGateway(server.url, auth=BasicAuth("analyst")) as gateway:
        with pytest.raises(ClusterFailedError) as caught:
            gateway.new_cluster()
        said = str(caught.value)
        assert "The scheduler did not start in 15 s. Kubernetes says: Started, " in said
        assert "Connection refused" in said
    eventually("nothing left", lambda: not objects(kubernetes, namespace), 60, 0.5)
