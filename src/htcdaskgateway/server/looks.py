"""What one look at the queue means for the worker records: a case each, and what comes of them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dask_gateway_server.backends.db_base import Cluster, JobStatus, Worker

from htcdaskgateway.condor.schedd import JobStatus as QueueStatus
from htcdaskgateway.condor.schedd import ObservedJob
from htcdaskgateway.server.endings import Ending
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.verdicts import Do, Limits, Verdict, judge


class Case(NamedTuple):
    """A wanted worker, its job if the queue shows one, and what is to be done."""

    worker: Worker
    job: ObservedJob | None
    verdict: Verdict


@dataclass
class Outcome:
    """What comes of a look. Each worker stands in one of the lists, or in none if nothing has changed.

    Attributes
    ----------
    changes : list of (Worker, dict)
        Columns to write.
    finished : list of Worker
    failures, expired : list of (Worker, str)
        With the reason; those of ``expired`` count as no failed starts.
    again : bool
        There is something to submit.
    """

    changes: list[tuple[Worker, dict[str, Any]]] = field(default_factory=list)
    finished: list[Worker] = field(default_factory=list)
    failures: list[tuple[Worker, str]] = field(default_factory=list)
    expired: list[tuple[Worker, str]] = field(default_factory=list)
    again: bool = False

    def save(self, store: WorkerStore) -> None:
        """Write it to the records, in one transaction a list."""
        store.save(self.changes)
        store.finish(self.finished)
        store.fail(self.failures)
        store.fail(self.expired, counts=False)


def cases_of(
    store: WorkerStore, clusters: Iterable[Cluster], jobs: Iterable[ObservedJob], now: float, limits: Limits
) -> list[Case]:
    """Judge every wanted worker for which a submit was begun."""
    by_worker: dict[tuple[str, str], list[ObservedJob]] = defaultdict(list)
    for job in jobs:
        by_worker[job.cluster_name, job.worker_name].append(job)
    cases = []
    for cluster in clusters:
        for worker in store.wanted(cluster):
            facts = store.facts(worker)
            if facts.asked:
                found = _job_of(facts.job_id, by_worker.get((cluster.name, worker.name), []))
                cases.append(Case(worker, found, judge(facts, found, now, limits)))
    return cases


def outcome_of(cases: Iterable[Case], endings: Mapping[str, Ending], schedd: str, now: float) -> Outcome:
    """Decide what to write, given how the jobs of ``Do.GONE`` ended, by the names of their workers."""
    outcome = Outcome()
    for worker, job, verdict in cases:
        if worker.target != JobStatus.RUNNING:
            continue  # stopped while we waited for an answer
        if verdict.do is Do.SUBMIT:
            outcome.changes.append((worker, {"state": {"asked": False}}))
        elif verdict.do is Do.FINISH:
            outcome.finished.append(worker)
        elif verdict.do is Do.GONE:
            ending = endings[worker.name]
            which = outcome.expired if ending.waited_too_long else outcome.failures
            which.append((worker, ending.reason))
        elif verdict.do is Do.FAIL:
            outcome.failures.append((worker, verdict.reason))
        elif job is not None and (change := _observed(worker, job, verdict.reason, schedd)):
            if verdict.do is Do.ADOPT:
                change["status"] = max(worker.status, JobStatus.SUBMITTED)
                change["state"] = {**new_job(job.job_id, schedd, now), **change["state"]}
            outcome.changes.append((worker, change))
        outcome.again |= verdict.do is Do.SUBMIT
    outcome.again |= bool(outcome.failures or outcome.expired)  # they are replaced
    return outcome


def new_job(job_id: str, schedd: str, now: float) -> dict[str, Any]:
    """What a worker's record holds of a job that the schedd has just made."""
    return {
        "job_id": job_id, "schedd": schedd, "asked": True,
        "job_status": int(QueueStatus.IDLE), "since": now, "reason": "",
    }  # fmt: skip


def _job_of(job_id: str, jobs: Sequence[ObservedJob]) -> ObservedJob | None:
    """The worker's job; the first one where the record knows none, the rest are duplicates."""
    if job_id:
        return next((job for job in jobs if job.job_id == job_id), None)
    return min(jobs, key=lambda job: [int(part) for part in job.job_id.split(".")], default=None)


def _observed(worker: Worker, job: ObservedJob, reason: str, schedd: str) -> dict[str, Any]:
    """What has changed in a worker's record; nothing, if nothing has."""
    state = {
        "job_id": job.job_id, "job_status": int(job.status), "host": job.host, "since": job.since,
        "reason": reason, **({"schedd": schedd} if schedd else {}),
    }  # fmt: skip
    changed = any(worker.state.get(key) != value for key, value in state.items())
    return {"state": state} if changed else {}
