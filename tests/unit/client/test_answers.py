"""Which answers are the gateway's own, and what follows from those that are not."""

from __future__ import annotations

import pytest
from tests.support.session_gateway import CLUSTER, SessionGateway

from htcdaskgateway import HTCGateway
from htcdaskgateway.client.answers import is_the_gateways, remedy
from htcdaskgateway.errors import GatewayUnreachableError, InvalidRequestError

OWN = [
    (404, '{"error": "Cluster c1 not found"}'),
    (404, '{"error": "Cluster c\\n1 not found"}'),
    (404, "404: Not Found"),  # aiohttp, of a path that this gateway does not know
    (404, '{"error": "404: Not Found"}'),
    (422, '{"error": "image_registry is no option"}'),
]
ANOTHERS = [
    (404, "Not Found\n"),  # the gateway proxy, before it has its routes
    (404, "404 page not found\n"),  # Traefik
    (404, "<html><title>404: Not Found</title></html>"),
    (404, "Cluster c1 not found"),
    (404, '{"error": "Not Found"}'),
    (404, '{"error": null}'),
    (404, '{"detail": "Cluster c1 not found"}'),
    (404, '["Cluster c1 not found"]'),
    (404, "[" * 100_000),
    (404, ""),
    (422, "Unprocessable"),
    (422, '{"message": "no"}'),
]


LIST = "gateway.list_clusters() lists the clusters that there are."
OPTIONS = "gateway.cluster_options() shows the options and their limits."


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Cluster zz not found", LIST),
        ("worker_memory must be <= 8.000000, got 10000.0", OPTIONS),
        ("worker_cores must be an integer, got 1.5", OPTIONS),
        ("worker_memory must be a number, got 'x'", OPTIONS),
        ("Unknown fields ['nonsense']", OPTIONS),
        ("'huge' is not a valid option for size", OPTIONS),
        ("Image 'a/b:1' is not in CVMFS. Use the nearest name.", ""),  # has one
        ("404: Not Found", ""),
    ],
)
def test_what_to_do_about_a_refusal(words: str, expected: str) -> None:
    assert remedy(words) == expected


@pytest.mark.parametrize(("status", "text"), OWN)
def test_the_gateways_own(status: int, text: str) -> None:
    assert is_the_gateways(status, text)


@pytest.mark.parametrize(("status", "text"), ANOTHERS)
def test_of_something_else(status: int, text: str) -> None:
    assert not is_the_gateways(status, text)


@pytest.mark.parametrize("text", ["Not Found\n", "404 page not found\n"])
async def test_no_other_program_says_what_there_is(text: str) -> None:
    server = SessionGateway()
    await server.start()
    server.status, server.page = 404, text
    try:
        async with HTCGateway(server.url, asynchronous=True) as client:
            for asked in (client._workers(CLUSTER), client._site(), client._stop_cluster(CLUSTER)):
                with pytest.raises(GatewayUnreachableError) as caught:
                    await asked
                assert caught.value.words == f"404 {text.strip()}"
            server.status, server.page = 404, "404: Not Found"
            assert not (await client._site()).is_ours
            server.page, server.says = "", f"Cluster {CLUSTER} not found"
            with pytest.raises(InvalidRequestError) as refused:
                await client._workers(CLUSTER)
            assert refused.value.sentence == f"Cluster {CLUSTER} not found"
            assert refused.value.remedy == LIST
    finally:
        await server.stop()
