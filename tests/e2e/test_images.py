"""A session asks for images: one that fits, and those that are refused before anything is submitted."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import dask.config
import pytest
from dask_gateway import BasicAuth, Gateway
from tests.conftest import ClientFactory, show_if_failed
from tests.e2e.conftest import Connect
from tests.e2e.test_apptainer import REGISTRY, REPOSITORY, ROOT, serving
from tests.support.accounts import Accounts
from tests.support.gateway import GatewayServer
from tests.support.inside import way_into
from tests.support.pool import Pool

from htcdaskgateway import HTCGateway, VersionMismatchError, VersionMismatchWarning, WorkerState
from htcdaskgateway.images.errors import (
    ImageNotFoundError,
    ImageReferenceError,
    ImageRootMissingError,
    ImageUnusableError,
    RegistryNotFoundError,
    TagMissingError,
)
from htcdaskgateway.versions import versions_here

pytestmark = pytest.mark.condor

STOCK = "dask_gateway_server.backends.inprocess.InProcessBackend"


@pytest.fixture(scope="module")
def configuration(pool: Pool, accounts: Accounts) -> Iterator[str]:
    """Sessions are asked to check versions; schedulers run in images, as workers do."""
    with way_into(pool, accounts) as prefix:
        yield (
            'c.HTCondorBackend.check_versions = "error"\n'
            'c.ClusterConfig.scheduler_cmd = ["dask", "scheduler"]\n'
            f"c.LocalLauncher.command_prefix = {prefix!r}\n"
        )


@pytest.fixture(scope="module")
def site(pool: Pool, accounts: Accounts, configuration: str) -> Iterator[GatewayServer]:
    with serving(pool, accounts, configuration) as server:
        yield server


@pytest.fixture(scope="module")
def root(pool: Pool) -> Path:
    """Where this machine has what the pool sees as the image root."""
    exports = [word for line in pool.recipe("env").splitlines() for word in shlex.split(line)]
    [cvmfs] = [word.partition("=")[2] for word in exports if word.startswith("HTCDASK_POOL_CVMFS=")]
    return Path(cvmfs) / Path(ROOT).name


@pytest.fixture(autouse=True)
def _log(request: pytest.FixtureRequest, site: GatewayServer) -> None:
    show_if_failed(request, f"gateway {site.url}", site.log)


@pytest.fixture(autouse=True)
def _images_of_this_machine(root: Path) -> Iterator[None]:
    with dask.config.set({"htcdaskgateway": {"image-root": str(root)}}):
        yield


@pytest.fixture
def client(site: GatewayServer, connect: Connect) -> Iterator[HTCGateway]:
    """Of a test that gets nothing started."""
    gateway = connect(site)
    yield gateway
    assert gateway.list_clusters() == []
    assert site.jobs() == []


def cells(error: VersionMismatchError) -> dict[str, list[str]]:
    """What stands in the rows of the error's text."""
    rows = [line.split() for line in str(error).splitlines()[2:]]
    return {row[0]: row[1:] for row in rows if row[0] in error.table.columns[0].versions}


def test_an_image_that_does_not_fit(client: HTCGateway) -> None:
    with pytest.raises(VersionMismatchError) as caught:
        client.new_cluster(image=f"{REPOSITORY}:mismatched")
    here, lines = versions_here(), str(caught.value).splitlines()
    assert lines[0] == (
        f"Image '{REGISTRY}/{REPOSITORY}:mismatched' does not fit this notebook: "
        "python, dask, distributed and dask-gateway differ."
    )
    assert lines[1].split() == ["notebook", "image"]
    rows = cells(caught.value)
    assert rows["python"] == [here["python"], "3.13", "must", "agree"]
    assert rows["dask"] == [here["dask"], "2025.1.0", "must", "agree"]
    assert rows["distributed"] == [here["distributed"], "2025.1.0", "must", "agree"]
    assert rows["dask-gateway"] == [here["dask-gateway"], "2025.4.0", "must", "agree"]
    assert rows["numpy"] == [here["numpy"], "-", "differs"]
    assert {"msgpack", "cloudpickle", "tornado", "toolz"} < set(rows)
    assert lines[-4] == "Of this name, these fit this notebook:"
    assert f'  image="{REPOSITORY}:matching"' in lines[-3:]


