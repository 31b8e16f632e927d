"""dask-labextension: its own manager in the analyst's own server makes clusters of the gateway."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.jupyter.hub import Hub, NotFoundError, request
from tests.support.waiting import eventually

pytestmark = [pytest.mark.jupyter, pytest.mark.condor, pytest.mark.timeout(300)]

Ask = Callable[..., Any]


@pytest.fixture
def ask(hub: Hub, server: str) -> Iterator[Ask]:
    """``ask(method, path, body)``: what JupyterLab's panel asks its server for."""

    def ask(method: str, path: str, body: object = None) -> Any:
        return request(method, f"{server}/dask/{path}", body, hub.token)

    yield ask
    for cluster in ask("GET", "clusters"):
        ask("DELETE", f"clusters/{cluster['id']}")
    eventually("no job in the queue", lambda: not hub.gateway.jobs(), 30)


def test_the_button(hub: Hub, ask: Ask) -> None:
    """Press "+ NEW", scale, look at the dashboard, shut down."""
    made = ask("PUT", "clusters")
    assert made["name"] == "HTCGatewayCluster 1"
    assert made["dashboard_link"].startswith(f"{hub.url}/services/dask-gateway/clusters/")
    cluster = f"clusters/{made['id']}"
    ask("PATCH", cluster, {"workers": 1})
    eventually("one worker", lambda: ask("GET", cluster)["workers"] == 1, 90)
    [job] = hub.gateway.jobs()
    assert job["Owner"] == hub.users[0]
    # its panes, when somebody puts the link into the field above them
    check = ask("GET", f"dashboard-check/{urllib.parse.quote(made['dashboard_link'], safe='')}")
    assert check["isActive"] is True, check
    assert "Individual Task Stream" in check["plots"]
    ask("DELETE", cluster)
    with pytest.raises(NotFoundError):
        ask("GET", cluster)


def test_the_load_decides(ask: Ask) -> None:
    """Its manager does not await `adapt`, keeps what it gives, and asks that for the bounds."""
    cluster = f"clusters/{ask('PUT', 'clusters')['id']}"
    told = ask("PATCH", cluster, {"adapt": {"minimum": 1, "maximum": 2}})
    assert told["adapt"] == {"minimum": 1, "maximum": 2}
    eventually("one worker", lambda: ask("GET", cluster)["workers"] == 1, 90)
    assert "adapt" not in ask("PATCH", cluster, {"workers": 0})
    eventually("no worker", lambda: ask("GET", cluster)["workers"] == 0, 60)
