"""All of it: schedulers in Kubernetes, workers in HTCondor's jobs and in images, people outside both."""

from __future__ import annotations

import inspect
import os
import shlex
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask.config
import pytest
from dask_gateway import BasicAuth
from tests.kubernetes.launching import account, objects, stopped, whole
from tests.support.accounts import Accounts
from tests.support.gateway import GatewayServer
from tests.support.kubernetes import NODE_ADDRESS, Kubernetes
from tests.support.pool import Pool
from tests.support.waiting import eventually
from tests.support.watching import exactly, no_jobs

from htcdaskgateway import HTCGateway
from htcdaskgateway.client.errors import ClusterFailedError
from htcdaskgateway.demo import analysis, sample
from htcdaskgateway.demo.distribute import analyse, count_entries
from htcdaskgateway.demo.spectrum import Spectrum
from htcdaskgateway.versions import versions_here

REGISTRY, REPOSITORY = "registry.example.org", "htcdask/worker"
AWAY = 30.0  # seconds
IMAGE = f"{REGISTRY}/{REPOSITORY}:matching"
CONFIGURATION = """
c.HTCondorBackend.launcher_class = "htcdaskgateway.launchers.kubernetes.KubernetesLauncher"
c.KubernetesLauncher.kubeconfig = "{kubeconfig}"
c.KubernetesLauncher.namespace = "{namespace}"
c.KubernetesLauncher.scheduler_address = "cluster-ip"
c.KubernetesLauncher.image_pull_policy = "Never"
c.KubernetesLauncher.run_as_user = 1000
c.HTCondorBackend.cluster_start_timeout = 120
port = c.Proxy.address.rpartition(":")[2]
c.Proxy.address = f"0.0.0.0:{{port}}"
c.HTCondorBackend.api_url = f"http://{node}:{{port}}/api"
c.HTCondorBackend.worker_contact = "gateway-proxy"
c.HTCondorBackend.worker_contact_address = f"{node}:{{port}}"
c.HTCondorBackend.worker_host = "{node}"
c.HTCondorBackend.runtime = "apptainer"
c.HTCondorBackend.image = "{repository}:matching"
c.HTCondorBackend.image_registry = "{registry}"
c.HTCondorBackend.apptainer_binds = ["{data}:/data:ro"]
c.ClusterConfig.scheduler_cmd = ["/opt/python/bin/dask", "scheduler"]
c.ClusterConfig.worker_cmd = ["dask", "worker"]
"""

Start = Callable[..., GatewayServer]


@pytest.fixture(scope="module")
def image_root(pool: Pool, kubernetes: Kubernetes) -> Iterator[Path]:
    """Where this machine has the images that workers see; the scheduler's is on the node as well."""
    if not kubernetes.own:
        pytest.skip("the image of the pool's workers is in no registry that this cluster can pull from")
    pool.build_images()
    exports = [word for line in pool.recipe("env").splitlines() for word in shlex.split(line)]
    [cvmfs] = [word.partition("=")[2] for word in exports if word.startswith("HTCDASK_POOL_CVMFS=")]
    root = Path(cvmfs) / "unpacked.cern.ch"
    kubernetes.add_image(IMAGE, (root / IMAGE).resolve())
    with dask.config.set({"htcdaskgateway": {"image-root": str(root)}}):
        yield root


@pytest.fixture
def data(pool: Pool) -> Iterator[Path]:
    """A directory that execute points see; workers see it in their images as /data."""
    directory = Path(tempfile.mkdtemp(dir=pool.home, prefix="data-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def facility(
    gateway: Start, kubernetes: Kubernetes, namespace: str, accounts: Accounts, image_root: Path, data: Path
) -> Iterator[Start]:
    """Starts a gateway outside Kubernetes, which uses it with no more than it needs."""
    directory = Path(tempfile.mkdtemp(prefix="htcdask-kubeconfig-"))
    directory.chmod(0o711)
    kubeconfig = account(kubernetes, namespace, directory / "config")
    shutil.chown(kubeconfig, accounts.service)
    values = {"kubeconfig": kubeconfig, "namespace": namespace, "node": NODE_ADDRESS, "data": data}
    configuration = CONFIGURATION.format(**values, repository=REPOSITORY, registry=REGISTRY)
    yield lambda more="": gateway(configuration + more, external=True)
    shutil.rmtree(directory)


@pytest.fixture
def server(facility: Start) -> GatewayServer:
    return facility()


@pytest.fixture(autouse=True)
def _sent_by_value(request: pytest.FixtureRequest) -> None:
    """Functions of this file go to workers as they are: workers cannot import them."""
    for function in vars(request.module).values():
        if inspect.isfunction(function) and function.__module__ == request.module.__name__:
            function.__module__ = "__main__"


def look() -> dict[str, Any]:
    """Run in a scheduler: where it is."""
    return {"host": os.uname().nodename, "user": os.getuid(), "directory": str(Path.cwd())}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_analysis_with_its_scheduler_in_kubernetes(
    server: GatewayServer, kubernetes: Kubernetes, namespace: str, data: Path
) -> None:
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
        assert not list(sandbox.rglob("*.pem"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kubernetes_is_away_while_a_cluster_starts_and_while_it_ends(
    server: GatewayServer, kubernetes: Kubernetes, namespace: str
) -> None:
    with HTCGateway(server.url, auth=BasicAuth("analyst")) as gateway, ThreadPoolExecutor(1) as thread:
        with stopped("apiserver"):
            starting = thread.submit(gateway.new_cluster)
            time.sleep(AWAY)
            assert not starting.done()
        cluster = starting.result(60)
        assert objects(kubernetes, namespace) == whole(server.instance, [cluster.name])
        with stopped("apiserver"):
            ending = thread.submit(cluster.shutdown)
            time.sleep(AWAY)
        ending.result(60)
        eventually("nothing left in Kubernetes", lambda: not objects(kubernetes, namespace), 60, 0.5)
        sandbox = server.state_directory / "clusters" / cluster.name
        eventually("the cluster has ended", lambda: not list(sandbox.rglob("*.pem")), 30)
        assert gateway.list_clusters() == []


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
