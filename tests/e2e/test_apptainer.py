"""Schedulers and workers in images, with the real Apptainer: as they should be, and what is said if not."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from dask_gateway import BasicAuth, Gateway, GatewayClusterError
from distributed import Worker
from tests.conftest import show_if_failed, unavailable
from tests.e2e.conftest import Connect
from tests.support import processes
from tests.support.accounts import Accounts
from tests.support.gateway import GatewayServer
from tests.support.inside import way_into
from tests.support.pool import Pool
from tests.support.waiting import eventually
from tests.support.watching import exactly, in_state, no_jobs

from htcdaskgateway import HTCGatewayCluster, WorkerState
from htcdaskgateway.client.errors import ClusterFailedError, WorkersMissingError
from htcdaskgateway.demo import analysis, sample
from htcdaskgateway.demo.distribute import analyse, count_entries
from htcdaskgateway.demo.spectrum import Spectrum

pytestmark = pytest.mark.condor

REGISTRY, REPOSITORY = "registry.example.org", "htcdask/worker"
ROOT = "/cvmfs/unpacked.cern.ch"
CONFIGURATION = f"""
c.HTCondorBackend.runtime = "apptainer"
c.HTCondorBackend.image = "{REPOSITORY}:matching"
c.HTCondorBackend.image_registry = "{REGISTRY}"
c.HTCondorBackend.check_versions = "off"
c.ClusterConfig.worker_cmd = ["dask", "worker"]
"""


def image_path(tag: str) -> str:
    return f"{ROOT}/{REGISTRY}/{REPOSITORY}:{tag}"


@contextmanager
def serving(pool: Pool, accounts: Accounts, configuration: str) -> Iterator[GatewayServer]:
    """A gateway for more than one test."""
    if not pool.has("apptainer"):
        unavailable("the pool's execute point has no Apptainer")
    pool.build_images()
    server = GatewayServer(pool, accounts, CONFIGURATION + configuration)
    try:
        server.start()
        yield server
    finally:
        left = server.close()
    assert not left, "the gateway left behind:\n" + "\n".join(left)


@pytest.fixture(scope="module")
def data(pool: Pool) -> Iterator[Path]:
    """A directory that execute points see; workers see it in their images as /data."""
    directory = Path(tempfile.mkdtemp(dir=pool.home, prefix="data-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def in_images(pool: Pool, accounts: Accounts, data: Path) -> Iterator[GatewayServer]:
    """Schedulers too run in the image of their workers."""
    with way_into(pool, accounts) as prefix:
        configuration = (
            'c.ClusterConfig.scheduler_cmd = ["dask", "scheduler"]\n'
            f"c.LocalLauncher.command_prefix = {prefix!r}\n"
            f'c.HTCondorBackend.apptainer_binds = ["{data}:/data:ro"]\n'
            'c.ClusterConfig.environment = {"MINE": "it\'s $HOME; `x`"}\n'
        )
        with serving(pool, accounts, configuration) as server:
            yield server


@pytest.fixture(autouse=True)
def _shows_logs(request: pytest.FixtureRequest) -> None:
    for name in {"in_images", "on_the_host"}.intersection(request.fixturenames):
        server: GatewayServer = request.getfixturevalue(name)
        show_if_failed(request, f"gateway {server.url}", server.log)


@pytest.fixture
def cluster(in_images: GatewayServer, connect: Connect) -> Iterator[HTCGatewayCluster]:
    """Of dask-gateway's own client: an image is a cluster option like any other."""
    with Gateway(in_images.url, auth=BasicAuth("analyst")) as stock:
        name = stock.submit(image=f"{REGISTRY}/{REPOSITORY}:matching")
    with connect(in_images).connect(name, shutdown_on_close=True) as made:
        yield made


def test_the_analysis(in_images: GatewayServer, cluster: HTCGatewayCluster, data: Path) -> None:
    paths = sample.write_files(data, seed=1, files=2, events=5_000)
    here = Spectrum()
    for path in paths:
        here.add(analysis.dimuons(str(path), 0, 5_000))

    cluster.scale(2)
    cluster.wait_for_workers(2, timeout=60)
    with cluster.get_client() as client:
        there = [Path("/data") / path.name for path in paths]
        entries = count_entries(client, there, stall=30)
        found = analyse(client, list(zip(there, entries, strict=True)), 1_000, 30, lambda done, total: None)
    assert entries == [5_000, 5_000]
    assert found.candidates == here.candidates > 0
    assert (found.counts == here.counts).all()
    # One whose job HTCondor ends leaves nothing, and another comes in its place.
    one, _ = exactly(in_images, cluster, 2)
    [scratch] = scratch_of(cluster, one.dask_name)
    in_images.pool.command("condor_rm", one.job_id)
    eventually("the worker's processes gone", lambda: not processes.mentioning(scratch), 10)
    assert one.name not in {worker.name for worker in exactly(in_images, cluster, 2)}


