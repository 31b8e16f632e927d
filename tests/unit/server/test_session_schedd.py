"""The schedd of a user, as the gateway sees it through a session."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from htcdaskgateway.condor import wire
from htcdaskgateway.condor.errors import OutputError
from htcdaskgateway.condor.schedd import Action, EndedJob, JobStatus, ObservedJob, SubmitDescription
from htcdaskgateway.errors import (
    ActionRefusedError,
    InvalidRequestError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)
from htcdaskgateway.server.orders import Orders
from htcdaskgateway.server.session_schedd import NoSessionAttachedError, SessionSchedd

SESSION = "a" * 32
DESCRIPTION = SubmitDescription({"executable": "/x"}, ("w1", "w2"))
MINE = ObservedJob("1.0", "c1", "w1", JobStatus.RUNNING, 5.0, "slot1@ep")
Reply = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Session:
    """Answers every order with what the test says, by op."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.said: dict[str, Any] = {"query": {"ok": [], "schedd": "s@h"}}
        self.heard: list[dict[str, Any]] = []

    async def run(self) -> None:
        while True:
            await self.orders.arrived.wait()
            for order in self.orders.take(SESSION):
                self.heard.append(order)
                if order["op"] in self.said:
                    self.orders.answer(SESSION, [(order["id"], self.said[order["op"]])])


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    orders = Orders(lease=1e9)
    orders.poll(SESSION, {}, 0)
    it = Session(orders)
    task = asyncio.ensure_future(it.run())
    yield it
    task.cancel()


@pytest.fixture
def schedd(session: Session) -> SessionSchedd:
    return SessionSchedd("c1", "alice", session.orders, 0.2)


async def test_submit(schedd: SessionSchedd, session: Session) -> None:
    session.said["submit"] = {"schedd": "s@h", "ok": ["7.0", "7.1"]}
    assert await schedd.submit(DESCRIPTION) == ["7.0", "7.1"]
    order = session.heard[-1]
    assert wire.description_from_json(order["description"]) == DESCRIPTION


async def test_the_choice_of_a_schedd_is_known_before_there_are_jobs(
    schedd: SessionSchedd, session: Session
) -> None:
    """Or jobs would be lost whose session ended in the middle of the submit."""
    with pytest.raises(ScheddSilentError):  # the session is gone
        await schedd.submit(DESCRIPTION)
    assert [(order["op"], order["schedd"]) for order in session.heard] == [("query", ""), ("submit", "s@h")]
    assert schedd.name == "s@h"
    session.said["query"] = {"ok": [], "schedd": "another@h"}
    await schedd.query("g")
    assert schedd.name == "s@h"
    assert session.heard[-1]["schedd"] == "s@h"


async def test_nothing_is_submitted_where_no_schedd_could_be_chosen(
    schedd: SessionSchedd, session: Session
) -> None:
    del session.said["query"]
    with pytest.raises(ScheddUnavailableError, match="did not answer a query"):  # of two sessions
        await schedd.submit(DESCRIPTION)
    session.said["query"] = {
        "error": {"kind": "unavailable", "schedd": "s@h", "words": "busy"},
        "schedd": "s@h",
    }
    with pytest.raises(ScheddUnavailableError, match="busy"):
        await schedd.submit(DESCRIPTION)
    assert schedd.name == ""  # so that another one can be chosen
    assert {order["op"] for order in session.heard} == {"query"}


async def test_who_takes_over_is_asked_where_the_first_one_ended() -> None:
    orders = Orders(lease=0.1)
    orders.poll("b" * 32, {}, time.monotonic())
    submit = asyncio.ensure_future(SessionSchedd("c1", "alice", orders, 5).submit(DESCRIPTION))
    await asyncio.sleep(0.05)
    [lost] = orders.take("b" * 32)
    assert lost["op"] == "query"
    await asyncio.sleep(0.1)
    orders.lease = 1e9
    orders.poll(SESSION, {}, time.monotonic())
    session = Session(orders)
    session.said["submit"] = {"schedd": "s@h", "ok": ["7.0", "7.1"]}
    answering = asyncio.ensure_future(session.run())
    assert await asyncio.wait_for(submit, 5) == ["7.0", "7.1"]
    assert [order["op"] for order in session.heard] == ["query", "submit"]
    answering.cancel()


async def test_lost_jobs_are_sought(schedd: SessionSchedd, session: Session) -> None:
    session.said["query"] = {"schedd": "", "ok": []}
    await schedd.settle("g", ["c1"])
    await schedd.settle("g", [])
    session.said["query"] = {"schedd": "s@h", "ok": wire.jobs_to_json([MINE])}
    await schedd.settle("g", ["c1"])
    await schedd.settle("g", ["c1"])  # no more to be found out
    told = [(order["gateway"], order["cluster"], order["seek"]) for order in session.heard]
    assert told == [("g", "c1", True), ("nobody", "c1", False), ("g", "c1", True)]
    assert schedd.name == "s@h"


async def test_a_schedd_that_is_known_is_told(session: Session) -> None:
    schedd = SessionSchedd("c1", "alice", session.orders, 0.2, schedd="old@h")
    session.said["submit"] = {"schedd": "old@h", "ok": ["7.0", "7.1"]}
    await schedd.submit(DESCRIPTION)
    assert [(order["op"], order["schedd"]) for order in session.heard] == [("submit", "old@h")]


