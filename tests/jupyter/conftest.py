"""A facility as people meet it: a JupyterHub, the gateway as its service, sessions that submit, images."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from tests.conftest import show_if_failed
from tests.e2e.test_apptainer import REGISTRY, REPOSITORY, ROOT
from tests.jupyter.hub import Hub, NoHubError
from tests.support import processes
from tests.support.accounts import Accounts
from tests.support.pool import Pool

GATEWAY = f"""
c.HTCondorBackend.submitter = "session"
c.HTCondorBackend.runtime = "apptainer"
c.HTCondorBackend.environments = {{"[stable]": "{REPOSITORY}:matching", "[devel]": "{REPOSITORY}:mismatched"}}
c.HTCondorBackend.image = "[stable]"
c.HTCondorBackend.image_registry = "{REGISTRY}"
c.HTCondorBackend.scheduler_image = "none"
c.HTCondorBackend.apptainer_binds = ["{{homes}}"]
c.HTCondorBackend.x509 = "required"
c.HTCondorBackend.x509_minimum = 600
c.ClusterConfig.worker_cmd = ["dask", "worker"]
c.ClusterConfig.cluster_max_workers = 20
"""


def unavailable(reason: str) -> NoReturn:
    """Skip for this reason, or fail if the caller wants these tests to run."""
    if "jupyter" in os.environ.get("HTCDASK_REQUIRE", "").split(","):
        pytest.fail(f"HTCDASK_REQUIRE=jupyter, but {reason}.", pytrace=False)
    pytest.skip(f"{reason}. Run scripts/test-jupyter.")


@pytest.fixture(scope="session")
def _needs_a_hub() -> None:
    if not (processes.ENVIRONMENT / "bin" / "jupyterhub-singleuser").exists():
        unavailable("this environment has no JupyterHub")


@pytest.fixture(scope="session")
def hub(_needs_a_hub: None, pool: Pool, accounts: Accounts) -> Iterator[Hub]:
    """A Hub whose users' sessions submit to the pool, each with an X.509 proxy of their own."""
    if not pool.has("apptainer"):
        unavailable("the pool's execute point has no Apptainer")
    pool.build_images()
    exports = [word for line in pool.recipe("env").splitlines() for word in shlex.split(line)]
    [cvmfs] = [word.partition("=")[2] for word in exports if word.startswith("HTCDASK_POOL_CVMFS=")]
    site = {
        "image-root": str(Path(cvmfs) / Path(ROOT).name),
        "sandbox": "{homes}/{user}/sandboxes/{cluster}",
        "condor": {"interface": "bindings"},
    }
    try:
        made = Hub(pool, accounts, GATEWAY, site)
    except NoHubError as error:
        unavailable(str(error))
    try:
        for user in made.users:
            give_x509(pool, made.home(user), "x509.pem", 12)
        made.start()
        yield made
    finally:
        left = made.close()
    assert not left, "the Hub left behind:\n" + "\n".join(left)


def give_x509(pool: Pool, home: Path, name: str, hours: float) -> None:
    """Put an X.509 proxy into a person's directory; negative hours: it has ended."""
    scratch = home / f"new-{name}"
    scratch.mkdir()
    shutil.chown(scratch, home.owner(), home.group())
    pool.recipe("x509", str(scratch), str(hours))
    shutil.move(scratch / "proxy.pem", home / name)
    shutil.rmtree(scratch)


@pytest.fixture(autouse=True)
def _show_logs(request: pytest.FixtureRequest, hub: Hub) -> None:
    show_if_failed(request, "gateway", hub.gateway.log)
    show_if_failed(request, "Hub", hub.log)


@pytest.fixture
def server(hub: Hub, accounts: Accounts, _show_logs: None) -> str:
    """Address of the analyst's own server, which runs from one test to the next."""
    return hub.start_server(accounts.analyst)
