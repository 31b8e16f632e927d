"""Size and place of workers, as users may ask for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.options import Integer, Options
from traitlets import TraitError
from traitlets.config import Config

from htcdaskgateway.server.image_options import ImageOptions
from htcdaskgateway.server.image_settings import ImageSettings
from htcdaskgateway.server.traits import HTCondorClusterConfig
from htcdaskgateway.server.worker_options import GIB, WorkerOptions, WorkerRequests

USER: Any = SimpleNamespace(name="analyst")


def site(cluster: dict[str, Any] | None = None, **traits: Any) -> WorkerRequests:
    config = Config({"WorkerRequests": traits, "HTCondorClusterConfig": cluster or {}})
    return WorkerRequests(config=config, cluster_config_class=HTCondorClusterConfig)


async def ask(one: WorkerRequests, **request: Any) -> HTCondorClusterConfig:
    """What dask-gateway makes of a request: the configuration of the cluster."""
    config: HTCondorClusterConfig
    _, config = await one.process_cluster_options(USER, request)
    return config


async def test_nothing_asked_is_what_the_site_has() -> None:
    config = await ask(site({"worker_memory": 700_000_001, "worker_cores": 8}))
    assert (config.worker_memory, config.worker_cores, config.worker_threads) == (700_000_001, 8, 8)
    assert config.submit_commands == {}


async def test_asked() -> None:
    config = await ask(site(), worker_cores=3, worker_memory=2.5)
    assert (config.worker_cores, config.worker_memory) == (3, int(2.5 * GIB))
    assert (await ask(site(), worker_memory=4)).worker_memory == 4 * GIB


@pytest.mark.parametrize(
    ("traits", "request_", "words"),
    [
        ({}, {"worker_memory": 9}, "worker_memory must be <= 8"),
        ({}, {"worker_memory": 0.5}, "worker_memory must be >= 1"),
        ({}, {"worker_cores": 5}, "worker_cores must be <= 4"),
        ({}, {"worker_cores": 0}, "worker_cores must be >= 1"),
        ({}, {"worker_cores": "2"}, "worker_cores must be an integer"),
        ({"worker_memory_limits": (2, 3)}, {"worker_memory": 4}, "worker_memory must be <= 3"),
        ({}, {"worker_memory": float("nan")}, "worker_memory"),
        ({}, {"worker_memory": float("inf")}, "worker_memory must be <= 8"),
        ({}, {"worker_cores": True}, "worker_cores"),
        ({}, {"node_match_expr": "rank = 1) || (1"}, "')' closes nothing"),
        ({"node_match": False}, {"node_match_expr": "rank = 1"}, "Unknown fields ['node_match_expr']"),
    ],
)
async def test_more_than_the_site_allows(
    traits: dict[str, Any], request_: dict[str, Any], words: str
) -> None:
    with pytest.raises(PublicException) as caught:
        await ask(site(**traits), **request_)
    assert words in str(caught.value)


async def test_beside_the_image() -> None:
    one = site({"submit_commands": {"+Project": '"cms"'}})
    options = ImageOptions(ImageSettings(), await one.get_cluster_options(USER))
    request = options.parse_options({"image": "a/b:1", "worker_cores": 2, "node_match_expr": "rank = Mips"})
    assert options.get_configuration(request, USER) == {
        "image": "registry.hub.docker.com/a/b:1",
        "worker_cores": 2,
        "worker_memory": 2 * GIB,
        "submit_commands": {"+Project": '"cms"', "rank": "(Mips)"},
    }
    with pytest.raises(PublicException, match="worker_cores must be a number, got True"):
        options.get_configuration(options.parse_options({"worker_cores": True}), USER)


async def test_limits_of_the_site() -> None:
    one = site(worker_cores_limits=(1, 16), worker_memory_limits=(1, 64))
    config = await ask(one, worker_cores=16, worker_memory=64)
    assert (config.worker_cores, config.worker_memory) == (16, 64 * GIB)
    with pytest.raises(TraitError, match=r"worker_cores_limits must be \(LEAST, MOST\), not \(4, 1\)"):
        site(worker_cores_limits=(4, 1))


async def test_where_workers_are_to_run() -> None:
    one = site({"submit_commands": {"requirements": "isDaskNode", "+Project": '"cms"'}})
    config = await ask(one, node_match_expr="requirements = Cpus > 2")
    assert config.submit_commands == {"requirements": "(isDaskNode) && (Cpus > 2)", "+Project": '"cms"'}
    assert (await ask(one)).submit_commands == {"requirements": "isDaskNode", "+Project": '"cms"'}


async def test_a_site_with_options_of_its_own() -> None:
    own = Options(Integer("worker_cores", 1, max=64))
    silent = Options(handler=lambda options: {"worker_cores": 2})
    for options in (own, silent, lambda user: own):
        one = site(cluster_options=options)
        assert not isinstance(await one.get_cluster_options(USER), WorkerOptions)
    assert (await ask(site(cluster_options=own), worker_cores=64)).worker_cores == 64
