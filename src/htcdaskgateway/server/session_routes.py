"""Where a session fetches its orders: ``POST /api/v1/clusters/{name}/session``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from dask_gateway_server.routes import api_handler

from htcdaskgateway.condor.wire import NotAnAnswerError
from htcdaskgateway.server.requests import owned_cluster

if TYPE_CHECKING:
    from htcdaskgateway.server.backend import HTCondorBackend

LONGEST_WAIT = 20.0  # seconds; dask-gateway's own `?wait` takes as long
LARGEST_BODY = 32 * 2**20  # bytes; a queue of 10,000 jobs is 3 MB
ABOUT = {"host", "user", "interface", "schedd", "sandbox", "version", "process"}
_SESSION = re.compile(r"[0-9a-f]{32}")

routes = web.RouteTableDef()


@dataclass(frozen=True)
class Poll:
    """What a session says.

    Attributes
    ----------
    session : str
        Its id.
    about : dict of str to str
        Where it runs, for its owner to see.
    results : list of (str, mapping)
        Order id and answer.
    leave : bool
        It gives its lease back.
    wait : float
        Seconds that it would wait for orders, at most.
    have : frozenset of str or None
        Ids of orders that it has and is not done with.
    ended : str
        The process of the session that has the lease, of which it has seen that it has ended.
    """

    session: str
    about: dict[str, str]
    results: list[tuple[str, Mapping[str, Any]]] = field(repr=False)
    leave: bool
    wait: float
    have: frozenset[str] | None
    ended: str

    @classmethod
    def from_json(cls, body: object) -> Poll:
        """Read a request's body.

        Raises
        ------
        NotAnAnswerError
            It is none of a session; says why.
        """
        if not isinstance(body, Mapping):
            raise NotAnAnswerError("the body is no JSON object")
        session, about, results = body.get("session"), body.get("about", {}), body.get("results", [])
        if not isinstance(session, str) or not _SESSION.fullmatch(session):
            raise NotAnAnswerError("session is no id of 32 hexadecimal digits")
        if not isinstance(about, Mapping) or not isinstance(results, list):
            raise NotAnAnswerError("about is no object, or results is no list")
        answers = []
        for result in results:
            if not isinstance(result, Mapping) or not isinstance(result.get("order"), str):
                raise NotAnAnswerError("a result names no order")
            answers.append((result["order"], result))
        wait, have = body.get("wait", LONGEST_WAIT), body.get("have")
        if type(wait) not in (int, float) or not 0 <= wait <= LONGEST_WAIT:
            raise NotAnAnswerError(f"wait is no number from 0 to {LONGEST_WAIT:g}")
        if have is not None and not (isinstance(have, list) and all(isinstance(name, str) for name in have)):
            raise NotAnAnswerError("have is no list of orders")
        told = {key: str(value)[:1000] for key, value in about.items() if key in ABOUT}
        mine = None if have is None else frozenset(have)
        return cls(session, told, answers, body.get("leave") is True, wait, mine, str(body.get("ended", "")))


@routes.post("/api/v1/clusters/{cluster_name}/session")
@api_handler(user_authenticated=True)
async def poll_session(request: web.Request) -> web.Response:
    """Take a session's answers, and give it its orders: at once if there are any, else within 20 s."""
    backend: HTCondorBackend = request.app["backend"]
    cluster = owned_cluster(request)
    if backend.submitter != "session":
        raise web.HTTPConflict(reason="This gateway submits jobs itself: it has no orders for sessions")
    try:
        poll = Poll.from_json(json.loads(await _body(request)))
    except (ValueError, RecursionError) as error:  # RecursionError: lists in lists in lists …
        raise web.HTTPUnprocessableEntity(reason=f"This is no poll of a session: {error}") from error
    orders = backend.sessions.orders(cluster)
    orders.answer(poll.session, poll.results)
    if poll.leave or backend.needs_no_session(cluster):
        orders.leave(poll.session)  # it polls no more, and who asks for logs hears so at once
        return web.json_response({"role": "done", "lease": orders.lease, "orders": []})
    if poll.ended and poll.ended == orders.about.get("process"):
        orders.leave(orders.holder)
    was_attached = orders.attached(time.monotonic())
    submitter = orders.poll(poll.session, poll.about, time.monotonic())
    if submitter and not was_attached:
        backend.session_came(cluster)
    if submitter and not (fresh := orders.take(poll.session, poll.have)):
        await _wait(orders.arrived, poll.wait)
        fresh = orders.take(poll.session, poll.have)
    elif not submitter:
        fresh = []
        await _wait(orders.vacant, min(poll.wait, orders.seconds_left(time.monotonic())))
    if submitter:
        return web.json_response({"role": "submitter", "lease": orders.lease, "orders": fresh})
    holder = orders.about.get("process", "") if orders.holder else ""
    return web.json_response({"role": "watcher", "lease": orders.lease, "orders": fresh, "holder": holder})


async def _wait(event: asyncio.Event, seconds: float) -> None:
    if seconds > 0:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)


async def _body(request: web.Request) -> bytes:
    """Read it in pieces: aiohttp's own limit of 1 MiB is less than a long queue takes."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise web.HTTPRequestEntityTooLarge(LARGEST_BODY, len(body))
    return bytes(body)
