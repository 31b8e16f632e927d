"""What the user has renewed, brought to the jobs that were submitted and to the workers that run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from dask_gateway import GatewayServerError
from distributed.core import rpc

from htcdaskgateway.client.running import UNANSWERED
from htcdaskgateway.client.session_credentials import TOKEN_FILE, X509_FILE, Credential, warn
from htcdaskgateway.client.token_delivery import deliver_token
from htcdaskgateway.credentials.errors import NotDeliveredError
from htcdaskgateway.credentials.files import read_private
from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.threads import in_thread

AGAIN = 30.0  # seconds: some jobs are being submitted, some workers are starting with what there was before
READ_SECONDS = 20.0
CLOSE_SECONDS = 2.0
NO_ANSWER = (HTCDaskError, GatewayServerError, aiohttp.ClientError, *UNANSWERED)

# (cluster, path of the X.509 proxy, its end) -> number of jobs that there was no time for
RenewX509 = Callable[[str, str, float], Awaitable[int]]


@dataclass
class _State:
    """Of one credential: which one was brought, when it is to be looked again, and what went wrong."""

    fingerprint: str = ""
    again: float = 0.0
    failures: int = 0


class Delivery:
    """Brings renewed credentials to what one cluster has in HTCondor and in Dask.

    Parameters
    ----------
    cluster : str
    sandbox : Path
        Where the present ones are.
    renew_x509 : callable
        As `htcdaskgateway.condor.schedd.RenewsX509`.
    scheduler : callable
        Opens a connection to the cluster's scheduler: a context with a distributed.core.rpc.
    clock : callable
    """

    def __init__(
        self,
        cluster: str,
        sandbox: Path,
        renew_x509: RenewX509,
        scheduler: Callable[[], AbstractAsyncContextManager[Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._sandbox, self._clock = cluster, sandbox, clock
        self._renew_x509, self._scheduler = renew_x509, scheduler
        self._states = {X509_FILE: _State(), TOKEN_FILE: _State()}
        self._have: set[str] = set()  # nannies with the present token

    async def deliver(self, renewed: Mapping[str, Credential]) -> None:
        """Bring these, by file name, to whom that does not have them yet. Never fails; to be called often.

        What does not succeed twice in a row is a warning, once.
        """
        for name, bring in ((X509_FILE, self._bring_x509), (TOKEN_FILE, self._bring_token)):
            credential, state = renewed.get(name), self._states[name]
            if credential is None:
                continue
            if credential.fingerprint != state.fingerprint:
                self._states[name] = state = _State(credential.fingerprint)
                if name == TOKEN_FILE:
                    self._have.clear()
            if self._clock() < state.again:
                continue
            try:
                done = await bring(credential)
                state.failures = 0
            except NO_ANSWER as error:
                done = True
                state.failures += 1
                if state.failures == 2:
                    with contextlib.suppress(UserWarning):  # made an error by the user: not in this thread
                        warn(_told(credential, error))
            state.again = self._clock() + (AGAIN if done else 0.0)

    async def _bring_x509(self, credential: Credential) -> bool:
        return not await self._renew_x509(self._cluster, str(self._sandbox / X509_FILE), credential.not_after)

    async def _bring_token(self, credential: Credential) -> bool:
        path, kind = str(self._sandbox / TOKEN_FILE), credential.about.kind
        found = await in_thread(partial(read_private, kind, path, os.geteuid(), ""), READ_SECONDS)
        if found is None:
            return True  # the cluster ends
        async with self._scheduler() as scheduler:
            self._have, trouble = await deliver_token(scheduler, found[0], self._have)
        if trouble:
            raise NotDeliveredError(credential.about, trouble)
        return True


@contextlib.asynccontextmanager
async def scheduler_of(gateway: Any, cluster: str) -> AsyncIterator[Any]:
    """Connect to a cluster's scheduler, through the gateway proxy, as a client of the event loop here."""
    report = await gateway._cluster_report(cluster)
    scheduler = rpc(report.scheduler_address, connection_args=report.security.get_connection_args("client"))
    try:
        yield scheduler
    finally:
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(scheduler.close_rpc(), CLOSE_SECONDS)


def _told(credential: Credential, error: BaseException) -> HTCDaskError:
    if isinstance(error, HTCDaskError):
        return error
    return NotDeliveredError(credential.about, f"{type(error).__name__}: {error}")