def scratch_of(cluster: HTCGatewayCluster, worker: str) -> list[str]:
    """The scratch directory of a worker's job."""

    def scratch(dask_worker: Worker) -> tuple[str, str]:
        return str(dask_worker.name), os.environ["_CONDOR_SCRATCH_DIR"]

    with cluster.get_client() as client:
        found = dict(client.run(scratch).values())
    return [found[worker]]


def look(directory: str) -> dict[str, Any]:
    """Run in a container: what is seen from there."""
    import dask_gateway

    credentials = Path(directory, "credentials")
    return {
        "python": sys.executable,
        "dask_gateway": dask_gateway.__file__,
        "container": os.environ.get("APPTAINER_CONTAINER"),
        "environment": dict(os.environ),
        "homes": [str(path) for path in Path("/home").iterdir()],
        "cvmfs": [str(path) for path in Path("/cvmfs").iterdir()],
        "is writable": {path: os.access(path, os.W_OK) for path in (directory, str(credentials), "/tmp")},
        "modes": {str(path): oct(path.stat().st_mode & 0o777) for path in credentials.glob("*")},
    }


def look_around(dask_worker: Worker) -> dict[str, Any]:
    """Run in a worker."""
    scratch = os.environ["_CONDOR_SCRATCH_DIR"]
    Path(os.environ["TMPDIR"], "mark").touch()
    return {
        **look(scratch),
        "threads": dask_worker.state.nthreads,
        "memory": dask_worker.memory_manager.memory_limit,
        "scratch": scratch,
        "/tmp is TMPDIR": Path("/tmp/mark").exists(),
    }


def test_inside_the_container(in_images: GatewayServer, cluster: HTCGatewayCluster) -> None:
    cluster.scale(1)
    cluster.wait_for_workers(1, timeout=60)
    directory = str(in_images.schedulers / f"daskgateway-{cluster.name}")
    with cluster.get_client() as client:
        [worker] = client.run(look_around).values()
        scheduler = client.run_on_scheduler(look, directory)

    for place, own in ((worker, worker["scratch"]), (scheduler, directory)):
        assert place["python"].startswith("/opt/python/bin/python")
        assert place["dask_gateway"].startswith("/opt/python/lib/")
        assert place["container"] == image_path("matching")
        assert (place["homes"], place["cvmfs"]) == ([], [])
        assert place["environment"]["MINE"] == "it's $HOME; `x`"
        assert place["environment"]["HOME"] == own
        assert "/var/tmp" not in place["environment"]["PATH"], "it is the image's, not the gateway's"
        assert place["is writable"][own]
        assert place["is writable"]["/tmp"]
    scratch = worker["scratch"]
    assert worker["environment"]["TMPDIR"] == f"{scratch}/tmp"
    assert worker["/tmp is TMPDIR"]
    assert not worker["is writable"][f"{scratch}/credentials"]
    assert worker["modes"] == {f"{scratch}/credentials/{name}": "0o600" for name in ("dask.crt", "dask.pem")}
    assert (worker["threads"], worker["memory"]) == (1, 2 * 2**30)

    key = Path(directory, "dask.pem").read_text().splitlines()[1]
    token = Path(directory, "dask-gateway-token").read_text()
    assert not shown(key, "cmdline", "environ")
    assert not shown(token, "cmdline", "environ")
    assert shown("it's $HOME; `x`", "environ")
    assert not shown("it's $HOME; `x`", "cmdline")
    assert processes.mentioning(scratch)
    cluster.scale(0)
    no_jobs(in_images)
    eventually("the worker's processes gone", lambda: not processes.mentioning(scratch), 10)
    assert processes.mentioning(directory)
    cluster.shutdown()
    eventually("the scheduler's processes gone", lambda: not processes.mentioning(directory), 10)
    log = in_images.state_directory / "clusters" / cluster.name / "scheduler.log"
    eventually("its log", log.exists, 10)
    assert "End scheduler" in log.read_text(), "it was asked to end, once, and was not killed"


def shown(text: str, *names: str) -> list[str]:
    """Files of that name below /proc that hold this text."""
    found = []
    for path in [path for name in names for path in Path("/proc").glob(f"[0-9]*/{name}")]:
        with suppress(OSError):  # it has ended
            if path.parent.name != str(os.getpid()) and text.encode() in path.read_bytes():
                found.append(str(path))
    return found


