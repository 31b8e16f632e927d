"""`HTCGatewayCluster`: a cluster whose workers are HTCondor jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from dask_gateway import GatewayCluster

from htcdaskgateway.client.errors import ClusterFailedError, WorkersMissingError
from htcdaskgateway.client.farewell import close_later
from htcdaskgateway.client.gateway import HTCGateway
from htcdaskgateway.client.report import WorkersReport, worker_count
from htcdaskgateway.errors import GatewayUnreachableError, InvalidRequestError, LimitError
from htcdaskgateway.records import WorkerRecord

GATEWAY_AWAY = 120.0  # seconds that a wait goes on while no gateway answers


class HTCGatewayCluster(GatewayCluster):
    """A Dask cluster of a gateway. Made by `HTCGateway.new_cluster` and `HTCGateway.connect`.

    With ``asynchronous=True`` every method that asks the gateway returns an awaitable.
    """

    _gateway: HTCGateway

    @property
    def gateway(self) -> HTCGateway:
        return self._gateway

    @gateway.setter
    def gateway(self, gateway: Any) -> None:
        # dask-gateway's constructor makes a plain client: it becomes one of ours, loop, session and all.
        gateway.__class__ = HTCGateway
        self._gateway = gateway

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

    async def report(self, since: int | None = None) -> WorkersReport:
        """What the gateway knows of this cluster; with ``since``, when it is newer than that revision."""
        return await self.gateway._workers(self.name, since)

    def scale(self, n: int, **kwargs: Any) -> Any:
        """Scale to ``n`` workers. Returns when their jobs are in HTCondor's queue.

        Raises
        ------
        InvalidRequestError
            ``n`` is no number of workers.
        LimitError
            The site allows fewer.
        RefusedError
            HTCondor refused the jobs or cannot be reached; holds its own words. Nothing was changed.
        """
        return self.gateway.sync(self._scale, worker_count(n), **kwargs)

    async def _scale(self, n: int) -> None:
        await self._check_limit(n)
        await self.gateway._scale_cluster(self.name, n)

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
        """
        low = None if minimum is None else worker_count(minimum, "minimum")
        high = None if maximum is None else worker_count(maximum, "maximum")
        if low is not None and high is not None and low > high:
            raise InvalidRequestError(f"minimum={low} is above maximum={high}.")
        return self.gateway.sync(self._adapt, low, high, active, **kwargs)

    async def _adapt(self, minimum: int | None, maximum: int | None, active: bool) -> None:
        await self._check_limit(max(minimum or 0, maximum or 0))
        await self.gateway._adapt_cluster(self.name, minimum=minimum, maximum=maximum, active=active)

    async def _check_limit(self, asked: int) -> None:
        try:
            allowed = (await self.report()).maximum
        except InvalidRequestError:  # no gateway of ours: it has its own answer to a number too high
            return
        if allowed is not None and asked > allowed:
            raise LimitError(asked, allowed)

    def wait_for_workers(
        self,
        n_workers: int,
        timeout: float | None = None,
        on_change: Callable[[WorkersReport], None] | None = None,
    ) -> Any:
        """Wait until at least ``n_workers`` are running.

        Parameters
        ----------
        n_workers : int
        timeout : float, optional
            Seconds to wait. Without it, waits as long as the workers can still come.
        on_change : callable, optional
            Called with each new report.

        Raises
        ------
        ClusterFailedError
            The cluster has ended.
        WorkersMissingError
            The time is over, or the gateway has given up; says what the missing ones wait for.
        """
        return self.gateway.sync(self._wait_for_workers, worker_count(n_workers), timeout, on_change)

    async def _wait_for_workers(
        self, n_workers: int, timeout: float | None, on_change: Callable[[WorkersReport], None] | None
    ) -> None:
        start = heard = time.monotonic()
        report = await self.report()
        while True:
            if on_change is not None:
                on_change(report)
            if report.running >= n_workers:
                return
            if report.has_ended:
                raise ClusterFailedError(self.name, report.problem or f"its status is {report.status}")
            seconds = time.monotonic() - start
            left = None if timeout is None else timeout - seconds
            if report.gave_up or report.count < n_workers or (left is not None and left <= 0):
                raise self._missing(report, n_workers, seconds)
            try:
                report = await asyncio.wait_for(self.report(report.revision), left)
            except asyncio.TimeoutError:
                report = await self.report()
            except GatewayUnreachableError:
                # It may be restarted: the clusters are the same afterwards.
                if time.monotonic() - heard > GATEWAY_AWAY:
                    raise
                await asyncio.sleep(1)
            else:
                heard = time.monotonic()

    @staticmethod
    def _missing(report: WorkersReport, n_workers: int, seconds: float) -> WorkersMissingError:
        why = report.why
        if not why and report.count < n_workers:
            why = f"the cluster is scaled to {report.count}"
        return WorkersMissingError(n_workers, report.running, seconds, why, report.states)

    def __del__(self) -> None:
        gateway = self.__dict__.get("_gateway")
        if gateway is not None and not gateway.asynchronous and self.status != "closed":
            close_later(gateway._loop_runner, self._stop_internal)

    def __repr__(self) -> str:
        return f"HTCGatewayCluster<{self.name}, status={self.status}>"