async def test_only_this_clusters_jobs(schedd: SessionSchedd, session: Session) -> None:
    other = ObservedJob("2.0", "c2", "w1", JobStatus.RUNNING)
    session.said["query"] = {"schedd": "s@h", "ok": wire.jobs_to_json([MINE, other])}
    assert await schedd.query("g") == [MINE]
    assert await schedd.query("g", "c1") == [MINE]
    assert await schedd.query("g", "c2") == []
    assert {(order["gateway"], order["cluster"]) for order in session.heard} == {("g", "c1")}


async def test_only_the_jobs_that_were_asked_for(schedd: SessionSchedd, session: Session) -> None:
    jobs = [EndedJob("1.0", JobStatus.COMPLETED, 0), EndedJob("9.9", JobStatus.COMPLETED, 1)]
    session.said["ended"] = {"ok": wire.jobs_to_json(jobs)}
    session.said["fetch"] = {"ok": ["1.0", "9.9"]}
    assert await schedd.ended(["01.0"]) == jobs[:1]
    assert await schedd.fetch(["1.0"], "/gateway/s") == ["1.0"]
    assert "/gateway/s" not in str(session.heard)  # the session has a sandbox of its own


async def test_nothing_to_do_asks_nobody(schedd: SessionSchedd, session: Session) -> None:
    assert await schedd.act(Action.REMOVE, []) == 0
    assert await schedd.ended([]) == []
    assert await schedd.fetch([]) == []
    for call in (schedd.ended, schedd.fetch, lambda ids: schedd.act(Action.HOLD, ids)):
        with pytest.raises(InvalidRequestError, match="'-all' is not a job id"):
            await call(["-all"])
    assert session.heard == []


async def test_nobody_attached() -> None:
    schedd = SessionSchedd("c1", "alice", Orders(60), 0.2)
    with pytest.raises(ScheddUnavailableError) as caught:
        await schedd.query("g")
    error = caught.value
    assert isinstance(error, NoSessionAttachedError)
    assert str(error) == (
        "No session of alice is attached to cluster c1, so no jobs can be submitted.\n"
        "HTCGateway().connect('c1') in a session of alice attaches one."
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


async def test_not_fetched(session: Session) -> None:
    orders = Orders(1e9)
    orders.poll(SESSION, {}, 0)
    schedd = SessionSchedd("c1", "alice", orders, 0.05, schedd="s@h")
    with pytest.raises(
        ScheddUnavailableError, match=r"the session of alice did not fetch the order in 0\.05 s"
    ):
        await schedd.submit(DESCRIPTION)


CALLS: dict[str, Callable[[SessionSchedd], Awaitable[object]]] = {
    "submit": lambda schedd: schedd.submit(DESCRIPTION),
    "query": lambda schedd: schedd.query("g"),
    "act": lambda schedd: schedd.act(Action.REMOVE, ["1.0"]),
    "ended": lambda schedd: schedd.ended(["1.0"]),
    "fetch": lambda schedd: schedd.fetch(["1.0"]),
}
OF_ALL = {"unavailable": ScheddUnavailableError, "silent": ScheddSilentError}
OF_ONE = {
    "refused": ("submit", SubmitRefusedError),
    "action-refused": ("act", ActionRefusedError),
    "output": ("fetch", OutputError),
}


@pytest.mark.parametrize("op", CALLS)
@pytest.mark.parametrize("kind", [*OF_ALL, *OF_ONE])
async def test_errors(session: Session, op: str, kind: str) -> None:
    """What an order cannot meet is no answer: whether the session acted is then unknown."""
    schedd = SessionSchedd("c1", "alice", session.orders, 0.2, schedd="s@h")
    session.said[op] = {"error": {"kind": kind, "schedd": "s@h", "words": "foreign words"}}
    where, of_one = OF_ONE.get(kind, ("", ScheddSilentError))
    expected: type[Exception] = OF_ALL.get(kind, of_one if op == where else ScheddSilentError)
    with pytest.raises(expected) as caught:
        await CALLS[op](schedd)
    assert type(caught.value) is expected
    if kind in OF_ALL or op == where:
        assert "foreign words" in str(caught.value)


@pytest.mark.parametrize("op", CALLS)
@pytest.mark.parametrize(
    "reply", [{}, {"ok": None}, {"ok": {}}, {"ok": [1]}, {"ok": "1"}, {"error": 1}, {"ok": -1}]
)
async def test_nonsense_is_silence(session: Session, op: str, reply: dict[str, Any]) -> None:
    schedd = SessionSchedd("c1", "alice", session.orders, 0.2, schedd="s@h")
    session.said[op] = reply
    with pytest.raises(ScheddSilentError, match="what the session of alice answered cannot be used: "):
        await CALLS[op](schedd)


async def test_a_name_that_is_none(session: Session) -> None:
    schedd = SessionSchedd("c1", "alice", session.orders, 0.2)
    session.said["query"] = {"ok": [], "schedd": ["s@h"]}
    with pytest.raises(ScheddSilentError):
        await schedd.query("g")
    session.said["query"] = {"ok": [], "schedd": "s@h\x1b[2J" + "x" * 999}
    await schedd.query("g")
    assert len(schedd.name) == 255
    assert "\x1b" not in schedd.name
