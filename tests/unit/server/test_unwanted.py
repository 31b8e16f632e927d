"""Which jobs are removed when nobody wants them, as tables."""

from __future__ import annotations

import pytest

from htcdaskgateway.condor.schedd import JobStatus, ObservedJob
from htcdaskgateway.server.unwanted import Unwanted, to_remove

NOW, GRACE = 10_000.0, 10.0


def job(status: JobStatus, job_id: str = "7.0", fetchable: bool = False) -> ObservedJob:
    return ObservedJob(job_id, "cluster", "worker", status, fetchable=fetchable)


@pytest.mark.parametrize(
    ("status", "age", "removed"),
    [
        (JobStatus.IDLE, 0, True),
        (JobStatus.HELD, 0, True),
        (JobStatus.SUSPENDED, 0, True),
        (JobStatus.RUNNING, 9, False),
        (JobStatus.RUNNING, 10, True),
        (JobStatus.TRANSFERRING_OUTPUT, 9, False),
        (JobStatus.TRANSFERRING_OUTPUT, 10, True),
        (JobStatus.REMOVED, 1e6, False),
        (JobStatus.COMPLETED, 1e6, False),
    ],
)
def test_an_unwanted_job_may_end_by_itself(status: JobStatus, age: float, removed: bool) -> None:
    assert to_remove([(job(status), NOW - age)], NOW, GRACE) == (["7.0"] if removed else [])


def test_the_grace_of_a_job_begins_when_it_is_first_seen_unwanted() -> None:
    unwanted = Unwanted(GRACE)
    jobs = [job(JobStatus.RUNNING, "7.0"), job(JobStatus.RUNNING, "7.1")]
    assert unwanted.follow(jobs, {"7.0", "7.1", None}, NOW) == []
    assert unwanted.job_ids == []
    assert unwanted.follow(jobs, {"7.0"}, NOW) == []
    assert unwanted.follow(jobs, set(), NOW + 4) == []
    assert (unwanted.job_ids, unwanted.seconds_left(NOW + 4)) == (["7.0", "7.1"], [10, 6])
    assert unwanted.follow(jobs, set(), NOW + 10) == ["7.1"]
    assert unwanted.seconds_left(NOW + 10) == [4]  # what is to go now is waited for no longer
    # It was wanted in between, so it has all its grace again.
    assert unwanted.follow(jobs, {"7.0", "7.1"}, NOW + 11) == []
    assert unwanted.follow(jobs, set(), NOW + 30) == []


def test_a_job_that_has_ended_is_unwanted_only_while_its_output_waits() -> None:
    unwanted = Unwanted(GRACE)
    jobs = [job(JobStatus.COMPLETED, "7.0"), job(JobStatus.COMPLETED, "7.1", fetchable=True)]
    assert unwanted.follow(jobs, set(), NOW) == []
    assert unwanted.job_ids == ["7.1"]
