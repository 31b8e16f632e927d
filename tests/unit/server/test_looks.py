"""What comes of a look at the queue, with records in memory."""

from __future__ import annotations

from typing import Any

import pytest
from dask_gateway_server.backends.db_base import Cluster, JobStatus, Worker

from htcdaskgateway.condor.schedd import JobStatus as QueueStatus
from htcdaskgateway.condor.schedd import ObservedJob
from htcdaskgateway.server.endings import Ending
from htcdaskgateway.server.looks import Case, Outcome, cases_of, new_job, outcome_of
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.verdicts import Do, Limits, Verdict

NOW = 10_000.0
LIMITS = Limits(start=600, lost=30, idle=0, period=5, grace=10)


@pytest.fixture
async def worker(store: WorkerStore, cluster: Cluster) -> Worker:
    store.db.update_cluster(cluster, count=1)
    store.match_count(cluster)
    [found] = store.wanted(cluster)
    store.save([(found, {"state": {"asked": True, "schedd": "s@h"}})])
    return found


def job(worker: Worker, job_id: str = "7.0", **more: Any) -> ObservedJob:
    return ObservedJob(job_id, worker.cluster.name, worker.name, QueueStatus.RUNNING, NOW - 1, **more)


def decided(do: Do, worker: Worker, found: ObservedJob | None = None, reason: str = "") -> Outcome:
    case = Case(worker, found, Verdict(do, reason))
    return outcome_of([case], {worker.name: Ending("ended")}, "s@h", NOW)


async def test_only_who_was_asked_for_is_judged(store: WorkerStore, cluster: Cluster, worker: Worker) -> None:
    store.db.update_cluster(cluster, count=2)
    store.match_count(cluster)
    [case] = cases_of(store, [cluster], [], NOW, LIMITS)
    assert case == (worker, None, Verdict(Do.SUBMIT))
    assert cases_of(store, [], [job(worker)], NOW, LIMITS) == []


async def test_of_two_jobs_the_known_one_else_the_first(
    store: WorkerStore, cluster: Cluster, worker: Worker
) -> None:
    jobs = [job(worker, job_id) for job_id in ("10.0", "9.11", "9.2")]
    [case] = cases_of(store, [cluster], jobs, NOW, LIMITS)
    assert (case.job, case.verdict.do) == (jobs[2], Do.ADOPT)
    store.save([(worker, {"state": {"job_id": "9.11"}})])
    [case] = cases_of(store, [cluster], jobs, NOW, LIMITS)
    assert (case.job, case.verdict.do) == (jobs[1], Do.KEEP)
    [case] = cases_of(store, [cluster], jobs[:1], NOW, LIMITS)
    assert (case.job, case.verdict.do) == (None, Do.GONE)


async def test_what_is_decided(worker: Worker) -> None:
    assert decided(Do.SUBMIT, worker) == Outcome(changes=[(worker, {"state": {"asked": False}})], again=True)
    assert decided(Do.FINISH, worker) == Outcome(finished=[worker])
    assert decided(Do.FAIL, worker, job(worker), "held") == Outcome(failures=[(worker, "held")], again=True)
    assert decided(Do.GONE, worker) == Outcome(failures=[(worker, "ended")], again=True)
    assert decided(Do.WAIT, worker) == Outcome()


async def test_one_that_waited_too_long_is_no_failed_start(worker: Worker) -> None:
    endings = {worker.name: Ending("waited", waited_too_long=True)}
    gone = [Case(worker, None, Verdict(Do.GONE))]
    assert outcome_of(gone, endings, "s@h", NOW) == Outcome(expired=[(worker, "waited")], again=True)


async def test_a_job_that_is_adopted_is_written_once(store: WorkerStore, worker: Worker) -> None:
    outcome = decided(Do.ADOPT, worker, job(worker, host="slot1@node"))
    [(_, change)] = outcome.changes
    assert change["status"] == JobStatus.SUBMITTED
    assert change["state"] == {
        **new_job("7.0", "s@h", NOW),
        "job_status": 2,
        "since": NOW - 1,
        "host": "slot1@node",
    }
    outcome.save(store)
    assert decided(Do.KEEP, worker, job(worker, host="slot1@node")) == Outcome()
    [(_, change)] = decided(Do.KEEP, worker, job(worker, host="slot2@node")).changes
    assert "status" not in change


@pytest.mark.parametrize("do", [Do.SUBMIT, Do.FINISH, Do.GONE, Do.FAIL, Do.ADOPT])
async def test_a_worker_that_was_stopped_meanwhile_is_left_alone(
    store: WorkerStore, worker: Worker, do: Do
) -> None:
    store.finish([worker])
    assert decided(do, worker, job(worker)) == Outcome()
