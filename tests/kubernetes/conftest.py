"""A real Kubernetes, for the tests in this directory; `scripts/test-kubernetes` makes one around pytest.

``KUBECONFIG`` names it. Where there is none, or something in it is missing, these tests skip and say why;
``HTCDASK_REQUIRE=kubernetes`` makes failures of those skips.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dask.config
import pytest
from tests.kubernetes.launching import account
from tests.support.accounts import Accounts
from tests.support.gateway import GatewayServer
from tests.support.kubernetes import (
    IN_SANDBOX,
    NODE_ADDRESS,
    Kubernetes,
    NoKubernetesError,
    find_kubernetes,
    running_apiserver,
    unavailable,
)
from tests.support.pool import Pool

HERE = Path(__file__).parent
CONTROLLERS = (
    "serviceaccount,serviceaccount-token,namespace,root-ca-cert-publisher,garbagecollector,resourcequota"
)
OKD = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"

Signal = Callable[[str, str], None]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: stops what other tests need; in a sandbox of its own")


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kubernetes)


@pytest.fixture(scope="session")
def kubernetes() -> Kubernetes:
    """The cluster, or a skip."""
    try:
        return find_kubernetes(os.environ)
    except NoKubernetesError as error:
        unavailable(str(error))


@pytest.fixture
def namespace(kubernetes: Kubernetes, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own; what is in it shows if the test fails."""
    name = f"htcdask-test-{uuid.uuid4().hex[:8]}"
    kubernetes.create_namespace(name)
    failed = request.session.testsfailed
    try:
        yield name
        if request.session.testsfailed > failed:
            print(kubernetes.kubectl("get", "all,events", "-n", name))  # noqa: T201 - for a test that failed
    finally:
        kubernetes.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def own_apiserver() -> Iterator[tuple[Kubernetes, Signal]]:
    """An API server as strict as OKD's about owner references, with its garbage collector; no pod runs."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("HTCDASK_KUBE_APISERVER_FLAGS", OKD)
        try:
            found = stack.enter_context(running_apiserver(CONTROLLERS))
        except RuntimeError as error:
            if os.environ.get("KUBECONFIG") and not IN_SANDBOX.exists():
                pytest.skip(f"this cluster runs its pods, and another there is not: {error}")
            unavailable(str(error))
        stack.callback(found[1], "apiserver", "CONT")  # it could not be ended else
        yield found


REGISTRY, REPOSITORY = "registry.example.org", "htcdask/worker"
IMAGE = f"{REGISTRY}/{REPOSITORY}:matching"
FACILITY = """
c.HTCondorBackend.launcher_class = "htcdaskgateway.launchers.kubernetes.KubernetesLauncher"
c.KubernetesLauncher.kubeconfig = "{kubeconfig}"
c.KubernetesLauncher.namespace = "{namespace}"
c.KubernetesLauncher.scheduler_address = "cluster-ip"
c.KubernetesLauncher.image_pull_policy = "Never"
c.KubernetesLauncher.run_as_user = 1000
c.KubernetesLauncher.pod_template = {{"spec": {{"containers": [
    {{"name": "scheduler", "resources": {{"requests": {{"cpu": "100m"}}}}}}  # several tests share a node
]}}}}
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


@pytest.fixture(scope="session")
def image_root(pool: Pool, kubernetes: Kubernetes) -> Iterator[Path]:
    """Where this machine has the images that workers see; the scheduler's is on the node as well."""
    if not kubernetes.own:
        pytest.skip("the image of the pool's workers is in no registry that this cluster can pull from")
    pool.build_images()
    exports = [word for line in pool.recipe("env").splitlines() for word in shlex.split(line)]
    [cvmfs] = [word.partition("=")[2] for word in exports if word.startswith("HTCDASK_POOL_CVMFS=")]
    root = Path(cvmfs) / "unpacked.cern.ch"
    with Path(os.environ["HTCDASK_KUBE_STATE"], "workers-image").open("a") as added:
        fcntl.flock(added, fcntl.LOCK_EX)  # by one of the processes that run tests
        if not added.tell():
            kubernetes.add_image(IMAGE, (root / IMAGE).resolve())
            added.write(IMAGE)
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
def gateways_kubeconfig(kubernetes: Kubernetes, namespace: str, accounts: Accounts) -> Iterator[Path]:
    """With no more than the gateway needs; only the service's account reads it."""
    directory = Path(tempfile.mkdtemp(prefix="htcdask-kubeconfig-"))
    directory.chmod(0o711)
    kubeconfig = account(kubernetes, namespace, directory / "config")
    shutil.chown(kubeconfig, accounts.service)
    yield kubeconfig
    shutil.rmtree(directory)


@pytest.fixture
def facility(
    gateway: Start, namespace: str, image_root: Path, data: Path, gateways_kubeconfig: Path
) -> Start:
    """Starts a gateway outside Kubernetes."""
    values = {"kubeconfig": gateways_kubeconfig, "namespace": namespace, "node": NODE_ADDRESS, "data": data}
    configuration = FACILITY.format(**values, repository=REPOSITORY, registry=REGISTRY)
    return lambda more="": gateway(configuration + more, external=True)


@pytest.fixture
def server(facility: Start) -> GatewayServer:
    return facility()
