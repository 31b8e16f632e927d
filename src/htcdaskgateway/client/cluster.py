"""`HTCGatewayCluster`: a cluster whose workers are HTCondor jobs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from inspect import iscoroutine
from pathlib import Path
from typing import Any

from htcdaskgateway.client.adapting import Adapting
from htcdaskgateway.client.dropin import DropIn
from htcdaskgateway.client.errors import ClusterFailedError
from htcdaskgateway.client.farewell import close_later
from htcdaskgateway.client.gateway import HTCGateway
from htcdaskgateway.client.images import Choice, checks
from htcdaskgateway.client.log_sources import collect
from htcdaskgateway.client.report import WorkersReport, worker_count
from htcdaskgateway.client.running import SECONDS
from htcdaskgateway.client.running_checks import RunningChecks
from htcdaskgateway.client.session_credentials import SessionCredentials
from htcdaskgateway.client.site import SiteFacts
from htcdaskgateway.client.submitter import Submitter
from htcdaskgateway.client.views.progress import Progress
from htcdaskgateway.client.views.shown import Shown
from htcdaskgateway.client.waiting import wait_for_connected, wait_for_running
from htcdaskgateway.client.worker_watch import WorkerWatch
from htcdaskgateway.errors import ConfigurationError, InvalidRequestError, LimitError
from htcdaskgateway.records import WorkerRecord
from htcdaskgateway.versions import VersionMismatchError, VersionTable

ATTACH_SECONDS = 10.0  # that the gateway may take to learn of this session


class HTCGatewayCluster(Shown, DropIn):
    """A Dask cluster of a gateway. Made by `HTCGateway.new_cluster` and `HTCGateway.connect`.

    As the last line of a notebook's cell it shows how many workers run, wait, are held and why, with
    controls; the widget needs ipywidgets (``pip install 'htcdaskgateway[notebook]'``).

    Made directly, it takes the arguments of both `HTCGateway` and `HTCGateway.new_cluster`.
    With ``asynchronous=True`` every method that asks the gateway returns an awaitable.
    """

    _gateway: HTCGateway
    _checks: RunningChecks | None = None
    _watch: WorkerWatch | None = None
    _submitter: Submitter | None = None
    _no_submitter = ""

    @property
    def gateway(self) -> HTCGateway:
        return self._gateway

    @gateway.setter
    def gateway(self, gateway: Any) -> None:
        # dask-gateway's constructor makes a plain client: it becomes one of ours, loop, session and all.
        gateway.__class__ = HTCGateway
        self._gateway = gateway

    async def _start_async(self) -> None:
        created = self.status == "created"
        await super()._start_async()
        if self.status != "running":
            return
        site = await self.gateway._site()
        self._is_ours = site.is_ours
        if site.submitter == "session":
            await self._attach(created, site)
        choice = self.gateway._choice if created else Choice(check=checks(site))
        self._checks = RunningChecks(self.name, self.scheduler_comm, choice)
        if created:
            try:
                await self._checks.check_scheduler()
            except VersionMismatchError:
                self.shutdown_on_close = True  # nobody gets this object, to stop it
                raise
        self._watch = WorkerWatch(self._checks)

    async def _attach(self, created: bool, site: SiteFacts) -> None:
        """Let this session submit the cluster's jobs, as their owner."""
        pair = {"dask.crt": self.security.tls_cert, "dask.pem": self.security.tls_key}
        credentials = SessionCredentials(site.credentials)
        try:
            self._submitter = Submitter(self.gateway, self.name, pair, credentials=credentials)
        except ConfigurationError as error:
            if created:
                raise
            self._no_submitter = error.sentence  # a machine without HTCondor can look, scale and shut down
            return
        self._submitter.start()
        if created:
            sys.stdout.write(f"Sandbox: {self._submitter.sandbox.path}\n")
        await self._submitter.attached(ATTACH_SECONDS)

    async def _stop_internal(self, shutdown: bool | None = None) -> None:
        stopped = self.shutdown_on_close if shutdown is None else shutdown
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        self._end_views()
        try:
            await super()._stop_internal(shutdown=shutdown)
        finally:
            if self._submitter is not None:
                self._submitter.end(stopped=stopped)

    @property
    def sandbox(self) -> Path | None:
        """Directory of the cluster's files, where this session submits its jobs; else None.

        In it: the submit description as submitted, HTCondor's event log, and what workers wrote.
        """
        return None if self._submitter is None else self._submitter.sandbox.path

    def versions(self) -> Any:
        """Versions in this notebook, in the image if it was read, in the scheduler and in the workers.

        Returns
        -------
        VersionTable
            Shown as a table. Who does not answer has a note in place of versions; of more than 100 workers,
            100 are asked.
        """
        return self.gateway.sync(self._versions)

    async def _versions(self) -> VersionTable:
        if self._checks is None:
            raise ClusterFailedError(str(self.name), f"its status here is {self.status}")
        return await self._checks.table()

    def workers(self) -> Any:
        """What the gateway knows of each worker.

        Returns
        -------
        list of WorkerRecord
            Name, state, job id and schedd, host, and the reason of what does not run: all workers that
            are wanted or leaving, and the last ones that have gone.
        """
        return self.gateway.sync(self._workers)

    async def _workers(self) -> list[WorkerRecord]:
        return list((await self.report()).workers)

    def logs(self, worker: str | None = None, tail: int | None = None) -> Any:
        """What workers wrote: those that run, and those that have finished or failed.

        Parameters
        ----------
        worker : str, optional
            Of this one only: its name or the beginning of it, its name in Dask, or its job id.
        tail : int, optional
            Only so many lines from the end of each log.

        Returns
        -------
        Logs
            By the workers' names; a held one says why HTCondor held its job.

        Raises
        ------
        InvalidRequestError
            There is no such worker, or ``tail`` is no number of lines.
        """
        return self.gateway.sync(collect, self.gateway, self.name, worker, tail, self.scheduler_comm)

    async def report(self, since: int | None = None) -> WorkersReport:
        """What the gateway knows of this cluster; with ``since``, when it is newer than that revision."""
        report = await self.gateway._workers(self.name, since)
        return replace(report, problem=report.problem or self._trouble)

    @property
    def _trouble(self) -> str:
        """What keeps this session from submitting jobs; empty if nothing does, or it has not to."""
        return self._submitter.trouble if self._submitter is not None else self._no_submitter

    def scale(self, n: int, **kwargs: Any) -> Any:
        """Scale to ``n`` workers. Returns when their jobs are in HTCondor's queue.

        Raises
        ------
        InvalidRequestError
            ``n`` is no number of workers.
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
        LimitError
            The site allows fewer.
        CredentialError
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
        no_limit = maximum is None and active
        await self._check_more(max(minimum or 0, maximum or 0), grows=no_limit)
        await self.gateway._adapt_cluster(self.name, minimum=minimum, maximum=maximum, active=active)
        if self._watch is not None and active:
            self._watch.start()

    async def _check_more(self, asked: int, grows: bool = False) -> None:
        """See whether there may be so many, or with ``grows`` whatever number, and can be submitted."""
        try:
            report = await self.report()
        except InvalidRequestError:  # no gateway of ours: it has its own answer to a number too high
            return
        if report.maximum is not None and asked > report.maximum:
            raise LimitError(asked, report.maximum)
        if self._submitter is not None and (grows or asked > report.count):
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
            Seconds to wait. Without it, waits as long as the workers can still come.
        on_change : callable, optional
            Called with each new report, in place of what a notebook or a terminal would show.

        Raises
        ------
        ClusterFailedError
            The cluster has ended.
        WorkersMissingError
            The time is over, or the gateway has given up; says what the missing ones wait for: of those
            that are idle, how many slots match, of the others HTCondor's reason.
        VersionMismatchError
            They have come and cannot work with this notebook, whose calls would wait for ever. With
            ``check_versions="warn"`` a warning.
        """
        n = worker_count(n_workers)
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

    def __del__(self) -> None:
        gateway = self.__dict__.get("_gateway")
        if gateway is not None and not gateway.asynchronous and self.status != "closed":
            close_later(gateway._loop_runner, self._stop_internal)

    def __repr__(self) -> str:
        return f"HTCGatewayCluster<{self.name}, status={self.status}>"
