"""Keeps the views of one cluster up to date, by one long poll for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
from dask_gateway import GatewayServerError

from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.running import scheduler_column
from htcdaskgateway.client.slot_match import Found, slot_match
from htcdaskgateway.client.views.model import ClusterView, Surroundings, look
from htcdaskgateway.errors import HTCDaskError, InvalidRequestError
from htcdaskgateway.records import WorkerRecord, WorkerState
from htcdaskgateway.versions import MUST_AGREE, Column, VersionTable, versions_here

if TYPE_CHECKING:
    from htcdaskgateway.client.cluster import HTCGatewayCluster

LEAST_PAUSE, LONGEST_PAUSE = 0.3, 30.0  # seconds between two answers; between two tries in vain
SLOTS_PERIOD = 30.0  # seconds between two questions how many slots match
IDLE_ENOUGH = 5.0  # seconds that a job is idle in any case
UNANSWERED = (
    HTCDaskError, GatewayServerError, aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError,
    LookupError, TypeError,
)  # fmt: skip

Listener = Callable[[ClusterView, str], None]


class Feed:
    """Asks the gateway for news while anybody listens; begins with the first listener.

    It ends with the cluster, or with this session's object of it, to which it holds no reference.

    Parameters
    ----------
    cluster : HTCGatewayCluster
    """

    def __init__(self, cluster: HTCGatewayCluster) -> None:
        self._cluster = weakref.ref(cluster)
        self._gateway, self._name = cluster.gateway, str(cluster.name)
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        self._report: WorkersReport | None = None
        self._slots: tuple[float, Found] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._versions = ""
        self._ended = False

    @property
    def slots(self) -> Found | None:
        """What was found out of slots for idle jobs."""
        return self._slots[1] if self._slots else None

    @property
    def workers(self) -> tuple[WorkerRecord, ...]:
        """The workers as they were last heard of."""
        return self._report.workers if self._report else ()

    @property
    def view(self) -> ClusterView:
        """The cluster as it was last heard of."""
        cluster = self._cluster()
        around = Surroundings(versions=self._versions)
        if cluster is not None:
            sandbox = "" if cluster.sandbox is None else str(cluster.sandbox)
            around = replace(around, dashboard=str(cluster.dashboard_link or ""), sandbox=sandbox)
        if self._report is None:
            return ClusterView(self._name, around=around, closed=self._ended)
        view = look(self._name, self._report, time.time(), self.slots, around)
        return replace(view, closed=self._ended)

    def listen(self, listener: Listener) -> None:
        """Let ``listener(view, trouble)`` be called with all news, in the cluster's event loop."""
        self._listeners.append(listener)
        self._gateway.loop.add_callback(self._start)

    def end(self) -> None:
        """Tell the listeners that no more news will come; call it in the event loop."""
        if not self._ended:
            self._ended = True
            for task in (self._task, self._asking):
                if task is not None:
                    task.cancel()
            self._tell("")

    def _start(self) -> None:
        if self._task is None and not self._ended:
            self._task = asyncio.get_running_loop().create_task(self._follow())
        else:
            self._tell("")

    def _tell(self, trouble: str) -> None:
        view = self.view
        for listener in self._listeners:
            listener(view, trouble)

    async def _follow(self) -> None:
        revision, pause = None, LEAST_PAUSE
        while not self._ended and self._cluster() is not None:
            try:
                report = await self._gateway._workers(self._name, revision)
            except UNANSWERED as error:
                sentence = error.sentence if isinstance(error, HTCDaskError) else f"No news: {error}"
                self._tell(sentence)
                if isinstance(error, InvalidRequestError):  # the gateway has forgotten the cluster
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            self._heard(report)
            if report.has_ended:
                return
            revision, pause = report.revision, LEAST_PAUSE
            await asyncio.sleep(LEAST_PAUSE)

    def _heard(self, report: WorkersReport) -> None:
        cluster = self._cluster()
        trouble = cluster._trouble if cluster is not None else ""
        self._report = replace(report, problem=report.problem or trouble)
        self._tell("")
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask_more())

    async def _ask_more(self) -> None:
        """What takes longer, and is not news of the gateway."""
        with contextlib.suppress(*UNANSWERED):
            if not self._versions:
                self._versions = await self._ask_versions()
                self._tell("")
            if self._is_due():
                cluster = self._cluster()
                submits = cluster is not None and cluster._submitter is not None
                del cluster
                self._slots = time.monotonic(), await slot_match(self._gateway, self._name, submits=submits)
                self._tell("")

    def _is_due(self) -> bool:
        if self._report is None or (self._slots and time.monotonic() - self._slots[0] < SLOTS_PERIOD):
            return False
        idle = [worker.since for worker in self._report.workers if worker.state is WorkerState.IDLE]
        return bool(idle) and time.time() - min(idle) > IDLE_ENOUGH

    async def _ask_versions(self) -> str:
        cluster = self._cluster()
        if cluster is None or cluster.scheduler_comm is None:
            return ""
        scheduler = cluster.scheduler_comm
        del cluster
        return versions_line(versions_here(), await scheduler_column(scheduler))


def versions_line(here: dict[str, str], scheduler: Column) -> str:
    """Say in a line what the scheduler has, and whether this notebook has the same. Pure."""
    if not scheduler.versions:
        return ""
    has = ", ".join(f"{name} {scheduler.versions[name]}" for name in MUST_AGREE if name in scheduler.versions)
    table = VersionTable((Column("notebook", here), scheduler))
    if table.agrees:
        return f"{has}; they fit this notebook"
    mine = ", ".join(f"{name} {here.get(name, 'missing')}" for name in table.differing)
    return f"{has}; this notebook differs: {mine}"
