"""What a session and the gateway say to each other about one cluster: polls, orders, results.

No thread, no network and no HTCondor of its own. Orders are carried out one after the other beside the
polls, which keep the lease meanwhile. An order is begun only while this session has the lease by its own
clock: what was fetched before the machine slept may have been given to somebody else since.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from htcdaskgateway.client.errors import RefusedError
from htcdaskgateway.condor.wire import error_to_json
from htcdaskgateway.errors import (
    AuthenticationError,
    CondorError,
    HTCDaskError,
    InvalidRequestError,
    ScheddSilentError,
    ScheddUnavailableError,
)

LONG_POLL = 20.0  # seconds that the gateway may hold a poll
SLACK = 15.0  # seconds that a request may take besides
LONGEST_PAUSE = 5.0  # seconds between two tries while no gateway answers
SHORT = 0.5  # seconds between two polls that the gateway answers at once, and with nothing
LEAVE_SECONDS = 45.0  # that the present order may still take when the session leaves
GOODBYE_SECONDS = 5.0
ENDED_SECONDS = 2.0  # after the end of a session's process, in which what it began ends, too
DONE = "done"
SUBMITTER = "submitter"

FINAL = (AuthenticationError, InvalidRequestError, RefusedError)

Post = Callable[[dict[str, Any]], Awaitable[object]]
CarryOut = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


def awake() -> float:
    """Seconds on a clock that goes on while the machine sleeps, which `time.monotonic` does not."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time() if boot is None else time.clock_gettime(boot)


