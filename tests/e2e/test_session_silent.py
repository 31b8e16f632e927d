"""A session has taken an order and is silent: neither a cluster's end nor the gateway's waits for it."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.conftest import Connect
from tests.support.gateway import GatewayServer
from tests.support.sessions import SESSIONS
from tests.support.waiting import eventually

from htcdaskgateway import HTCGateway
from htcdaskgateway.errors import HTCDaskError

pytestmark = pytest.mark.condor

SOON = 15.0  # seconds; an order may take 60, and the look before a cluster's end 30


class Session:
    """One that answers what it wants to: only its requests are real."""

    def __init__(self, server: GatewayServer, cluster: str) -> None:
        self._url = f"{server.url}/api/v1/clusters/{cluster}/session"
        self._id = uuid.uuid4().hex
        self._queries: list[str] = []  # not answered

    def poll(self, results: dict[str, object], wait: float = 1.0) -> list[dict[str, Any]]:
        """Answer these orders, by their ids; what is asked next."""
        answers = [{"order": name, "schedd": "nowhere", "ok": ok} for name, ok in results.items()]
        body = {"session": self._id, "about": {}, "results": answers, "wait": wait}
        basic = base64.b64encode(b"analyst:").decode()
        request = urllib.request.Request(
            self._url, json.dumps(body).encode(), {"Authorization": f"Basic {basic}"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            orders: list[dict[str, Any]] = json.load(answer)["orders"]
        self._queries = [order["id"] for order in orders if order["op"] == "query"]
        return orders

    def taken(self, op: str) -> str:
        """Find an empty queue until it is this that is asked; the order's id, not answered."""

        def asked() -> str:
            orders = self.poll({name: [] for name in self._queries})
            return next((str(order["id"]) for order in orders if order["op"] == op), "")

        return eventually(f"an order to {op}", asked, 30)


def running_cluster(client: HTCGateway) -> str:
    """Make one of which no session knows."""
    name = str(client.submit())
    eventually("it runs", lambda: client.list_clusters(status="running"), 60)
    return name


def seconds_to_end(server: GatewayServer) -> float:
    started = time.monotonic()
    server.kill(signal.SIGTERM)
    return time.monotonic() - started


@pytest.mark.parametrize("op", ["query", "submit"])
def test_the_gateway_ends(gateway: Callable[..., GatewayServer], connect: Connect, op: str) -> None:
    server = gateway(SESSIONS)
    client = connect(server)
    name = running_cluster(client)
    session = Session(server, name)
    if op == "submit":
        client.adapt_cluster(name, minimum=2, maximum=2)
    session.taken(op)
    assert seconds_to_end(server) < SOON


def test_a_cluster_ends_though_its_gateway_was_killed_meanwhile(
    gateway: Callable[..., GatewayServer], connect: Connect
) -> None:
    """Its submit is answered when it ends already, so its records say that workers were submitted."""
    server = gateway(SESSIONS, external=True)
    client = connect(server)
    name = running_cluster(client)
    session = Session(server, name)
    session.taken("query")  # it is attached: who asks for workers is not refused

    def scale() -> None:
        with contextlib.suppress(HTCDaskError):  # as it comes: cluster and gateway end
            client.scale_cluster(name, 2)

    scaling = threading.Thread(target=scale)
    scaling.start()
    order = session.taken("submit")
    client.stop_cluster(name)
    session.poll({order: ["1.0", "1.1"]})  # what is asked then is not answered
    server.kill()
    scaling.join(30)
    server.start()
    again = connect(server)
    eventually("it has ended", lambda: again.list_clusters(status="stopped"), SOON)
    assert seconds_to_end(server) < SOON
