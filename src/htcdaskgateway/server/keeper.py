"""Keeps the queue as the records want it: submits, looks, removes. All that is asked of HTCondor."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from logging import Logger, LoggerAdapter
from typing import Any

from dask_gateway_server.backends.db_base import Cluster

from htcdaskgateway.condor.schedd import Action, JobStatus, ObservedJob, Schedd
from htcdaskgateway.errors import CondorError, HTCDaskError
from htcdaskgateway.server.endings import LastWords, find_endings
from htcdaskgateway.server.looks import cases_of, outcome_of
from htcdaskgateway.server.reasons import in_one_line
from htcdaskgateway.server.session_schedd import NoSessionAttachedError
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.submits import Describe, Submits
from htcdaskgateway.server.unwanted import Unwanted
from htcdaskgateway.server.verdicts import Do, Limits


class Keeper:
    """One loop for all clusters of a gateway.

    Parameters
    ----------
    schedd : Schedd
    gateway : str
        Instance id that the jobs of this gateway carry.
    store : WorkerStore
    describe : callable
        ``(cluster, worker_names) -> SubmitDescription``.
    last_words : callable
        ``async (cluster, worker_name) -> str``, the end of what a worker's job wrote.
    limits : Limits
    clusters : callable, optional
        The running clusters that are this keeper's; without it all of the gateway.
    is_mine : callable, optional
        Whether a job, by the name of its cluster, is one that this keeper may remove; without it each is.
    sandbox : callable, optional
        ``cluster_name -> str``, the directory that the output of spooled jobs is brought to.
    """

    def __init__(
        self,
        schedd: Schedd,
        gateway: str,
        store: WorkerStore,
        *,
        describe: Describe,
        last_words: LastWords,
        limits: Limits,
        log: Logger | LoggerAdapter[Any],
        clusters: Callable[[], list[Cluster]] | None = None,
        is_mine: Callable[[str], bool] = lambda _: True,
        sandbox: Callable[[str], str] = lambda _: "",
    ) -> None:
        self.schedd, self.gateway, self.store = schedd, gateway, store
        self.last_words, self.limits, self.log = last_words, limits, log
        self.clusters = clusters or store.running_clusters
        self.is_mine, self.sandbox = is_mine, sandbox
        self.lock = asyncio.Lock()  # a look at the queue never overlaps with a submit
        self.clean = False  # the last look showed no job
        self.trouble = ""  # why the queue was not seen the last time
        self.stopped = False
        self._submits = Submits(schedd, gateway, store, describe, is_mine, log)
        self._unwanted = Unwanted(limits.grace)
        self._kicked = asyncio.Event()

    def kick(self) -> None:
        """Something changed: do not wait for the next look."""
        self._kicked.set()

    def stop(self) -> None:
        """Let ``run`` end after the present round, also where its cancellation is lost."""
        self.stopped = True
        self.kick()

    async def run(self) -> None:
        """Work until stopped. A failure of one round is logged and the next one tries again."""
        while not self.stopped:
            try:
                async with self.lock:
                    await self.round()
            except NoSessionAttachedError:
                pass  # the reports say it, to whom it concerns
            except CondorError as error:
                self.log.warning("%s", error)
            except Exception:  # this loop is what keeps every cluster of the gateway
                self.log.exception("A round over the queue failed; the next one tries again")
            # Not asyncio.wait_for: before Python 3.12 it loses a cancellation that comes with a kick.
            timer = asyncio.get_running_loop().call_later(self._pause(time.time()), self._kicked.set)
            try:
                await self._kicked.wait()
            finally:
                timer.cancel()
            self._kicked.clear()

    def _pause(self, now: float) -> float:
        return max(0.1, min([self.limits.period, *self._unwanted.seconds_left(now)]))

    async def round(self) -> None:
        """Submit what is wanted, look at the queue, act on it."""
        for cluster in self.clusters():
            if self.store.watch(cluster).scaling.locked():
                continue  # who asked for it submits, and hears what the schedd says
            self.store.match_count(cluster)
            try:
                await self.submit(cluster)
            except NoSessionAttachedError:
                continue
            except HTCDaskError as error:  # stands in the records; the other clusters go on
                self.log.warning("Cluster %s: %s", cluster.name, error)
        await self.look()

    async def submit(self, cluster: Cluster) -> None:
        """Submit all wanted workers of a cluster that have no job, in one transaction.

        Raises
        ------
        CondorError, InvalidRequestError, ConfigurationError, SandboxError
            Also told to the records: refused ones have failed, the others wait.
        """
        if workers := self._submits.due(cluster):
            self.clean = False
            await self._submits.submit(cluster, workers)

    async def look_now(self) -> None:
        """Look, when nothing else is asked of the schedd."""
        async with self.lock:
            await self.look()

    async def look(self) -> None:
        """One query for all clusters; then judge every worker, and remove what nobody wants."""
        lost = self._submits.lost()
        try:
            if lost:
                await self._submits.settle(lost)
            jobs = [job for job in await self.schedd.query(self.gateway) if self.is_mine(job.cluster_name)]
        except CondorError as error:
            self.trouble = in_one_line(error)
            raise
        self.trouble = ""
        await self._fetch_output(jobs)
        # One that has ended may stay in the queue for a while: nothing is to be done for it any more.
        self.clean = all(job.status is JobStatus.COMPLETED and not job.fetchable for job in jobs)
        now = time.time()
        await self._judge(jobs, now)
        self._submits.forget_unwanted(lost, jobs)
        await self._remove_unwanted(jobs, now)

    async def _judge(self, jobs: Sequence[ObservedJob], now: float) -> None:
        cases = cases_of(self.store, self.clusters(), jobs, now, self.limits)
        gone = [(worker, job) for worker, job, verdict in cases if verdict.do is Do.GONE]
        endings = await find_endings(gone, self.schedd, self.last_words, self.log)
        outcome = outcome_of(cases, endings, self.schedd.name, now)
        for worker, reason in [*outcome.failures, *outcome.expired]:
            self.log.info("Worker %s of cluster %s failed: %s", worker.name, worker.cluster.name, reason)
        outcome.save(self.store)
        if outcome.again:
            self.kick()

    async def _remove_unwanted(self, jobs: Sequence[ObservedJob], now: float) -> None:
        """Also sweeps jobs that belong to no cluster, or twice to one worker."""
        wanted = {w.state.get("job_id") for cluster in self.clusters() for w in self.store.wanted(cluster)}
        ids = self._unwanted.follow(jobs, wanted, now)
        if ids:
            removed = await self.schedd.act(Action.REMOVE, ids)
            self.log.info("Removed %d of %d jobs that nobody wants: %s…", removed, len(ids), ids[0])

    async def _fetch_output(self, jobs: Sequence[ObservedJob]) -> None:
        """Of spooled jobs that have ended: what they wrote is wanted when they are judged."""
        ended: dict[str, list[str]] = defaultdict(list)
        for job in jobs:
            if job.fetchable:
                ended[job.cluster_name].append(job.job_id)
        for cluster_name, ids in ended.items():
            try:
                await self.schedd.fetch(ids, self.sandbox(cluster_name))
            except CondorError as error:  # tried again at the next look, within bounds
                self.log.warning("Cluster %s: %s", cluster_name, error)

    async def clear(self, deadline: float) -> None:
        """Until no job of this gateway is left in the queue, or the deadline (``time.time()``) has passed."""
        while time.time() < deadline:
            await self.look_now()
            if not self._unwanted.job_ids:
                return
            await asyncio.sleep(self._pause(time.time()))
        self.log.warning("Jobs are left in the queue: %s", ", ".join(self._unwanted.job_ids))