class Conversation:
    """One session's part for one cluster.

    Parameters
    ----------
    post : callable
        Sends a body, gives the answer's. What is in `FINAL` ends it all; after anything else that it
        raises it is called again.
    carry_out : callable
        Order to result; raises nothing.
    about : mapping of str to str
        What the gateway is told of this session.
    clock : callable
    has_ended : callable, optional
        Whether the process that another session says to be has ended: then there is no lease to wait for.

    Attributes
    ----------
    role : str
        ``submitter``, ``watcher`` or ``done``; empty before the first answer.
    trouble : str
        Why the last poll failed, in one line; empty if it did not.
    heard : int
        How often the gateway has answered.
    """

    def __init__(
        self,
        post: Post,
        carry_out: CarryOut,
        about: Mapping[str, str],
        clock: Callable[[], float] = awake,
        has_ended: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.session = uuid.uuid4().hex
        self.role = self.trouble = ""
        self.lease = 0.0
        self.heard = 0
        self._post, self._carry_out, self._about, self._clock = post, carry_out, dict(about), clock
        self._orders: dict[str, Mapping[str, Any]] = {}  # the first one is being carried out
        self._results: dict[str, Mapping[str, Any]] = {}  # that the gateway does not know yet
        self._done: deque[str] = deque(maxlen=1000)  # each order is carried out once, however often it comes
        self._until = -math.inf  # our lease, by our clock
        self._has_ended = has_ended
        self._holder = ""  # the process of the session that has the lease
        self._ended_since = math.inf  # seen by our clock
        self._failures = 0
        self._idle = False  # the gateway had nothing, and said so at once
        self._fetched, self._answered, self._leaving = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._again = asyncio.Event()

    def poll_again(self) -> None:
        """Poll now, whatever is being waited for: somebody relies on it that the gateway knows of us."""
        self._again.set()

    def leave(self, after: float = 0.0) -> None:
        """Give the lease back after so many seconds, unless the gateway has said ``done`` before."""
        asyncio.get_running_loop().call_later(after, self._leaving.set)

    async def run(self) -> None:
        """Go on until the gateway says ``done`` or refuses, or this session leaves."""
        work = asyncio.ensure_future(self._work())
        try:
            while self.role != DONE and not self._leaving.is_set():
                hurried = self._again.is_set()
                self._again.clear()
                await self._unless_told(self._exchange(hurried))
                await self._unless_told(self._pause())
            if self.role == SUBMITTER:
                await self._say_goodbye()
        except FINAL as error:
            self.role, self.trouble = DONE, one_line(error)
        finally:
            work.cancel()
            await asyncio.wait([work])

    async def _exchange(self, hurried: bool = False) -> None:
        """One poll; a hurried one is answered at once, and so is the first one after a failure."""
        # Also of orders from before the lease ended: where nobody took over, the gateway waits for them.
        sent, results = self._clock(), dict(self._results)
        ended = self._holder != "" and self._has_ended(self._holder)
        self._ended_since = min(sent, self._ended_since) if ended else math.inf
        # The first one asks for the length of the lease; while there is work, answers are not to wait.
        at_once = self._orders or ended or hurried or self._failures
        wait = 0.0 if at_once else min(LONG_POLL, self.lease / 3)
        body = {**self._body(results), "have": [*self._orders, *results], "wait": wait}
        if sent >= self._ended_since + ENDED_SECONDS:
            body["ended"] = self._holder
        try:
            answer = await asyncio.wait_for(self._post(body), wait + SLACK)
            self._read(answer, sent)
        except FINAL:
            raise
        except TooLargeError as error:
            self._results.update({name: _not_told(name, error) for name in results})
        except Exception as error:  # noqa: BLE001 - whatever the way there raises, the next poll tries again
            self._failures += 1
            self.trouble = one_line(error)
        else:
            self._failures, self.trouble, self.heard = 0, "", self.heard + 1
            self._results = {name: told for name, told in self._results.items() if name not in results}
            self._idle = wait > 0 and not self._orders and self._clock() - sent < SHORT

    def _body(self, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        return {"session": self.session, "about": self._about, "results": list(results.values())}

    def _read(self, answer: object, sent: float) -> None:
        if not isinstance(answer, Mapping):
            raise NotAGatewayError(str(type(answer).__name__))
        role, lease, orders = (answer.get(name) for name in ("role", "lease", "orders"))
        if not (isinstance(role, str) and isinstance(lease, (int, float)) and isinstance(orders, list)):
            raise NotAGatewayError(", ".join(map(str, answer))[:100])
        if not all(isinstance(order, Mapping) and isinstance(order.get("id"), str) for order in orders):
            raise NotAGatewayError("an order without id")
        self.role, self.lease = role, max(0.0, float(lease))
        self._until = sent + self.lease if role == SUBMITTER else -math.inf
        self._holder = str(answer.get("holder", ""))
        fresh = {order["id"]: order for order in orders if order["id"] not in self._done}
        if fresh:
            self._orders.update(fresh)
            self._fetched.set()

    async def _pause(self) -> None:
        if self._failures:
            pause = min(LONGEST_PAUSE, SHORT * 2 ** min(self._failures - 1, 10))
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - not all sessions at once
        elif self._orders and not self._results:
            self._answered.clear()
            await _wait(self._answered, max(SHORT, self.lease / 3))
        elif self._idle or self._ended_since < math.inf:
            await asyncio.sleep(SHORT)

    async def _work(self) -> None:
        """Carry out the orders, one after the other."""
        while True:
            await self._fetched.wait()
            self._fetched.clear()
            while self._orders:
                name, order = next(iter(self._orders.items()))
                mine = self._clock() < self._until
                self._results[name] = await self._carry_out(order) if mine else _too_late(name)
                self._orders.pop(name, None)
                self._done.append(name)
                self._answered.set()

    async def _say_goodbye(self) -> None:
        """Finish what was begun, and give the lease back. The gateway may be away: it sees that in time."""
        self._orders = dict(list(self._orders.items())[:1])
        self._answered.clear()
        if self._orders:
            await _wait(self._answered, LEAVE_SECONDS)
        try:
            body = {**self._body(self._results), "leave": True}
            await asyncio.wait_for(self._post(body), GOODBYE_SECONDS)
        except Exception as error:  # noqa: BLE001 - there is nobody left to whom it matters
            self.trouble = one_line(error)

    async def _unless_told(self, step: Coroutine[Any, Any, None]) -> None:
        """Take a step, unless this session is to leave or to poll again before it is done."""
        steps = [asyncio.ensure_future(one) for one in (step, self._leaving.wait(), self._again.wait())]
        try:
            await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
            if steps[0].done():
                steps[0].result()
        finally:
            for task in steps:
                task.cancel()
            await asyncio.wait(steps)


class TooLargeError(Exception):
    """The gateway takes no body as large as that."""


class NotAGatewayError(Exception):
    """What answers is no gateway that gives orders."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The answer is none of a gateway of this package: {what}")


def one_line(error: Exception) -> str:
    """Say it in one line: the sentence and the foreign words."""
    if isinstance(error, HTCDaskError):
        return " ".join(f"{error.sentence} {getattr(error, 'words', '')}".split())
    return " ".join(f"{type(error).__name__}: {error}".split())[:500].removesuffix(":")


def _too_late(name: str) -> dict[str, Any]:
    words = "the session had lost its lease before it could begin"
    return _failed(name, ScheddUnavailableError("", words))


def _not_told(name: str, error: TooLargeError) -> dict[str, Any]:
    return _failed(name, ScheddSilentError("", "an order", 0, f"its answer is too large: {error}"))


def _failed(name: str, error: CondorError) -> dict[str, Any]:
    return {"order": name, "schedd": "", "error": error_to_json(error)}


async def _wait(event: asyncio.Event, seconds: float) -> None:
    timer = asyncio.get_running_loop().call_later(seconds, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
