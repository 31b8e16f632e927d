"""Keeps the queue as the records want it: submits, looks, removes. All that is asked of HTCondor."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from logging import Logger, LoggerAdapter
from typing import Any

from dask_gateway_server.backends.db_base import Cluster, JobStatus, Worker

from htcdaskgateway.condor.schedd import Action, EndedJob, ObservedJob, Schedd, Settles, SubmitDescription
from htcdaskgateway.condor.schedd import JobStatus as QueueStatus
from htcdaskgateway.errors import (
    CondorError,
    ConfigurationError,
    HTCDaskError,
    InvalidRequestError,
    SandboxError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)
from htcdaskgateway.server.session_schedd import NoSessionAttachedError
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.verdicts import (
    Do,
    Limits,
    Verdict,
    judge,
    to_remove,
    waited_too_long,
    why_it_ended,
)

MOST_WORDS = 100  # workers of one look whose logs are read
Describe = Callable[[Cluster, Sequence[str]], SubmitDescription]


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
        last_words: Callable[[Cluster, str], Awaitable[str]],
        limits: Limits,
        log: Logger | LoggerAdapter[Any],
        clusters: Callable[[], list[Cluster]] | None = None,
        is_mine: Callable[[str], bool] = lambda _: True,
        sandbox: Callable[[str], str] = lambda _: "",
    ) -> None:
        self.schedd, self.gateway, self.store = schedd, gateway, store
        self.describe, self.last_words = describe, last_words
        self.limits, self.log = limits, log
        self.clusters = clusters or store.running_clusters
        self.is_mine, self.sandbox = is_mine, sandbox
        self.lock = asyncio.Lock()  # a look at the queue never overlaps with a submit
        self.clean = False  # the last look showed no job
        self.trouble = ""  # why the queue was not seen the last time
        self.stopped = False
        self._unwanted: dict[str, float] = {}
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
        due = [since + self.limits.grace - now for since in self._unwanted.values()]
        return max(0.1, min([self.limits.period, *[seconds for seconds in due if seconds > 0]]))

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
        CondorError
            Also told to the records: refused ones have failed, the others wait.
        """
        fresh = [w for w in self.store.wanted(cluster) if w.status == JobStatus.CREATED]
        workers = [w for w in fresh if not w.state.get("asked")]
        if not workers:
            return
        names = [worker.name for worker in workers]
        try:
            await self._settle(self._lost())
            # Saved before the schedd is asked: whatever happens to this process in between, the next one
            # looks into that schedd's queue for these names before it submits them again.
            asked = {"asked": True, "schedd": self.schedd.name}
            self.store.save([(w, {"state": asked}) for w in workers])
            self.clean = False
            ids = await self.schedd.submit(self.describe(cluster, names))
        except (SubmitRefusedError, InvalidRequestError, ConfigurationError) as error:
            self.store.save([(w, {"state": {"asked": False}}) for w in workers])
            self.store.fail([(w, in_one_line(error)) for w in workers], one_try=True)
            raise
        except (ScheddUnavailableError, SandboxError) as error:  # nothing was done, and it may be mended
            self.store.save([(w, {"state": {"asked": False, "reason": in_one_line(error)}}) for w in workers])
            raise
        except ScheddSilentError as error:
            self.store.save([(w, {"state": {"reason": in_one_line(error)}}) for w in workers])
            raise
        now = time.time()
        self.store.save(
            (worker, {"status": JobStatus.SUBMITTED, "state": self._job_state(job_id, now)})
            for worker, job_id in zip(workers, ids, strict=True)
        )
        self.log.info("Cluster %s: submitted %d jobs, %s…", cluster.name, len(ids), ids[0])

    def _job_state(self, job_id: str, now: float) -> dict[str, Any]:
        return {
            "job_id": job_id, "schedd": self.schedd.name, "asked": True,
            "job_status": 1, "since": now, "reason": "",
        }  # fmt: skip

    def _lost(self) -> list[Worker]:
        """Workers that may have jobs on a schedd whose name is not known; also those that nobody wants."""
        if self.schedd.name:
            return []
        return [
            worker
            for cluster in self.store.db.name_to_cluster.values()
            if self.is_mine(cluster.name)
            for worker in cluster.workers.values()
            if worker.state.get("asked") and not worker.state.get("schedd")
        ]

    async def _settle(self, lost: Sequence[Worker]) -> None:
        if isinstance(self.schedd, Settles):
            await self.schedd.settle(self.gateway, sorted({worker.cluster.name for worker in lost}))

    async def look_now(self) -> None:
        """Look, when nothing else is asked of the schedd."""
        async with self.lock:
            await self.look()

    async def look(self) -> None:
        """One query for all clusters; then judge every worker, and remove what nobody wants."""
        lost = self._lost()
        try:
            if lost:
                await self._settle(lost)
            jobs = [job for job in await self.schedd.query(self.gateway) if self.is_mine(job.cluster_name)]
        except CondorError as error:
            self.trouble = in_one_line(error)
            raise
        self.trouble = ""
        await self._fetch_output(jobs)
        # One that has ended may stay in the queue for a while: nothing is to be done for it any more.
        self.clean = all(job.status is QueueStatus.COMPLETED and not job.fetchable for job in jobs)
        now = time.time()
        by_worker: dict[tuple[str, str], list[ObservedJob]] = defaultdict(list)
        for job in jobs:
            by_worker[job.cluster_name, job.worker_name].append(job)

        verdicts: list[tuple[Worker, ObservedJob | None, Verdict]] = []
        for cluster in self.clusters():
            for worker in self.store.wanted(cluster):
                facts = self.store.facts(worker)
                if facts.asked:
                    found = _job_of(facts.job_id, by_worker.get((cluster.name, worker.name), []))
                    verdicts.append((worker, found, judge(facts, found, now, self.limits)))
        endings = await self._endings(verdicts)
        self._apply(verdicts, endings, await self._why_gone(verdicts, endings), now)
        given_up = [w for w in lost if w.target != JobStatus.RUNNING]
        self.store.save(
            [(w, {"state": {"asked": False}}) for w in given_up if (w.cluster.name, w.name) not in by_worker]
        )
        await self._remove_unwanted(jobs, now)

    async def _endings(
        self, verdicts: Sequence[tuple[Worker, ObservedJob | None, Verdict]]
    ) -> dict[str, EndedJob]:
        known: dict[str, EndedJob] = {}
        gone: list[str] = []
        for worker, job, verdict in verdicts:
            if verdict.do is Do.GONE and job is not None:  # not in the history yet
                known[job.job_id] = EndedJob(job.job_id, job.status, job.exit_code, job.exit_signal)
            elif verdict.do is Do.GONE:
                gone.append(worker.state["job_id"])
        if not gone:
            return known
        try:
            return known | {job.job_id: job for job in await self.schedd.ended(gone)}
        except CondorError as error:  # the records then say that the reason is not known
            self.log.info("No history of jobs %s: %s", ", ".join(gone[:10]), error)
            return known

    def _apply(
        self,
        verdicts: Sequence[tuple[Worker, ObservedJob | None, Verdict]],
        endings: Mapping[str, EndedJob],
        why_gone: Mapping[str, str],
        now: float,
    ) -> None:
        changes: list[tuple[Worker, dict[str, Any]]] = []
        failures: list[tuple[Worker, str]] = []
        expired: list[tuple[Worker, str]] = []
        finished: list[Worker] = []
        for worker, job, verdict in verdicts:
            if worker.target != JobStatus.RUNNING:
                continue  # stopped while we waited for an answer
            if verdict.do is Do.SUBMIT:
                changes.append((worker, {"state": {"asked": False}}))
                self.kick()
            elif verdict.do is Do.FINISH:
                finished.append(worker)
            elif verdict.do is Do.GONE:
                ended = endings.get(worker.state["job_id"])
                which = expired if waited_too_long(worker.state.get("job_status", 0), ended) else failures
                which.append((worker, why_gone[worker.name]))
            elif verdict.do is Do.FAIL:
                failures.append((worker, verdict.reason))
            elif job is not None and (change := _observed(worker, job, verdict.reason, self.schedd.name)):
                if verdict.do is Do.ADOPT:
                    change["status"] = max(worker.status, JobStatus.SUBMITTED)
                    change["state"] = {**self._job_state(job.job_id, now), **change["state"]}
                changes.append((worker, change))
        self.store.save(changes)
        self.store.finish(finished)
        for worker, reason in [*failures, *expired]:
            self.log.info("Worker %s of cluster %s failed: %s", worker.name, worker.cluster.name, reason)
        self.store.fail(failures)
        self.store.fail(expired, counts=False)
        if failures or expired:
            self.kick()  # the next round replaces them

    async def _why_gone(
        self,
        verdicts: Sequence[tuple[Worker, ObservedJob | None, Verdict]],
        endings: Mapping[str, EndedJob],
    ) -> dict[str, str]:
        """Why each worker's job has ended, by the worker's name."""
        why: dict[str, str] = {}
        for worker, _, verdict in verdicts:
            if verdict.do is Do.GONE:
                ended = endings.get(worker.state["job_id"])
                words = await self.last_words(worker.cluster, worker.name) if len(why) < MOST_WORDS else ""
                if ended is None:
                    why[worker.name] = why_it_ended(None, None, "", words)
                else:
                    why[worker.name] = why_it_ended(
                        ended.exit_code, ended.exit_signal, ended.removed_because, words
                    )
        return why

    async def _remove_unwanted(self, jobs: Sequence[ObservedJob], now: float) -> None:
        """Also sweeps jobs that belong to no cluster, or twice to one worker."""
        wanted = {
            worker.state.get("job_id") for cluster in self.clusters() for worker in self.store.wanted(cluster)
        }
        unwanted = [
            job
            for job in jobs
            if job.job_id not in wanted and (job.fetchable or job.status is not QueueStatus.COMPLETED)
        ]
        self._unwanted = {job.job_id: self._unwanted.get(job.job_id, now) for job in unwanted}
        ids = to_remove(((job, self._unwanted[job.job_id]) for job in unwanted), now, self.limits.grace)
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
            if not self._unwanted:
                return
            await asyncio.sleep(self._pause(time.time()))
        self.log.warning("Jobs are left in the queue: %s", ", ".join(self._unwanted))


def _job_of(job_id: str, jobs: Sequence[ObservedJob]) -> ObservedJob | None:
    """The worker's job; the first one where the record knows none, the rest are duplicates."""
    if job_id:
        return next((job for job in jobs if job.job_id == job_id), None)
    return min(jobs, key=lambda job: [int(part) for part in job.job_id.split(".")], default=None)


def _observed(worker: Worker, job: ObservedJob, reason: str, schedd: str) -> dict[str, Any]:
    state = {
        "job_id": job.job_id, "job_status": int(job.status), "host": job.host, "since": job.since,
        "reason": reason, **({"schedd": schedd} if schedd else {}),
    }  # fmt: skip
    changed = any(worker.state.get(key) != value for key, value in state.items())
    return {"state": state} if changed else {}


def in_one_line(error: HTCDaskError) -> str:
    """The sentence and the foreign words, fit for a record and for the reason of an HTTP status."""
    return " ".join(f"{error.sentence} {getattr(error, 'words', '')}".split())
