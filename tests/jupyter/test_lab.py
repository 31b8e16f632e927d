"""dask-labextension: its own manager in the analyst's own server makes clusters of the gateway."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.jupyter.hub import Hub, NotFoundError, request
from tests.jupyter.kernel import kernel
from tests.support import processes
from tests.support.waiting import eventually

pytestmark = [pytest.mark.jupyter, pytest.mark.condor, pytest.mark.timeout(300)]

Ask = Callable[..., Any]
PAGE = processes.ENVIRONMENT / "share" / "jupyter" / "labextensions" / "dask-labextension" / "static"
UNESCAPED = "!'()*-._~"  # by the browser's encodeURIComponent


@pytest.fixture
def ask(hub: Hub, server: str) -> Iterator[Ask]:
    """``ask(method, path, body)``: what JupyterLab's panel asks its server for."""

    def ask(method: str, path: str, body: object = None) -> Any:
        return request(method, f"{server}/dask/{path}", body, hub.token)

    yield ask
    for cluster in ask("GET", "clusters"):
        ask("DELETE", f"clusters/{cluster['id']}")
    eventually("no job in the queue", lambda: not hub.gateway.jobs(), 30)


def clicked(cluster: dict[str, Any], server: str) -> str:
    """What the panel's page looks at when a cluster is clicked on (its ``_setActiveById``)."""
    if f"{urllib.parse.urlsplit(server).path}/proxy" in cluster["dashboard_link"]:
        return str(cluster["dashboard_link"])
    return f"{server}/dask/dashboard/{cluster['id']}"


def browse(url: str) -> tuple[str, str]:
    """What a browser gets, at last; it has no cookie and no token."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.url, answer.read().decode()


def checked(ask: Ask, link: str) -> dict[str, Any]:
    """What the page learns of a dashboard from its server."""
    found: dict[str, Any] = ask("GET", f"dashboard-check/{urllib.parse.quote(link, safe=UNESCAPED)}")
    return found


def test_the_button(hub: Hub, ask: Ask) -> None:
    """Press "+ NEW", scale, shut down."""
    made = ask("PUT", "clusters")
    assert made["name"] == "HTCGatewayCluster 1"
    cluster = f"clusters/{made['id']}"
    ask("PATCH", cluster, {"workers": 1})
    eventually("one worker", lambda: ask("GET", cluster)["workers"] == 1, 90)
    [job] = hub.gateway.jobs()
    assert job["Owner"] == hub.users[0]
    ask("DELETE", cluster)
    with pytest.raises(NotFoundError):
        ask("GET", cluster)


def test_a_click_opens_the_panes(hub: Hub, server: str, ask: Ask) -> None:
    """Through the Hub's proxy and the gateway, which show them to who has the link."""
    from bokeh.client import pull_session

    assert any("dashboard_link.indexOf(" in one.read_text() for one in PAGE.glob("*.js")), "see clicked()"
    made = ask("PUT", "clusters")
    link = clicked(made, server)
    assert link.startswith(f"{hub.url}/services/dask-gateway/")
    dashboard = f"{hub.url}/services/dask-gateway/clusters/{made['scheduler_address'].rpartition('/')[2]}"
    at, text = browse(link)
    assert at == f"{dashboard}/status"
    assert "docs_json" in text  # of Bokeh, which shows what comes over a web socket
    check = checked(ask, link.removesuffix("status"))  # the page takes this away before it asks
    assert check["isActive"] is True, check
    base = check.get("effectiveUrl") or check["url"]
    at, text = browse(f"{base.rstrip('/')}/individual-plots.json")
    assert json.loads(text) == check["plots"]
    # a name that the page's "Dashboard Layout" looks for
    route = check["plots"]["Individual Task Stream"]
    assert route == "/individual-task-stream"
    at, text = browse(base.rstrip("/") + route)
    assert at == f"{dashboard}{route}"
    assert "docs_json" in text
    session = pull_session(url=at)
    try:
        assert session.document.title == "Dask: TaskStream"
    finally:
        session.close()


def test_in_a_notebook(hub: Hub, server: str, ask: Ask) -> None:
    """What the panel writes into a cell has the cluster's keys; its magnifying glass finds the dashboard."""
    made = ask("PUT", "clusters")
    ask("PATCH", f"clusters/{made['id']}", {"workers": 1})
    eventually("one worker", lambda: ask("GET", f"clusters/{made['id']}")["workers"] == 1, 90)
    address = made["scheduler_address"]
    with kernel(server, hub.token) as notebook:
        worked, found = notebook.execute(
            f'from dask.distributed import Client\n\nclient = Client("{address}")\n'
            "print('SUM', client.submit(sum, [1, 2]).result(60))\nclient.close()",
            "from htcdaskgateway import HTCGateway\n"
            f"cluster = HTCGateway().connect({address.rpartition('/')[2]!r})\nclient = cluster.get_client()\n"
            "from dask.distributed import default_client\nprint('LINK', default_client().dashboard_link)\n"
            "client.close()\ncluster.close()",
        )
    assert "SUM 3" in worked.text, worked.text
    [line] = [line for line in found.text.splitlines() if line.startswith("LINK")] or [found.text]
    check = checked(ask, line.split()[1].split("status")[0])
    assert check["isActive"] is True, line


def test_the_load_decides(ask: Ask) -> None:
    """Its manager does not await `adapt`, keeps what it gives, and asks that for the bounds."""
    cluster = f"clusters/{ask('PUT', 'clusters')['id']}"
    told = ask("PATCH", cluster, {"adapt": {"minimum": 1, "maximum": 2}})
    assert told["adapt"] == {"minimum": 1, "maximum": 2}
    eventually("one worker", lambda: ask("GET", cluster)["workers"] == 1, 90)
    assert "adapt" not in ask("PATCH", cluster, {"workers": 0})
    eventually("no worker", lambda: ask("GET", cluster)["workers"] == 0, 60)
