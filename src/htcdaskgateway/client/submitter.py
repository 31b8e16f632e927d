"""The thread of a session that submits a cluster's jobs for the gateway, as the user that it belongs to."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from dask_gateway.client import cleanup_lingering_clusters

from htcdaskgateway.client.carry_out import carry_out
from htcdaskgateway.client.condor_access import configured_access
from htcdaskgateway.client.conversation import DONE, SUBMITTER, Conversation, one_line
from htcdaskgateway.client.credential_delivery import Delivery, scheduler_of
from htcdaskgateway.client.leftovers import Leftovers
from htcdaskgateway.client.own_process import has_ended, this_process
from htcdaskgateway.client.session_credentials import SessionCredentials
from htcdaskgateway.client.session_place import FILES_TIMEOUT, SessionPlace
from htcdaskgateway.client.session_requests import ask_mine, poll
from htcdaskgateway.client.session_sandbox import SessionSandbox, user_name
from htcdaskgateway.client.upkeep import keep_clean, keep_credentials, keep_files, remove_secrets
from htcdaskgateway.condor.access import Access
from htcdaskgateway.threads import in_thread

if TYPE_CHECKING:
    from htcdaskgateway.client.gateway import HTCGateway

FINISH_SECONDS = 30.0  # that the gateway may take to end the jobs of a cluster that was shut down
EXIT_SECONDS = 4.0  # that the end of Python waits; a notebook's server kills its kernel after 5
CLOSE_SECONDS = 10.0  # for schedds and files, when all is said
WATCHER = "watcher"
EXIT_GRACE = 2.0  # seconds of these in which jobs of a cluster that was shut down may end by themselves

_running: weakref.WeakSet[Submitter] = weakref.WeakSet()


def check_configuration() -> None:
    """Find out whether this session could submit jobs, before there is a cluster.

    Raises
    ------
    ConfigurationError
    """
    configured_access()
    SessionSandbox.configured("0" * 32)


class Submitter:
    """Carries out the gateway's orders for one cluster, in a thread with an event loop of its own.

    Parameters
    ----------
    gateway : HTCGateway
        Where the orders come from; the thread makes a client of its own of the same settings.
    cluster : str
    secrets : mapping of str to str
        The cluster's TLS pair: ``dask.crt`` and ``dask.pem``.
    credentials : SessionCredentials, optional
        What the jobs get of the user's; without, nothing.

    Raises
    ------
    ConfigurationError
        There is no way to HTCondor, or no place for the sandbox.
    """

    def __init__(
        self,
        gateway: HTCGateway,
        cluster: str,
        secrets: Mapping[str, str],
        *,
        credentials: SessionCredentials | None = None,
        access: Access | None = None,
        sandbox: SessionSandbox | None = None,
    ) -> None:
        self.cluster = cluster
        self.access = access or configured_access()
        self.sandbox = sandbox or SessionSandbox.configured(cluster)
        self.about = {
            "host": socket.gethostname(),
            "user": user_name(),
            "interface": self.access.interface,
            "schedd": self.access.schedd_name or " ".join(self.access.schedd_names),
            "sandbox": str(self.sandbox.path),
            "version": _version(),
            "process": this_process(),
        }
        self._settings = {**gateway._settings(), "asynchronous": True, "loop": None}
        self._credentials = credentials
        give = None if credentials is None else credentials.give
        self._place = SessionPlace(self.access, self.sandbox, secrets, give)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._conversation: Conversation | None = None
        self._query: Mapping[str, Any] = {}  # the last one that the gateway asked for: it tells our jobs
        self._stopped = False
        self._leave_after: float | None = None
        self._why_ended = ""
        self._ending = False  # what `end` says from now on comes too late for the thread
        self._thread = self._new_thread(self._main)

    def start(self) -> None:
        if not _running:
            atexit.unregister(_at_exit)
            atexit.register(_at_exit)
        _running.add(self)
        self._thread.start()

    def _new_thread(self, main: Callable[[], None]) -> threading.Thread:
        # A daemon: neither a notebook nor Python itself waits for what hangs.
        return threading.Thread(target=main, daemon=True, name=f"htcdask-submitter-{self.cluster}")

    @property
    def role(self) -> str:
        """``submitter``, ``watcher``: another session submits, ``done``, or empty: not known yet."""
        return self._conversation.role if self._conversation else ""

    @property
    def trouble(self) -> str:
        """Why the gateway does not hear of this session, in one line; empty if it does."""
        return self._why_ended or (self._conversation.trouble if self._conversation else "")

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    async def attached(self, seconds: float) -> bool:
        """Wait until the gateway knows of this session; whether it does. May be called in any event loop."""
        end = time.monotonic() + seconds
        while not self.role and self.alive and time.monotonic() < end:  # noqa: ASYNC110 - of another thread
            await asyncio.sleep(0.02)
        return bool(self.role) and self.alive

    async def attach_again(self, seconds: float) -> None:
        """Let the gateway hear of this session now: it was restarted, or this machine slept.

        Returns when it has, after so many seconds at the latest. May be called in any event loop.
        """
        with self._lock:
            loop, conversation = self._loop, self._conversation
        if loop is None or conversation is None or not self.alive:
            return
        before, end = conversation.heard, time.monotonic() + seconds
        try:
            loop.call_soon_threadsafe(conversation.poll_again)
        except RuntimeError:  # it has ended meanwhile
            return
        while conversation.heard == before and self.alive and time.monotonic() < end:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)

    async def check_credentials(self) -> None:
        """See whether jobs could be submitted now; nothing, if another session submits.

        Raises
        ------
        CredentialError
        """
        if self._credentials is None or self.role == WATCHER:
            return
        with contextlib.suppress(asyncio.TimeoutError):  # the gateway's order will meet it too
            await in_thread(self._credentials.check, FILES_TIMEOUT)

    def end(self, *, stopped: bool = False) -> None:
        """Let the thread end; returns at once.

        Parameters
        ----------
        stopped : bool
            The cluster was shut down: its jobs are removed first, which takes the gateway's orders. Else
            another session may take over, and its jobs stay.
        """
        with self._lock:
            late = stopped and not self._stopped and self._ending
            self._stopped = self._stopped or stopped
        if late:
            self._end_late()
        self.hurry(FINISH_SECONDS if stopped else 0.0)

    def _end_late(self) -> None:
        """What the thread would have done, had it known that the cluster is shut down before it ended."""
        before = self._thread

        def clear() -> None:
            before.join(3 * CLOSE_SECONDS)
            self._main()

        self._thread = self._new_thread(clear)
        try:
            self._thread.start()
        except RuntimeError:  # Python ends, and starts no more threads; the next session removes the jobs
            self._thread = before
            self.sandbox.remove_secrets()

    def hurry(self, seconds: float) -> None:
        """Python ends: what was to take longer is begun after so many seconds."""
        with self._lock:
            self._leave_after = seconds if self._leave_after is None else min(seconds, self._leave_after)
            if self._loop is not None and self._conversation is not None:
                with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                    self._loop.call_soon_threadsafe(self._conversation.leave, seconds)

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended; whether it has."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self.alive

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:  # noqa: BLE001 - told by `trouble`, and not in the middle of a notebook
            self._why_ended = f"The submitter of this session ended: {one_line(error)}"
            self._ending = True

    async def _run(self) -> None:
        if self._ending:  # there was a thread before
            await self._clear()
            return
        from htcdaskgateway.client.gateway import HTCGateway

        gateway = HTCGateway(**self._settings)
        conversation = Conversation(
            partial(poll, gateway, self.cluster), self._carry_out, self.about, has_ended=has_ended
        )
        with self._lock:
            self._loop, self._conversation = asyncio.get_running_loop(), conversation
            if self._leave_after is not None:
                conversation.leave(self._leave_after)
        delivery = Delivery(
            self.cluster,
            self.sandbox.path,
            self._place.renew_x509,
            partial(scheduler_of, gateway, self.cluster),
        )
        ask = partial(ask_mine, gateway)
        leftovers = Leftovers(self.access, self.sandbox.path.parent, ask)
        keepers = [keep_files(self.sandbox, ask), keep_clean(leftovers)]
        if self._credentials is not None:
            keepers.append(
                keep_credentials(self._credentials, self.sandbox, delivery, lambda: self.role == SUBMITTER)
            )
        keeping = [asyncio.ensure_future(keeper) for keeper in keepers]
        try:
            await conversation.run()
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.wait(keeping)
            if self._credentials is not None:
                self._credentials.close()
            await self._clear()
            await gateway.close()

    async def _clear(self) -> None:
        """Remove jobs, unless the gateway has seen to them, and secrets of a cluster that was shut down."""
        with self._lock:
            self._ending, stopped = True, self._stopped
        settled = self.role == DONE and not self.trouble
        if stopped and not settled:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._remove_jobs(), CLOSE_SECONDS)
        if stopped or settled:
            await remove_secrets(self.sandbox, CLOSE_SECONDS)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._place.close(), CLOSE_SECONDS)

    async def _carry_out(self, order: Mapping[str, Any]) -> dict[str, Any]:
        if order.get("op") == "query":
            self._query = order
        return await carry_out(order, self._place)

    async def _remove_jobs(self) -> None:
        """Remove the jobs of a cluster that was shut down, though the gateway is not there to ask for it."""
        found = (await carry_out(self._query, self._place)).get("ok") if self._query else None
        if found:
            ids = [job["job_id"] for job in found]
            await carry_out({**self._query, "op": "act", "action": "remove", "job_ids": ids}, self._place)


def _version() -> str:
    try:
        return version("htcdaskgateway")
    except PackageNotFoundError:  # run from the source tree
        return ""


def _at_exit() -> None:
    """Close the clusters, as dask-gateway does after us, and then give the submitters a few seconds."""
    submitters = list(_running)
    # Of a thread that has ended in trouble, jobs and secrets are there still, if its cluster is closed now.
    if not any(submitter.alive or submitter.trouble for submitter in submitters):
        return
    cleanup_lingering_clusters()
    end = time.monotonic() + EXIT_SECONDS
    for submitter in submitters:
        # Jobs of one that was shut down are removed then, whatever grace the gateway would give them.
        submitter.hurry(EXIT_GRACE if submitter._stopped else 0.0)
    for submitter in submitters:
        submitter.join(max(0.0, end - time.monotonic()))


# A forked child has none of its parent's threads, and nothing to end.
os.register_at_fork(after_in_child=_running.clear)
