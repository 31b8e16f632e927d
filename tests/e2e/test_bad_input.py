"""Bad input: one clear sentence, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from dask_gateway import BasicAuth, Gateway, GatewayClusterError
from tests.e2e.conftest import Connect, condor_settings
from tests.support.gateway import GatewayServer
from tests.support.ports import free_port
from tests.support.watching import exactly, live

from htcdaskgateway import HTCGateway, HTCGatewayCluster
from htcdaskgateway.client.errors import ClusterFailedError, RefusedError
from htcdaskgateway.errors import (
    AuthenticationError,
    GatewayUnreachableError,
    InvalidRequestError,
    LimitError,
)

pytestmark = pytest.mark.condor
either_submits = pytest.mark.usefixtures("submitter")
LIMITED = """
from dask_gateway_server.options import Integer, Options
c.Backend.cluster_options = Options(Integer("worker_cores", 1, min=1, max=4))
c.ClusterConfig.cluster_max_workers = 10
"""


def test_no_gateway_at_the_address() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    with HTCGateway(address) as gateway, pytest.raises(GatewayUnreachableError) as caught:
        gateway.new_cluster()
    assert str(caught.value).splitlines()[0] == f"No gateway answers at {address}."
    assert "Connect call failed" in str(caught.value)


def test_wrong_credentials(gateway: Callable[..., GatewayServer]) -> None:
    server = gateway('c.SimpleAuthenticator.password = "right"\n')
    client = HTCGateway(server.url, auth=BasicAuth("analyst", "wrong"))
    with client, pytest.raises(AuthenticationError) as caught:
        client.list_clusters()
    assert str(caught.value).splitlines()[0] == (
        f"The gateway at {server.url} did not accept your credentials."
    )
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (-1, "n must not be negative, got -1."),
        ("3", "n must be a whole number of workers, not '3'."),
        (2.5, "n must be a whole number of workers, not 2.5."),
        (True, "n must be a whole number of workers, not True."),
        (None, "n must be a whole number of workers, not None."),
    ],
)
def test_scale_to_no_number(
    server: GatewayServer, cluster: HTCGatewayCluster, number: object, sentence: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        cluster.scale(number)  # type: ignore[arg-type]  # what users do
    assert str(caught.value) == sentence
    assert live(cluster) == []
    assert server.jobs() == []


@either_submits
def test_more_than_the_site_allows(gateway: Callable[..., GatewayServer], connect: Connect) -> None:
    server = gateway(LIMITED)
    with connect(server).new_cluster() as cluster:
        cluster.scale(1)
        with pytest.raises(LimitError) as caught:
            cluster.scale(1000)
        assert str(caught.value) == (
            "1000 workers are more than the site allows in one cluster: 10.\n"
            "Ask for at most 10: cluster.scale(10)."
        )
        with pytest.raises(LimitError):
            cluster.adapt(0, 11)
        with pytest.raises(InvalidRequestError, match=r"minimum=3 is above maximum=2\."):
            cluster.adapt(3, 2)
        exactly(server, cluster, 1)


def test_an_option_out_of_range(gateway: Callable[..., GatewayServer], connect: Connect) -> None:
    client = connect(gateway(LIMITED))
    with pytest.raises(InvalidRequestError, match=r"worker_cores must be <= 4\.0+, got 100"):
        client.new_cluster(worker_cores=100)
    with pytest.raises(InvalidRequestError, match=r"Unknown fields \['wheels'\]"):
        client.new_cluster(wheels=4)
    assert client.list_clusters() == []


@either_submits
@pytest.mark.parametrize("interface", ["bindings", "tools"])
def test_no_schedd_of_that_name(
    gateway: Callable[..., GatewayServer], connect: Connect, interface: str
) -> None:
    configuration, sessions = condor_settings(interface=interface, schedd="no-such@schedd")
    server = gateway(configuration)
    with sessions, connect(server).new_cluster() as cluster:
        with pytest.raises(RefusedError, match="The schedd no-such@schedd cannot be reached"):
            cluster.scale(2)
        assert live(cluster) == []
        assert cluster.gateway.sync(cluster.report).count == 0


@pytest.mark.parametrize("interface", ["bindings", "tools"])
def test_a_submit_that_the_schedd_refuses(
    gateway: Callable[..., GatewayServer],
    connect: Connect,
    interface: str,
    refusing_schedd: str,
    submitter: str,
) -> None:
    configuration, sessions = condor_settings(interface=interface)
    configuration += f"c.HTCondorClusterConfig.submit_commands = {{'+{refusing_schedd}': 'True'}}\n"
    server = gateway(configuration)
    with sessions, connect(server).new_cluster() as cluster:
        with pytest.raises(RefusedError, match="the tests do not want this job") as caught:
            cluster.scale(2)
        assert isinstance(caught.value, GatewayClusterError)
        assert live(cluster) == []
        assert server.jobs() == []
        assert cluster.gateway.sync(cluster.report).count == 0
    words = (
        "the tests do not want this job" if submitter == "gateway" else "No session of analyst is attached"
    )
    stock = Gateway(server.url, auth=BasicAuth("analyst")).new_cluster()
    with stock, pytest.raises(GatewayClusterError, match=words):
        stock.scale(2)


def test_a_scheduler_that_cannot_start(gateway: Callable[..., GatewayServer], connect: Connect) -> None:
    server = gateway('c.ClusterConfig.scheduler_cmd = ["/no/such/dask", "scheduler"]\n')
    with pytest.raises(ClusterFailedError, match="No such file or directory: /no/such/dask"):
        connect(server).new_cluster()


def test_a_scheduler_that_ends_at_once(gateway: Callable[..., GatewayServer], connect: Connect) -> None:
    server = gateway(
        'c.ClusterConfig.scheduler_cmd = ["/bin/sh", "-c", "echo No module named dask; exit 1"]\n'
    )
    with pytest.raises(ClusterFailedError, match="Its last words: No module named dask"):
        connect(server).new_cluster()


@pytest.mark.parametrize("user", ["root", "nobody-here", "-x", "htcdask"])
def test_a_user_without_an_account(server: GatewayServer, connect: Connect, user: str) -> None:
    client = connect(server, user)
    with pytest.raises(InvalidRequestError, match=user):
        client.new_cluster()
    assert client.list_clusters() == []


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ({"queue": "7"}, "'queue' is not the name of a submit command"),
        ({"executable": "/bin/sh"}, "the gateway sets it"),
        ({"+HTCDaskUser": '"somebody"'}, "the gateway sets it"),
        ({"rank": "1\nqueue 100"}, "rank"),
    ],
)
def test_a_submit_command_that_no_site_may_set(
    gateway: Callable[..., GatewayServer], commands: dict[str, str], words: str
) -> None:
    with pytest.raises(RuntimeError, match="the gateway ended") as caught:
        gateway(f"c.HTCondorClusterConfig.submit_commands = {commands!r}\n")
    assert words in str(caught.value)
