"""`HTCGatewayCluster`: a cluster whose workers are HTCondor jobs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributed import Client

from htcdaskgateway.client.address import check_addresses
from htcdaskgateway.client.dropin import DropIn
from htcdaskgateway.client.errors import ClusterFailedError
from htcdaskgateway.client.farewell import close_later
from htcdaskgateway.client.gateway import HTCGateway
from htcdaskgateway.client.images import Choice, checks
from htcdaskgateway.client.log_sources import collect
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.running_checks import RunningChecks
from htcdaskgateway.client.session_credentials import SessionCredentials
from htcdaskgateway.client.site import SiteFacts
from htcdaskgateway.client.sized import Sized
from htcdaskgateway.client.submitter import Submitter
from htcdaskgateway.client.views.shown import Shown
from htcdaskgateway.client.worker_watch import WorkerWatch
from htcdaskgateway.errors import ConfigurationError
from htcdaskgateway.records import WorkerRecord
from htcdaskgateway.versions import VersionMismatchError, VersionTable

ATTACH_SECONDS = 10.0  # that the gateway may take to learn of this session


class HTCGatewayCluster(Shown, Sized, DropIn):
    """A Dask cluster of a gateway. Made by `HTCGateway.new_cluster` and `HTCGateway.connect`.

    As the last line of a notebook's cell it shows how many workers run, wait, are held and why, with
    controls; the widget needs ipywidgets (``pip install 'htcdaskgateway[notebook]'``).

    Made directly, it takes the arguments of both `HTCGateway` and `HTCGateway.new_cluster`.
    With ``asynchronous=True`` every method that asks the gateway returns an awaitable.
    """

    _gateway: HTCGateway
    _no_submitter = ""

    @property
    def gateway(self) -> HTCGateway:
        return self._gateway

    @gateway.setter
    def gateway(self, gateway: Any) -> None:
        # dask-gateway's constructor makes a plain client: it becomes one of ours, loop, session and all.
        gateway.__class__ = HTCGateway
        self._gateway = gateway

    def _init_internal(self, address: str | None = None, **keywords: Any) -> None:
        check_addresses(address)
        super()._init_internal(address=address, **keywords)

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

    def get_client(self, set_as_default: bool = True) -> Client:
        """Make a client of the cluster's scheduler.

        Raises
        ------
        ClusterFailedError
            The cluster has ended.
        """
        self._check_open()
        client: Client = super().get_client(set_as_default)
        return client

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

    def __del__(self) -> None:
        gateway = self.__dict__.get("_gateway")
        if gateway is not None and not gateway.asynchronous and self.status != "closed":
            close_later(gateway._loop_runner, self._stop_internal)

    def __repr__(self) -> str:
        return f"HTCGatewayCluster<{self.name}, status={self.status}>"
