"""Who has the lease, and what becomes of orders."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from htcdaskgateway.server.orders import NoSessionError, NotAnsweredError, NotTakenError, Orders

A, B = "a" * 32, "b" * 32
Answer = Mapping[str, Any]


@pytest.fixture
async def orders() -> Orders:
    return Orders(lease=60)


async def asked(orders: Orders, number: int = 1, seconds: float = 5) -> list[asyncio.Task[Answer]]:
    futures = [asyncio.create_task(orders.ask({"op": f"op{index}"}, 0.0, seconds)) for index in range(number)]
    await asyncio.sleep(0)
    return futures


# Each step: time, session, what it does, whether it has the lease afterwards.
LEASES = {
    "the first one gets it": [(0, A, "poll", True)],
    "the second one watches": [(0, A, "poll", True), (59, B, "poll", False)],
    "each poll renews it": [(0, A, "poll", True), (59, A, "poll", True), (118, B, "poll", False)],
    "a watcher does not renew it": [(0, A, "poll", True), (59, B, "poll", False), (60, B, "poll", True)],
    "it ends": [(0, A, "poll", True), (60, B, "poll", True), (61, A, "poll", False)],
    "late, but nobody came": [(0, A, "poll", True), (999, A, "poll", True), (1000, B, "poll", False)],
    "given back": [(0, A, "poll", True), (1, A, "leave", False), (1, B, "poll", True)],
    "only by its holder": [(0, A, "poll", True), (1, B, "leave", False), (2, B, "poll", False)],
    "taken again": [(0, A, "poll", True), (1, A, "leave", False), (2, A, "poll", True)],
}


@pytest.mark.parametrize("steps", LEASES.values(), ids=LEASES)
async def test_lease(orders: Orders, steps: list[tuple[float, str, str, bool]]) -> None:
    for now, session, what, has_it in steps:
        if what == "leave":
            orders.leave(session)
        else:
            assert orders.poll(session, {"host": session}, now) is has_it
        assert (orders.holder == session) is has_it
        if has_it:
            assert orders.attached(now)
            assert orders.seconds_left(now) == 60
            assert orders.about == {"host": session}


async def test_attached_as_long_as_the_lease(orders: Orders) -> None:
    assert not orders.attached(0)
    orders.poll(A, {}, 0)
    assert orders.attached(59.9)
    assert not orders.attached(60)
    orders.leave(A)
    assert not orders.attached(1)
    assert orders.seconds_left(1) == 0


async def test_orders_and_answers_find_each_other(orders: Orders) -> None:
    orders.poll(A, {}, 0)
    futures = await asked(orders, 3)
    taken = orders.take(A)
    assert [order["op"] for order in taken] == ["op0", "op1", "op2"]
    assert orders.take(A) == []
    orders.answer(A, [(order["id"], {"ok": order["op"]}) for order in reversed(taken)])
    assert [(await future)["ok"] for future in futures] == ["op0", "op1", "op2"]
    assert orders.take(A) == []


async def test_who_waits_for_orders_is_woken(orders: Orders) -> None:
    orders.poll(A, {}, 0)
    assert not orders.arrived.is_set()
    (future,) = await asked(orders)
    assert orders.arrived.is_set()
    orders.take(B)
    assert orders.arrived.is_set()  # it was not for B
    orders.take(A)
    assert not orders.arrived.is_set()
    future.cancel()


async def test_nobody_there(orders: Orders) -> None:
    with pytest.raises(NoSessionError):
        await orders.ask({"op": "query"}, 0.0, 5)
    orders.poll(A, {}, 0)
    with pytest.raises(NoSessionError):
        await orders.ask({"op": "query"}, 60.0, 5)
    assert not orders.arrived.is_set()


async def test_not_fetched_and_not_answered_are_not_the_same(orders: Orders) -> None:
    orders.poll(A, {}, 0)
    (future,) = await asked(orders, seconds=0.05)
    with pytest.raises(NotTakenError):
        await future
    (future,) = await asked(orders, seconds=0.05)
    (order,) = orders.take(A)
    with pytest.raises(NotAnsweredError):
        await future
    orders.answer(A, [(order["id"], {"ok": 1})])  # late: nobody waits for it
    assert orders.take(A, have=[]) == []


async def test_an_answer_counts_once_and_from_the_holder(orders: Orders) -> None:
    orders.poll(A, {}, 0)
    (future,) = await asked(orders)
    (order,) = orders.take(A)
    orders.answer(B, [(order["id"], {"ok": "of B"})])
    orders.answer(A, [("no such", {"ok": 1}), (order["id"], {"ok": "first"})])
    orders.answer(A, [(order["id"], {"ok": "second"})])
    assert await future == {"ok": "first"}


async def test_an_answer_to_what_was_not_fetched_is_none(orders: Orders) -> None:
    orders.poll(A, {}, 0)
    (future,) = await asked(orders)
    name = next(iter(orders._orders))
    orders.answer(A, [(name, {"ok": "guessed"})])
    assert not future.done()
    future.cancel()


async def test_the_next_session_gets_what_was_not_fetched_only(orders: Orders) -> None:
    orders.poll(A, {}, 0)
    (begun,) = await asked(orders)
    (taken,) = orders.take(A)
    (waiting,) = await asked(orders)
    orders.poll(B, {}, 60)
    with pytest.raises(NotAnsweredError):  # at once, and not after its deadline
        await asyncio.wait_for(begun, 0.5)
    orders.answer(A, [(taken["id"], {"ok": "late"})])
    (order,) = orders.take(B)
    assert orders.take(A) == []
    orders.answer(B, [(order["id"], {"ok": "of B"})])
    assert await waiting == {"ok": "of B"}


async def test_who_leaves_answers_no_more(orders: Orders) -> None:
    orders.poll(A, {}, 0)
    (begun,) = await asked(orders)
    orders.take(A)
    orders.leave(A)
    with pytest.raises(NotAnsweredError):
        await asyncio.wait_for(begun, 0.5)
    assert orders.vacant.is_set()
    orders.poll(B, {}, 1)
    assert not orders.vacant.is_set()


async def test_an_order_that_was_lost_on_the_way_is_given_again(orders: Orders) -> None:
    """The answer to the poll that fetched it never arrived; so the session does not know of it."""
    orders.poll(A, {}, 0)
    (future,) = await asked(orders)
    (lost,) = orders.take(A, have=[])
    assert orders.take(A, have=[lost["id"]]) == []
    assert orders.take(A) == []  # a session that does not say what it has
    assert orders.take(A, have=[]) == [lost]
    orders.answer(A, [(lost["id"], {"ok": 1})])
    assert orders.take(A, have=[]) == []  # even before who asked has taken notice
    assert await future == {"ok": 1}


async def test_who_asked_and_gave_up_leaves_nothing_behind(
    orders: Orders, caplog: pytest.LogCaptureFixture
) -> None:
    orders.poll(A, {}, 0)
    (future,) = await asked(orders)
    orders.take(A)
    orders.leave(A)
    future.cancel()  # in the same moment
    with pytest.raises(asyncio.CancelledError):
        await future
    assert orders._orders == {}
    assert caplog.text == ""


async def test_at_the_end_of_the_gateway_nobody_waits() -> None:
    orders = Orders(lease=60)
    orders.poll("a", {}, now=0)
    asked = asyncio.ensure_future(orders.ask({"op": "query"}, now=1, seconds=1000))
    await asyncio.sleep(0)
    orders.close()
    with pytest.raises(NotTakenError):
        await asyncio.wait_for(asked, 5)
    assert orders.arrived.is_set()
    assert orders.vacant.is_set()
    with pytest.raises(NoSessionError):
        await orders.ask({"op": "query"}, now=2, seconds=1000)
