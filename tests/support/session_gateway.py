"""A gateway as a session sees it: the real route and the real orders of one cluster, no clusters' backend."""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from htcdaskgateway.server.orders import Orders
from htcdaskgateway.server.session_routes import routes
from htcdaskgateway.server.session_schedd import SessionSchedd

CLUSTER = "c1"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Noted(Orders):
    def __init__(self, lease: float, heard: list[Any]) -> None:
        super().__init__(lease)
        self._heard = heard

    def poll(self, session: str, about: Mapping[str, Any], now: float) -> bool:
        self._heard.append(about)
        return super().poll(session, about, now)

    def answer(self, session: str, results: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        told = list(results)
        self._heard += told
        super().answer(session, told)


class SessionGateway:
    """Only what `Submitter` asks for; everybody is the cluster's owner.

    Attributes
    ----------
    orders : Orders
        New ones after each start, as of a gateway that was restarted.
    schedd : SessionSchedd
    heard : list
        What sessions have said of themselves, and their results.
    status, refused : int
        If set: the HTTP status of every answer; ``refused`` counts them.
    says, page : str
        What these answers say as the gateway does, in JSON; or as something in front of it, as a page.
    done : bool
        The cluster has ended, and no job of it is left.
    lose : int
        So many answers with orders in them are lost on the way.
    came : int
        How often a session was attached where there was none.
    """

    def __init__(self, lease: float = 60.0, timeout: float = 10.0) -> None:
        self.lease, self.timeout = lease, timeout
        self.port = 0
        self.heard: list[Any] = []
        self.status = self.refused = self.lose = self.came = 0
        self.says, self.page = "because the test says so", ""
        self.done = False
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, at the same port as before if there was one."""
        self.orders = _Noted(self.lease, self.heard)
        self.schedd = SessionSchedd(CLUSTER, "alice", self.orders, self.timeout)
        app = web.Application(middlewares=[self._meddle])
        backend = SimpleNamespace(
            submitter="session",
            db=SimpleNamespace(get_cluster={CLUSTER: SimpleNamespace(to_model=lambda: None)}.get),
            sessions=SimpleNamespace(orders=lambda cluster: self.orders),
            needs_no_session=lambda cluster: self.done,
            session_came=self._count,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", web.NotAppKeyWarning)  # dask-gateway's keys are plain text
            app["backend"], app["authenticator"] = backend, self
        app.add_routes(routes)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def authenticate_and_handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request["user"] = SimpleNamespace(name="alice", has_permissions=lambda cluster: True)
        return await handler(request)

    def _count(self, cluster: object) -> None:
        self.came += 1

    @web.middleware
    async def _meddle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Do to an answer what the test wants."""
        if self.status:
            self.refused += 1
            if self.page:
                return web.Response(text=self.page, status=self.status)
            return web.json_response({"error": self.says}, status=self.status)
        answer = await handler(request)
        orders = isinstance(answer, web.Response) and json.loads(answer.text or "{}").get("orders")
        if orders and self.lose and request.transport is not None:
            self.lose -= 1
            request.transport.close()
        return answer


async def until(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Let the event loop go on until it is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(0.01)
