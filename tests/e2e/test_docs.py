"""The Python of the documentation, run page by page on the real pool, in images."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed import Client
from tests.conftest import show_if_failed
from tests.e2e.test_apptainer import REGISTRY, REPOSITORY, serving
from tests.support.accounts import Accounts
from tests.support.gateway import GatewayServer
from tests.support.inside import way_into
from tests.support.page import CLUSTER, Piece, pieces, run
from tests.support.pool import Pool

from htcdaskgateway import HTCGateway, HTCGatewayCluster
from htcdaskgateway.demo import sample

ROOT = Path(__file__).parents[2]
MATCHING = f"{REGISTRY}/{REPOSITORY}:matching"
# What pages name, and what it is here.
ENVIRONMENTS = {
    "coffeateam/coffea-dask-almalinux8:2024.4.0-py3.10": MATCHING,
    "gitlab-registry.cern.ch/cms-cat/analysis:1.2": MATCHING,
    "cms-cat/analysis:1.2": f"{REPOSITORY}:matching",
}
# Pages whose code is not run here, with the reason.
ELSEWHERE = {
    "README.md": "its first block is the guide's, its errors are those of tests/e2e/test_views.py",
    "docs/admin/install-single-host.md": "tests/e2e/test_single_host.py follows it",
    "docs/guide/gpu.md": "the pool has no GPU; tests/unit/examples/test_docs_gateway.py",
}
# What has happened before the first block of a page.
BEFORE = {
    "after-a-kernel-restart.md": (
        "with other.get_client(set_as_default=False) as client:\n"
        "    other.scale(1)\n"
        "    client.publish_dataset(squares=client.map(lambda n: n * n, range(10)))\n"
    ),
    "idle-workers.md": (
        "cluster = gateway.new_cluster(node_match_expr='requirements = Machine == \"no.such.machine\"')\n"
        "cluster.scale(2)\n"
    ),
    "logs-and-sandbox.md": "cluster.scale(1)\ncluster.wait_for_workers(1, timeout=60)\n",
    "long-runs.md": "cluster.scale(1)\n",
}


def code_of(page: Path) -> list[Piece]:
    return list(pieces(page.read_text(encoding="utf-8")))


FOLDERS = (ROOT / "docs", ROOT / "examples")
WITH_CODE = [ROOT / "README.md", *(page for folder in FOLDERS for page in sorted(folder.rglob("*.md")))]
WITH_CODE = [page for page in WITH_CODE if code_of(page)]
RUN = [page for page in WITH_CODE if str(page.relative_to(ROOT)) not in ELSEWHERE]


def test_no_page_is_overlooked() -> None:
    assert set(ELSEWHERE) <= {str(page.relative_to(ROOT)) for page in WITH_CODE}
    assert set(BEFORE) <= {page.name for page in RUN}
    assert len(RUN) > 15


@pytest.fixture(scope="module")
def root(pool: Pool) -> Path:
    """Where this machine has what the pool sees as the image root."""
    words = shlex.split(pool.recipe("env").replace("\n", " "))
    [cvmfs] = [word.partition("=")[2] for word in words if word.startswith("HTCDASK_POOL_CVMFS=")]
    return Path(cvmfs) / "unpacked.cern.ch"


@pytest.fixture(scope="module")
def data(pool: Pool) -> Iterator[Path]:
    """Files that workers see as ``/data``."""
    directory = Path(tempfile.mkdtemp(dir=pool.home, prefix="data-"))
    directory.chmod(0o755)
    for path in sample.write_files(directory, seed=1, files=2, events=60_000):
        path.chmod(0o644)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def site(pool: Pool, accounts: Accounts, data: Path) -> Iterator[GatewayServer]:
    with way_into(pool, accounts) as prefix:
        configuration = (
            'c.HTCondorBackend.check_versions = "error"\n'
            'c.ClusterConfig.scheduler_cmd = ["dask", "scheduler"]\n'
            f"c.LocalLauncher.command_prefix = {prefix!r}\n"
            f"c.HTCondorBackend.environments = {ENVIRONMENTS!r}\n"
            f'c.HTCondorBackend.registry_aliases = {{"gitlab-registry.cern.ch": "{REGISTRY}"}}\n'
            "c.ClusterConfig.cluster_max_workers = 20\n"
            f'c.HTCondorBackend.apptainer_binds = ["{data}:/data:ro"]\n'
        )
        with serving(pool, accounts, configuration) as server:
            yield server


@pytest.fixture
def session(
    site: GatewayServer,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[dict[str, Any]]:
    """The names of a session that is at the site, in a directory of its own, with a cluster."""
    show_if_failed(request, f"gateway {site.url}", site.log)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "of nobody")  # to make a client that asks nothing
    monkeypatch.setenv("LOGNAME", "analyst")  # who dask-gateway's basic authentication says one is
    settings = {
        "gateway.address": site.url,
        "gateway.auth.type": "basic",
        "htcdaskgateway.image-root": str(root),
    }
    with dask.config.set(settings), HTCGateway() as gateway:
        yield {"__name__": "__main__", "HTCGateway": HTCGateway, "gateway": gateway}
        for client in list(Client._instances):
            client.close()
        for cluster in list(HTCGatewayCluster._instances):
            cluster.close()
        for report in gateway.list_clusters():
            gateway.stop_cluster(report.name)


@pytest.mark.condor
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_it_does_what_it_shows(page: Path, session: dict[str, Any]) -> None:
    gateway: HTCGateway = session["gateway"]
    session["cluster"] = gateway.new_cluster()
    code = code_of(page)
    if any(CLUSTER.search(piece.source) for piece in code):
        session["other"] = gateway.new_cluster()
    exec(BEFORE.get(page.name, ""), session)
    jobs = [worker.job_id for worker in session["cluster"].workers() if worker.job_id]
    for piece in code:
        source = piece.source
        if "other" in session:
            source = CLUSTER.sub(session["other"].name, source)
        if jobs and "logs(" in source:
            source = source.replace('"9.1"', f'"{jobs[0]}"')
        run(replace(piece, source=source), session)
