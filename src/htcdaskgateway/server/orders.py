"""What the gateway asks of a cluster's session, and which session it asks. No I/O: time is an argument.

A session is a Python process of the cluster's owner. It fetches orders by long-polling. One session at a
time has the lease of a cluster and gets its orders; it keeps the lease by polling, and another one gets
it when the time is over.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


class NoSessionError(Exception):
    """No session has the lease: nothing was asked of anybody."""


class NotTakenError(Exception):
    """No session fetched the order in time: nothing was done."""


class NotAnsweredError(Exception):
    """A session fetched the order and has not answered: whether it acted is unknown."""


@dataclass
class _Order:
    what: Mapping[str, Any] = field(repr=False)
    answer: asyncio.Future[Mapping[str, Any] | None]  # None: there will be none
    taken: bool = False


class Orders:
    """Orders for one cluster.

    Parameters
    ----------
    lease : float
        Seconds without a poll after which another session gets the lease.
    """

    def __init__(self, lease: float) -> None:
        self.lease = lease
        self.holder = ""
        self.about: Mapping[str, Any] = {}
        self.arrived = asyncio.Event()  # orders that nobody has fetched
        self.vacant = asyncio.Event()  # the lease was given back
        self._until = 0.0
        self._orders: dict[str, _Order] = {}

    def attached(self, now: float) -> bool:
        """Whether a session has the lease."""
        return bool(self.holder) and now < self._until

    def seconds_left(self, now: float) -> float:
        return max(0.0, self._until - now) if self.holder else 0.0

    def poll(self, session: str, about: Mapping[str, Any], now: float) -> bool:
        """A session says that it is there; whether it has the lease now."""
        if session != self.holder:
            if self.attached(now):
                return False
            self._hand_over(session)
        self._until, self.about = now + self.lease, about
        return True

    def leave(self, session: str) -> None:
        """A session gives its lease back."""
        if session == self.holder:
            self._hand_over("")

    def close(self) -> None:
        """Let nobody wait any longer: no session can be heard any more."""
        self._hand_over("")
        for order in self._orders.values():
            if not order.answer.done():
                order.answer.set_result(None)
        self.arrived.set()

    def take(self, session: str, have: Collection[str] | None = None) -> list[dict[str, Any]]:
        """Orders that this session has not fetched yet.

        Parameters
        ----------
        session : str
        have : collection of str, optional
            Ids of the orders that it says to have. Others that were given to it were lost on the way, and
            are given again: it has not begun with what it does not know of.
        """
        if session != self.holder:
            return []
        fresh = [
            (name, order)
            for name, order in self._orders.items()
            if not order.answer.done() and (not order.taken or (have is not None and name not in have))
        ]
        for _, order in fresh:
            order.taken = True
        self.arrived.clear()
        return [{"id": name, **order.what} for name, order in fresh]

    def answer(self, session: str, results: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Take answers; those to unknown orders, or of a session without the lease, are left out.

        What such a session has done all the same is found in the queue, by the jobs' own attributes.
        """
        if session != self.holder:
            return
        for name, result in results:
            order = self._orders.get(name)
            if order is not None and order.taken and not order.answer.done():
                order.answer.set_result(result)

    async def ask(self, what: Mapping[str, Any], now: float, seconds: float) -> Mapping[str, Any]:
        """Give an order and wait for its answer.

        Raises
        ------
        NoSessionError, NotTakenError, NotAnsweredError
        """
        if not self.attached(now):
            raise NoSessionError
        name = uuid.uuid4().hex
        order = self._orders[name] = _Order(what, asyncio.get_running_loop().create_future())
        self.arrived.set()
        try:
            await asyncio.wait([order.answer], timeout=seconds)
            if order.answer.done() and (answer := order.answer.result()) is not None:
                return answer
            raise NotAnsweredError if order.taken else NotTakenError
        finally:
            del self._orders[name]
            order.answer.cancel()

    def _hand_over(self, session: str) -> None:
        """Orders that the former holder took are lost; the others are for the next one."""
        self.holder = session
        self._until = 0.0
        for order in self._orders.values():
            if order.taken and not order.answer.done():
                order.answer.set_result(None)
        if session:
            self.vacant.clear()
        else:
            self.vacant.set()