def test_a_session_hears_of_the_images(in_images: GatewayServer) -> None:
    credentials = b64encode(b"analyst:").decode()
    question = urllib.request.Request(
        f"{in_images.url}/api/v1/site", headers={"Authorization": f"Basic {credentials}"}
    )
    with urllib.request.urlopen(question, timeout=10) as answer:
        facts = json.load(answer)
        assert facts.pop("submitter") == "gateway"
        assert facts.pop("credentials")["x509"]["use"] == "if-present"
        assert facts == {
            "runtime": "apptainer",
            "image": f"{REGISTRY}/{REPOSITORY}:matching",
            "image_registry": REGISTRY,
            "image_root": ROOT,
            "registry_aliases": {
                "docker.io": "registry.hub.docker.com", "index.docker.io": "registry.hub.docker.com"
            },
            "check_versions": "off",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image": "../../etc:1"}, "it holds '..'"),
        ({"image": "/cvmfs/x:1"}, "it is an absolute path"),
        ({"image": 'a"\nqueue 100\n:1'}, "cannot be used"),
        ({"image": "a:1", "image_registry": "a b"}, "is not a host name"),
        ({"image": "a"}, "no tag"),
        ({"image": 7}, "image must be a string"),
    ],
)
def test_an_image_that_cannot_be(in_images: GatewayServer, options: dict[str, Any], words: str) -> None:
    with Gateway(in_images.url, auth=BasicAuth("analyst")) as stock:
        with pytest.raises((ValueError, GatewayClusterError), match=words):
            stock.submit(**options)
        assert stock.list_clusters() == []


def test_a_scheduler_whose_image_lacks_dask(in_images: GatewayServer, connect: Connect) -> None:
    with pytest.raises(ClusterFailedError) as caught:
        connect(in_images).new_cluster(image=f"{REPOSITORY}:no-dask", check_versions="off")
    assert f"the image '{image_path('no-dask')}' has no program 'dask', PATH is '/opt/python" in str(
        caught.value
    )


@pytest.fixture(scope="module")
def on_the_host(pool: Pool, accounts: Accounts) -> Iterator[GatewayServer]:
    """Schedulers run on the gateway's host, as without images."""
    with serving(pool, accounts, 'c.HTCondorBackend.scheduler_image = "none"\n') as server:
        yield server


REASONS = {
    "no-dask": f"the image '{image_path('no-dask')}' has no program 'dask', PATH is '/opt/python/bin:",
    "no-python": f"the image '{image_path('no-python')}' has no program 'dask', PATH is '/opt/python/bin:",
    "unreadable": f"the image '{image_path('unreadable')}' cannot be read by this job's account",
    "absent": f"the image '{image_path('absent')}' is not there; "
    f"of its path there is '{ROOT}/{REGISTRY}/{Path(REPOSITORY).parent}'",
}


def test_what_keeps_workers_from_starting(on_the_host: GatewayServer, connect: Connect) -> None:
    """It is said in a sentence, after three attempts no more are made, and the cluster lives on."""
    clusters: dict[str, HTCGatewayCluster] = {}

    def start(tag: str) -> None:
        made = connect(on_the_host).new_cluster(image=f"{REPOSITORY}:{tag}", check_versions="off")
        made.scale(1)
        clusters[tag] = made

    starting = [threading.Thread(target=start, args=(tag,)) for tag in REASONS]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join(60)
    assert set(clusters) == set(REASONS)
    for tag, reason in REASONS.items():
        with pytest.raises(WorkersMissingError) as caught:
            clusters[tag].wait_for_workers(1, timeout=60)
        assert reason in str(caught.value)
        failed = in_state(clusters[tag], WorkerState.FAILED)
        assert len(failed) == 3
        assert all(worker.reason.startswith("on ") and reason in worker.reason for worker in failed)
        with clusters[tag].get_client() as client:
            assert client.run_on_scheduler(os.getpid) > 0
    assert on_the_host.jobs() == []


def test_no_apptainer(gateway: Callable[..., GatewayServer], connect: Connect) -> None:
    server = gateway(
        CONFIGURATION + 'c.HTCondorBackend.scheduler_image = "none"\n'
        'c.HTCondorBackend.apptainer = "/no/apptainer"\n'
    )
    with connect(server).new_cluster(check_versions="off") as cluster:
        cluster.scale(1)
        with pytest.raises(WorkersMissingError, match="there is no Apptainer, '/no/apptainer'"):
            cluster.wait_for_workers(1, timeout=60)
        assert len(in_state(cluster, WorkerState.FAILED)) == 3
