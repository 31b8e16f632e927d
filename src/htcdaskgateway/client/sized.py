"""How many workers a cluster has: asked for, within what the site allows, and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from inspect import iscoroutine
from typing import Any

from dask_gateway import GatewayCluster

from htcdaskgateway.client.adapting import Adapting
from htcdaskgateway.client.errors import ClusterFailedError
from htcdaskgateway.client.report import WorkersReport, check_seconds, worker_count
from htcdaskgateway.client.running import SECONDS
from htcdaskgateway.client.running_checks import RunningChecks
from htcdaskgateway.client.submitter import Submitter
from htcdaskgateway.client.views.progress import Progress
from htcdaskgateway.client.waiting import wait_for_connected, wait_for_running
from htcdaskgateway.client.worker_watch import WorkerWatch
from htcdaskgateway.errors import InvalidRequestError, LimitError

AGAIN_SECONDS = 10.0  # that the gateway may take to hear of this session again
ENDED = ("closing", "closed", "failed")  # dask-gateway's words, of a cluster object


class Sized(GatewayCluster):
    """The part of a cluster that scales."""

    _checks: RunningChecks | None = None  # what is compared once scheduler and workers run
    _watch: WorkerWatch | None = None  # compares those that come while nobody waits for them
    _submitter: Submitter | None = None  # where this session submits the jobs

    def scale(self, n: int, **kwargs: Any) -> Any:
        """Scale to ``n`` workers. Returns when their jobs are in HTCondor's queue.

        Raises
        ------
        InvalidRequestError
            ``n`` is no number of workers.
        ClusterFailedError
            The cluster has ended.
        LimitError
            The site allows fewer.
        CredentialError
            More workers, submitted by this session, and a credential of yours that the site requires for
            them is not there or will not do; says what mends it. Nothing was submitted.
        RefusedError
            HTCondor refused the jobs or cannot be reached; holds its own words. Nothing was changed.
        """
        return self.gateway.sync(self._scale, worker_count(n), **kwargs)

    async def _scale(self, n: int) -> None:
        self._check_open()
        await self._check_more(n)
        await self.gateway._scale_cluster(self.name, n)
        if self._watch is not None and n > 0:
            self._watch.start()

    def adapt(
        self, minimum: int | None = None, maximum: int | None = None, active: bool = True, **kwargs: Any
    ) -> Any:
        """Let the number of workers follow the load, between ``minimum`` and ``maximum``.

        Raises
        ------
        InvalidRequestError
            A bound is no number of workers, or the minimum is above the maximum.
        ClusterFailedError, LimitError, CredentialError
            As for `scale`.
        """
        bounds = self._bounds(minimum, maximum)
        asked = self.gateway.sync(self._adapt, *bounds, active, **kwargs)
        return Adapting(asked, *bounds) if iscoroutine(asked) else asked

    @staticmethod
    def _bounds(minimum: int | None, maximum: int | None) -> tuple[int | None, int | None]:
        low = None if minimum is None else worker_count(minimum, "minimum")
        high = None if maximum is None else worker_count(maximum, "maximum")
        if low is not None and high is not None and low > high:
            raise InvalidRequestError(f"minimum={low} is above maximum={high}.")
        return low, high

    async def _adapt(self, minimum: int | None, maximum: int | None, active: bool) -> None:
        self._check_open()
        no_limit = maximum is None and active
        await self._check_more(max(minimum or 0, maximum or 0), grows=no_limit)
        await self.gateway._adapt_cluster(self.name, minimum=minimum, maximum=maximum, active=active)
        if self._watch is not None and active:
            self._watch.start()

    def _check_open(self) -> None:
        """See whether this object can still ask for anything; what others have done, only the gateway knows.

        Raises
        ------
        ClusterFailedError
        """
        if self.status in ENDED:
            raise ClusterFailedError(str(self.name), f"its status here is {self.status}")

    async def _check_more(self, asked: int, grows: bool = False) -> None:
        """See whether there may be so many, or with ``grows`` whatever number, and can be submitted."""
        try:
            report = await self.report()
        except InvalidRequestError:  # no gateway of ours: it has its own answer to a number too high
            return
        if report.has_ended:
            raise ClusterFailedError(str(self.name), report.problem or f"its status is {report.status}")
        if report.maximum is not None and asked > report.maximum:
            raise LimitError(asked, report.maximum)
        if self._submitter is not None:
            if report.lacks_session:  # the gateway was restarted, or this machine slept
                await self._submitter.attach_again(AGAIN_SECONDS)
            if grows or asked > report.count:
                await self._submitter.check_credentials()

    def wait_for_workers(
        self,
        n_workers: int,
        timeout: float | None = None,
        on_change: Callable[[WorkersReport], None] | None = None,
    ) -> Any:
        """Wait until at least ``n_workers`` are running, and show how far it is.

        Parameters
        ----------
        n_workers : int
        timeout : float, optional
            Seconds to wait. Without it, waits as long as the workers can still come; where the load
            decides (`adapt`), that is until it asks for them.
        on_change : callable, optional
            Called with each new report, in place of what a notebook or a terminal would show.

        Raises
        ------
        InvalidRequestError
            ``n_workers`` is no number of workers, or ``timeout`` no number of seconds.
        ClusterFailedError
            The cluster has ended.
        WorkersMissingError
            The time is over, the gateway has given up, or the cluster is scaled to fewer; says what the
            missing ones wait for: of those that are idle, how many slots match, of the others HTCondor's
            reason.
        VersionMismatchError
            They have come and cannot work with this notebook, whose calls would wait for ever. With
            ``check_versions="warn"`` a warning.
        """
        n = worker_count(n_workers)
        check_seconds(timeout)
        if on_change is not None:
            return self.gateway.sync(self._wait_for_workers, n, timeout, on_change)
        return self.gateway.sync(self._wait_and_show, n, timeout, Progress(str(self.name), n))

    async def _wait_and_show(self, n_workers: int, timeout: float | None, progress: Progress) -> None:
        try:
            await self._wait_for_workers(n_workers, timeout, progress.show)
        finally:
            progress.end()

    async def _wait_for_workers(
        self, n_workers: int, timeout: float | None, on_change: Callable[[WorkersReport], None] | None
    ) -> None:
        start = time.monotonic()
        self._check_open()
        if self._watch is not None:
            self._watch.end()  # they are compared below
        try:
            report = await self.report()
        except InvalidRequestError:
            if (await self.gateway._site()).is_ours:
                raise
            await wait_for_connected(self, n_workers, timeout)  # nobody else knows of its workers
        else:
            await wait_for_running(self, n_workers, timeout, on_change, report)
        if self._checks is not None:
            left = SECONDS if timeout is None else timeout - (time.monotonic() - start)
            await self._checks.check_workers(min(SECONDS, max(1.0, left)))