def test_an_image_without_dask(client: HTCGateway) -> None:
    with pytest.raises(VersionMismatchError) as caught:
        client.new_cluster(apptainer_image=f"{REGISTRY}/{REPOSITORY}:no-dask")
    assert {"dask", "distributed"} <= set(caught.value.table.differing)
    assert cells(caught.value)["dask"] == [versions_here()["dask"], "-", "must", "agree"]


def test_an_image_without_python(client: HTCGateway) -> None:
    for check in ("error", "warn"):
        with pytest.raises(ImageUnusableError, match="it has no Python in /opt/python/bin:"):
            client.new_cluster(image=f"{REPOSITORY}:no-python", check_versions=check)


def test_an_image_that_the_user_may_not_read(
    site: GatewayServer, client: HTCGateway, run_client: ClientFactory, root: Path
) -> None:
    script = f"""
from htcdaskgateway import HTCGateway, HTCDaskError
try:
    HTCGateway().new_cluster(image="{REPOSITORY}:unreadable")
except HTCDaskError as error:
    print(type(error).__name__, error)
"""
    environment = {**site.client_environment(), "DASK_HTCDASKGATEWAY__IMAGE_ROOT": str(root)}
    said = run_client(script, **environment).wait()
    path = root / REGISTRY / f"{REPOSITORY}:unreadable"
    assert said.strip() == (
        f"ImageUnusableError The image {path} cannot be used: "
        "this account may not read it (Permission denied)."
    )


def test_an_image_that_is_not_there(client: HTCGateway, root: Path) -> None:
    with pytest.raises(ImageNotFoundError) as caught:
        client.new_cluster(image=f"{REPOSITORY}:matchin")
    lines = str(caught.value).splitlines()
    assert lines[1:3] == [
        f"  looked for: {root}/{REGISTRY}/{REPOSITORY}:matchin",
        f"  nearest:    {REPOSITORY}:matching",
    ]
    with pytest.raises(RegistryNotFoundError, match=f"registries there: {REGISTRY}"):
        client.new_cluster(image=f"{REPOSITORY}:matching", image_registry="registry.hub.docker.com")
    with pytest.raises(TagMissingError) as several:
        client.new_cluster(image=REPOSITORY)
    fitting = {f"image='{REPOSITORY}:{tag}'." for tag in ("matching", "unreadable")}  # we may read this one
    assert str(several.value).rpartition("This one fits this notebook: ")[2] in fitting


def test_the_images_cannot_be_seen_from_here(client: HTCGateway) -> None:
    with dask.config.set({"htcdaskgateway.image-root": None}), pytest.raises(ImageRootMissingError) as caught:
        client.new_cluster(image=f"{REPOSITORY}:matching")
    assert str(caught.value).splitlines()[0] == f"The image root {ROOT} is not mounted on this machine."


BAD = ["", "../../etc:1", "/cvmfs/x:1", "a:1\nqueue 100", "a b:1", "a:$(id)", "a'b:1", 'a"b:1', "a:1\0"]


@pytest.mark.parametrize("reference", [*BAD, "a" * 10_000])
def test_a_reference_that_is_none(client: HTCGateway, reference: str) -> None:
    with pytest.raises(ImageReferenceError) as caught:
        client.new_cluster(image=reference)
    assert len(str(caught.value)) < 1000
    with pytest.raises(ImageReferenceError):
        client.new_cluster(apptainer_image=reference)


def test_an_image_that_fits(site: GatewayServer, connect: Connect) -> None:
    with connect(site).new_cluster(
        apptainer_image=f"{REGISTRY}/{REPOSITORY}:matching", image_registry=REGISTRY
    ) as cluster:
        assert cluster.versions().agrees
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=60)
        table = cluster.versions()
        assert [column.title for column in table.columns] == ["notebook", "image", "scheduler", "workers (2)"]
        assert table.agrees, str(table)
        assert table.notes == []
        here, image, *running = ({**column.versions, "python": ""} for column in table.columns)
        assert here.items() >= image.items()
        assert all(one == image for one in running), str(table)  # what was read is what runs
        with cluster.get_client() as dask_client:
            assert dask_client.submit(sum, [1, 2]).result(30) == 3
        with connect(site).connect(cluster.name) as again:
            again.wait_for_workers(2, timeout=60)
            titles = [column.title for column in again.versions().columns]
            assert titles == ["notebook", "scheduler", "workers (2)"]
    assert cluster.status == "closed"


