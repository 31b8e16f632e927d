"""What a session says and does, against a gateway that the test plays, with the test's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from htcdaskgateway.client import conversation as module
from htcdaskgateway.client.conversation import Conversation, TooLargeError, awake, one_line
from htcdaskgateway.errors import AuthenticationError, GatewayUnreachableError, SandboxError

Body = dict[str, Any]


class Gateway:
    """Every poll waits for the test: ``body = await gateway.poll()``, then ``gateway.say(...)``."""

    def __init__(self) -> None:
        self.now = 0.0
        self._polls: asyncio.Queue[tuple[Body, asyncio.Future[object]]] = asyncio.Queue()
        self._answer: asyncio.Future[object] | None = None
        self.gates: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []

    async def post(self, body: Body) -> object:
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        await self._polls.put((body, answer))
        return await answer

    async def poll(self, seconds: float = 3.0) -> Body:
        body, self._answer = await asyncio.wait_for(self._polls.get(), seconds)
        return body

    def say(self, *orders: str, role: str = "submitter", lease: float = 60.0) -> None:
        told = [{"id": name, "op": "query"} for name in orders]
        self.answer({"role": role, "lease": lease, "orders": told})

    def answer(self, answer: object) -> None:
        assert self._answer is not None
        self._answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        assert self._answer is not None
        self._answer.set_exception(error)

    async def carry_out(self, order: Mapping[str, Any]) -> dict[str, Any]:
        self.begun.append(order["id"])
        if order["id"] in self.gates:
            await self.gates[order["id"]].wait()
        return {"order": order["id"], "schedd": "s@h", "ok": []}


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def talk(gateway: Gateway) -> AsyncIterator[Conversation]:
    it = Conversation(gateway.post, gateway.carry_out, {"host": "h"}, clock=lambda: gateway.now)
    task = asyncio.ensure_future(it.run())
    yield it
    task.cancel()
    await asyncio.wait([task], timeout=3)
    assert task.done()


def told(body: Body) -> list[str]:
    return [result["order"] for result in body["results"]]


async def test_the_first_poll_asks_for_the_lease_and_the_next_ones_wait(
    gateway: Gateway, talk: Conversation
) -> None:
    first = await gateway.poll()
    assert first == {"session": talk.session, "about": {"host": "h"}, "results": [], "have": [], "wait": 0.0}
    gateway.say(lease=30)
    assert (await gateway.poll())["wait"] == 10
    gateway.now = 10
    gateway.say(lease=600)
    assert (await gateway.poll())["wait"] == module.LONG_POLL
    assert (talk.role, talk.trouble) == ("submitter", "")


async def test_orders_in_hand_are_told(gateway: Gateway, talk: Conversation) -> None:
    gateway.gates = {name: asyncio.Event() for name in "ab"}
    await gateway.poll()
    gateway.say("a", "b", "c", lease=0.3)
    body = await gateway.poll()  # renews the lease while it works
    assert (body["have"], body["wait"], told(body)) == (["a", "b", "c"], 0.0, [])
    gateway.say()
    gateway.gates["a"].set()
    body = await gateway.poll()
    assert (body["have"], body["wait"], told(body)) == (["b", "c", "a"], 0.0, ["a"])
    gateway.fail(GatewayUnreachableError("http://g", "refused"))
    body = await gateway.poll()
    assert told(body) == ["a"]  # until it is known
    gateway.say()
    gateway.gates["b"].set()
    body = await gateway.poll()
    assert told(body) == ["b", "c"]
    gateway.say()
    assert told(await gateway.poll()) == []
    assert gateway.begun == ["a", "b", "c"]


async def test_an_order_that_comes_twice_is_carried_out_once(gateway: Gateway, talk: Conversation) -> None:
    await gateway.poll()
    gateway.say("a")
    assert told(await gateway.poll()) == ["a"]
    gateway.say("a", "b")
    assert told(await gateway.poll()) == ["b"]
    assert gateway.begun == ["a", "b"]


async def test_what_was_fetched_before_a_sleep_is_not_begun_after_it(
    gateway: Gateway, talk: Conversation
) -> None:
    gateway.gates = {"a": asyncio.Event()}
    await gateway.poll()
    gateway.say("a", "b", lease=0.3)
    await gateway.poll()
    gateway.now = 3600
    gateway.gates["a"].set()
    await asyncio.sleep(0.05)
    assert gateway.begun == ["a"]
    gateway.fail(ConnectionResetError("the network slept, too"))
    body = await gateway.poll()
    # Where nobody took over the gateway waits for them: one was done, one was not begun.
    assert told(body) == ["a", "b"]
    assert "error" in body["results"][1]
    assert talk.trouble == "ConnectionResetError: the network slept, too"


async def test_who_lost_the_lease_begins_nothing(gateway: Gateway, talk: Conversation) -> None:
    gateway.gates = {"a": asyncio.Event()}
    await gateway.poll()
    gateway.say("a", "b", lease=0.3)
    await gateway.poll()
    gateway.say(role="watcher")
    await asyncio.sleep(0.05)
    gateway.gates["a"].set()
    await asyncio.sleep(0.05)
    assert gateway.begun == ["a"]


async def test_the_lease_counts_from_when_the_poll_was_sent(gateway: Gateway, talk: Conversation) -> None:
    await gateway.poll()
    gateway.now = 61  # the answer took as long
    gateway.say("a", lease=60)
    await gateway.poll()
    assert gateway.begun == []


@pytest.mark.parametrize(
    "answer",
    [
        None, [], "ok", {}, {"role": "submitter"}, {"role": "submitter", "lease": "60", "orders": []},
        {"role": 1, "lease": 60, "orders": []}, {"role": "submitter", "lease": 60, "orders": ["a"]},
        {"role": "submitter", "lease": 60, "orders": [{"op": "query"}]},
        {"role": "submitter", "lease": 60, "orders": {"id": "a"}},
    ],
)  # fmt: skip
async def test_what_is_no_gateway_of_ours(gateway: Gateway, talk: Conversation, answer: object) -> None:
    await gateway.poll()
    gateway.answer(answer)
    await gateway.poll()
    assert "The answer is none of a gateway of this package" in talk.trouble
    assert gateway.begun == []


async def test_pauses_grow_while_nobody_answers(
    gateway: Gateway, talk: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for _ in range(12):
        await gateway.poll()
        gateway.fail(OSError("no route"))
    await gateway.poll()
    assert 0.3 < pauses[0] < 0.7
    assert all(3.7 < pause < 6.3 for pause in pauses[6:])


async def test_a_gateway_that_does_not_wait_is_not_asked_all_the_time(
    gateway: Gateway, talk: Conversation
) -> None:
    started = asyncio.get_running_loop().time()
    for _ in range(4):
        await gateway.poll()
        gateway.say(role="watcher")
    await gateway.poll()
    assert asyncio.get_running_loop().time() - started > 2.5 * module.SHORT


@pytest.mark.parametrize(
    "error", [AuthenticationError("http://g", 401, "who are you"), AuthenticationError("http://g", 403, "no")]
)
async def test_a_refusal_is_final(gateway: Gateway, talk: Conversation, error: Exception) -> None:
    await gateway.poll()
    gateway.fail(error)
    await asyncio.sleep(0.05)
    assert talk.role == "done"
    assert talk.trouble == one_line(error)
    with pytest.raises(asyncio.TimeoutError):
        await gateway.poll(0.1)


async def test_answers_that_are_too_large_are_replaced(gateway: Gateway, talk: Conversation) -> None:
    await gateway.poll()
    gateway.say("a")
    await gateway.poll()
    gateway.fail(TooLargeError("100 MB"))
    (result,) = (await gateway.poll())["results"]
    assert (result["order"], result["error"]["kind"]) == ("a", "silent")  # it may have acted
    assert "too large: 100 MB" in result["error"]["words"]


async def test_leaving_interrupts_a_poll_and_says_goodbye(gateway: Gateway, talk: Conversation) -> None:
    await gateway.poll()
    gateway.say()
    await gateway.poll()
    talk.leave()
    body = await gateway.poll(0.5)
    assert body["leave"] is True
    gateway.say(role="done")


async def test_leaving_finishes_what_was_begun_and_begins_nothing(
    gateway: Gateway, talk: Conversation
) -> None:
    gateway.gates = {"a": asyncio.Event()}
    await gateway.poll()
    gateway.say("a", "b")
    await asyncio.sleep(0.05)
    talk.leave()
    await asyncio.sleep(0.05)
    gateway.gates["a"].set()
    body = await gateway.poll(0.5)
    assert (body["leave"], told(body)) == (True, ["a"])
    assert gateway.begun == ["a"]


async def test_it_polls_again_when_it_is_told_to(gateway: Gateway, talk: Conversation) -> None:
    await gateway.poll()
    gateway.say()
    assert (await gateway.poll())["wait"] == module.LONG_POLL
    talk.poll_again()  # this one is lost: the machine slept
    assert (await gateway.poll(0.3))["wait"] == 0
    gateway.say()
    assert (await gateway.poll(0.3))["wait"] == module.LONG_POLL
    for _ in range(3):
        gateway.fail(OSError("no route"))
        assert (await gateway.poll())["wait"] == 0
    gateway.fail(OSError("no route"))
    await asyncio.sleep(0.05)
    talk.poll_again()
    await gateway.poll(0.3)  # whatever is left of the pause
    gateway.say()
    await gateway.poll()
    assert talk.heard == 3


async def test_a_watcher_has_nothing_to_give_back(gateway: Gateway, talk: Conversation) -> None:
    await gateway.poll()
    gateway.say(role="watcher")
    await gateway.poll()
    talk.leave()
    with pytest.raises(asyncio.TimeoutError):
        await gateway.poll(0.1)


def test_a_clock_that_goes_on() -> None:
    assert awake() <= awake()


def test_in_one_line() -> None:
    assert one_line(SandboxError("/s", "No\nspace")) == "The sandbox /s cannot be written. No space"
    assert one_line(asyncio.TimeoutError()) == "TimeoutError"
    assert one_line(OSError(2, "No such file")) == "FileNotFoundError: [Errno 2] No such file"
