"""People's sessions against a real gateway on the real pool."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import dask.config
import pytest
from dask_gateway import BasicAuth
from tests.support.gateway import GatewayServer
from tests.support.pool import Pool
from tests.support.second import Schedds
from tests.support.sessions import people_submit
from tests.support.waiting import eventually

from htcdaskgateway import HTCGateway, HTCGatewayCluster
from htcdaskgateway.client.submitter import _running

Connect = Callable[..., HTCGateway]


@pytest.fixture(autouse=True)
def _sent_by_value(request: pytest.FixtureRequest) -> None:
    """Functions of the tests go to workers as they are: workers cannot import the tests."""
    for function in vars(request.module).values():
        if inspect.isfunction(function) and function.__module__ == request.module.__name__:
            function.__module__ = "__main__"


@pytest.fixture(scope="module")
def both(pool: Pool) -> Iterator[Schedds]:
    """A pool with two schedds."""
    schedds = Schedds(pool)
    with schedds.running():
        yield schedds


@pytest.fixture(params=["gateway", "session"])
def submitter(request: pytest.FixtureRequest) -> Iterator[str]:
    """Who submits: a module that uses this runs its tests with both."""
    if request.param == "session":
        with people_submit(request.getfixturevalue("pool")):
            yield request.param
    else:
        yield request.param


def condor_settings(**settings: object) -> tuple[str, dask.config.set]:
    """The same ``condor`` settings for either submitter.

    Returns
    -------
    str
        Lines of the gateway's configuration.
    context manager
        In which sessions have them.
    """
    names = {"schedd": "schedd_name"}
    lines = [f"c.HTCondorAccess.{names.get(name, name)} = {value!r}\n" for name, value in settings.items()]
    mine = {f"htcdaskgateway.condor.{name}": value for name, value in settings.items()}
    return "".join(lines), dask.config.set(mine)


# For a test of a module with both: what it is about happens on the gateway's side, or for all its clusters.
gateway_submits = pytest.mark.parametrize("submitter", ["gateway"], indirect=True)


@pytest.fixture
def gateway(
    gateway: Callable[..., GatewayServer], request: pytest.FixtureRequest
) -> Callable[..., GatewayServer]:
    """As everywhere, with the submitter that the test runs with."""
    if "submitter" not in request.fixturenames:
        return gateway
    setting = f'c.HTCondorBackend.submitter = "{request.getfixturevalue("submitter")}"\n'
    return lambda configuration="", **options: gateway(setting + configuration, **options)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """``connect(server, user)``: a client of this gateway, closed at the end."""
    with ExitStack() as stack:

        def start(server: GatewayServer, user: str = "analyst", **options: Any) -> HTCGateway:
            client = HTCGateway(server.url, auth=BasicAuth(user), **options)
            stack.callback(client.close)
            return client

        yield start
        for cluster in list(HTCGatewayCluster._instances):  # of a test that failed
            cluster.close()
        for submitter in list(_running):  # it removes the jobs of its cluster, while the gateway is there
            submitter.join(15)


@pytest.fixture
def server(gateway: Callable[..., GatewayServer]) -> GatewayServer:
    """A gateway with the tests' configuration."""
    return gateway()


@pytest.fixture
def cluster(server: GatewayServer, connect: Connect) -> Iterator[HTCGatewayCluster]:
    """A cluster of the analyst without workers."""
    with connect(server).new_cluster() as made:
        yield made


@pytest.fixture
def refusing_schedd(pool: Pool) -> Iterator[str]:
    """Name of a job attribute at which the schedd refuses a job, with words of its own."""
    file = pool.home / "config.d" / "50-refuse"

    def reconfigure(names: str) -> None:
        pool.command("condor_reconfig", "-daemon", "schedd")
        eventually(
            f"rules: {names}",
            lambda: names in pool.command("condor_config_val", "-schedd", "SUBMIT_REQUIREMENT_NAMES"),
            20,
        )

    file.write_text(
        "SUBMIT_REQUIREMENT_NAMES = NotForTests\n"
        "SUBMIT_REQUIREMENT_NotForTests = RefuseThis =!= true\n"
        'SUBMIT_REQUIREMENT_NotForTests_REASON = "the tests do not want this job"\n'
    )
    file.chmod(0o644)
    reconfigure("NotForTests")
    yield "RefuseThis"
    file.unlink()
    reconfigure("Not defined")
