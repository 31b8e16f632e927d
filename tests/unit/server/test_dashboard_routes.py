"""Links of the Dask panel lead to dashboards, whatever is before them in the address that a browser sees."""

from __future__ import annotations

from urllib.parse import urljoin

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from htcdaskgateway.server.dashboard_routes import routes

NAME = "315cb362d1614f73bb89c27f6737b6e7"
PATHS = [
    (f"{NAME}/user/analyst/proxy/status", f"{NAME}/status"),
    (f"{NAME}/user/a%40b%2Fc/lab/proxy/individual-plots.json", f"{NAME}/individual-plots.json"),
    (f"{NAME}/proxy/individual-task-stream", f"{NAME}/individual-task-stream"),
    (f"{NAME}/user/proxy/proxy/x", f"{NAME}/x"),
    (f"{NAME}/user/analyst/proxy/statics/cluster-map.html", f"{NAME}/statics/cluster-map.html"),
    (f"{NAME}/user/analyst/proxy/statics/../b", ""),
    (f"{NAME}/status", ""),
    (f"{NAME}/user/analyst/proxy/", ""),
    (f"{NAME}/user/analyst/proxy/%2e%2e", ""),
    (f"{NAME}/user/analyst/proxy/a%2f..%2f..%2fb", ""),
    ("nobody/proxy/status", ""),
]


@pytest.mark.parametrize(("asked", "found"), PATHS, ids=[asked for asked, _ in PATHS])
async def test_sent_on(asked: str, found: str) -> None:
    """The gateway does not know what its proxy takes away in front of its paths."""
    app, path = web.Application(), f"/api/v1/dashboards/{asked}"
    app.add_routes(routes)
    async with TestServer(app) as server, TestClient(server) as client:
        url = URL(f"{server.make_url('/')}{path[1:]}", encoded=True)
        async with client.session.get(url, allow_redirects=False) as answer:
            assert answer.status == (302 if found else 404)
            location = answer.headers.get("Location", "")
    if found:
        for prefix in ("", "/services/dask-gateway"):
            browser = f"https://hub.example.org{prefix}"
            assert urljoin(browser + path, location) == f"{browser}/clusters/{found}"
