"""Which orders belong to which cluster."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from htcdaskgateway.server.orders import NotAnsweredError
from htcdaskgateway.server.sessions import Sessions

CLUSTER: Any = SimpleNamespace(name="c1", username="alice")


def test_a_session_tells_of_itself_while_it_is_attached() -> None:
    sessions = Sessions(lease=60, timeout=60)
    assert sessions.about(CLUSTER) is None
    orders = sessions.orders(CLUSTER)
    assert orders is sessions.orders(CLUSTER)
    assert sessions.about(CLUSTER) is None
    orders.poll("s", {"host": "h"}, time.monotonic())
    assert sessions.about(CLUSTER) == {"host": "h"}
    orders.poll("s", {"host": "h"}, time.monotonic() - 61)
    assert sessions.about(CLUSTER) is None
    sessions.forget("c1")
    assert orders is not sessions.orders(CLUSTER)


async def test_nobody_is_waited_for_when_the_gateway_ends() -> None:
    import asyncio

    sessions = Sessions(lease=60, timeout=60)
    orders = sessions.orders(CLUSTER)
    orders.poll("s", {}, time.monotonic())
    asked = asyncio.ensure_future(orders.ask({"op": "query"}, time.monotonic(), 60))
    await asyncio.sleep(0)
    assert orders.take("s")
    sessions.dismiss()
    with pytest.raises(NotAnsweredError):
        await asyncio.wait_for(asked, 5)
    assert orders.arrived.is_set()


def test_its_schedd_is_the_one_that_has_the_jobs() -> None:
    sessions = Sessions(lease=60, timeout=7)
    schedd = sessions.schedd(CLUSTER, "s@h")
    assert (schedd.name, schedd.user, schedd.timeout) == ("s@h", "alice", 7)
    assert schedd.orders is sessions.orders(CLUSTER)