def test_workers_that_do_not_fit_are_told_of_and_nothing_hangs(
    pool: Pool,
    accounts: Accounts,
    configuration: str,
    connect: Connect,
    root: Path,
    tmp_path: Path,
) -> None:
    """What the session sees of the images is newer than what the execute points see."""
    newer = tmp_path / REGISTRY / f"{REPOSITORY}:mismatched"
    newer.parent.mkdir(parents=True)
    newer.symlink_to(root / REGISTRY / f"{REPOSITORY}:matching")
    scheduler = f'c.HTCondorBackend.scheduler_image = "{REPOSITORY}:matching"\n'
    with serving(pool, accounts, configuration + scheduler) as server:
        with dask.config.set({"htcdaskgateway.image-root": str(tmp_path)}):
            cluster = connect(server).new_cluster(image=f"{REPOSITORY}:mismatched")
        with cluster:
            cluster.scale(1)
            with pytest.raises(VersionMismatchError) as caught:
                cluster.wait_for_workers(1, timeout=60)
            assert str(caught.value).startswith(
                f"A worker of cluster {cluster.name} does not fit this notebook: "
            )
            titles = [column.title for column in caught.value.table.columns]
            assert titles == ["notebook", "image", "workers (1)"]
            here = versions_here()["distributed"]
            assert cells(caught.value)["distributed"] == [here, here, "2025.1.0", "must", "agree"]
            assert [worker.state for worker in cluster.workers()] == [WorkerState.RUNNING]


def test_warn_goes_ahead(site: GatewayServer, connect: Connect) -> None:
    gateway = connect(site)
    with pytest.warns(VersionMismatchWarning, match="does not fit this notebook") as caught:
        cluster = gateway.new_cluster(image=f"{REPOSITORY}:mismatched", check_versions="warn")
    with cluster:
        assert len(caught) == 1
        assert "must agree" in str(caught[0].message)
        table = cluster.versions()
        assert not table.agrees
        assert [column.title for column in table.columns] == ["notebook", "image", "scheduler"]


def test_a_scheduler_that_does_not_fit_is_stopped_again(
    pool: Pool, accounts: Accounts, configuration: str, connect: Connect
) -> None:
    """The site gives all schedulers one image, and it is another than the notebook's."""
    other = f'c.HTCondorBackend.scheduler_image = "{REPOSITORY}:mismatched"\n'
    with serving(pool, accounts, configuration + other) as server:
        client = connect(server)
        with pytest.raises(VersionMismatchError) as caught:
            client.new_cluster(shutdown_on_close=False)
        assert str(caught.value).startswith("The scheduler of cluster ")
        titles = [column.title for column in caught.value.table.columns]
        assert titles == ["notebook", "image", "scheduler"]
        assert "The cluster is stopped." in str(caught.value)
        assert client.list_clusters() == []


def test_dask_gateways_own_client(site: GatewayServer) -> None:
    with Gateway(site.url, auth=BasicAuth("analyst")) as stock:
        options = stock.cluster_options()
        assert options.image == f"{REPOSITORY}:matching"
        with stock.new_cluster(options) as cluster:
            cluster.scale(1)
            with cluster.get_client() as dask_client:
                assert dask_client.submit(sum, [1, 2]).result(60) == 3


def test_another_gateway(gateway: Callable[..., GatewayServer], connect: Connect) -> None:
    client = connect(gateway(backend=STOCK))
    with client.new_cluster() as cluster:
        cluster.scale(2)
        with cluster.get_client() as dask_client:
            dask_client.wait_for_workers(2, timeout=30)
            assert dask_client.submit(sum, [1, 2]).result(30) == 3
        assert cluster.versions().agrees
        with pytest.raises(TimeoutError, match="2 of 3 workers"):
            cluster.wait_for_workers(3, timeout=1)
    with client.new_cluster(check_versions="error") as checked:
        assert checked.versions().agrees
    with pytest.raises(ValueError, match="Unknown fields"):
        client.new_cluster(image="daskgateway/dask-gateway:latest")
