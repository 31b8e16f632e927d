"""What is decided about a worker, as tables."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcdaskgateway.condor.schedd import JobStatus, ObservedJob
from htcdaskgateway.server.verdicts import (
    Do,
    Facts,
    Limits,
    Link,
    Pending,
    Verdict,
    judge,
    pending_order,
    surplus,
)

NOW = 10_000.0
LIMITS = Limits(start=600, lost=30, idle=0, period=5, grace=10)


def job(status: JobStatus, age: float = 0) -> ObservedJob:
    return ObservedJob("7.0", "cluster", "worker", status, since=NOW - age)


def x509(left: float) -> ObservedJob:
    return replace(job(JobStatus.IDLE, 60), x509_until=NOW + left)


def facts(
    link: Link = Link.NEVER,
    age: float = 0,
    *,
    job_id: str = "7.0",
    asked: bool = True,
    close_expected: bool = False,
) -> Facts:
    return Facts(job_id, asked, link, NOW - age, close_expected)


HELD = replace(job(JobStatus.HELD), hold_code=13, hold_subcode=2, hold_reason="no such file")
TABLE = {
    "submit outcome unknown, no job": (facts(job_id=""), None, Do.SUBMIT),
    "submit outcome unknown, job is there": (facts(job_id=""), job(JobStatus.IDLE), Do.ADOPT),
    "submit outcome unknown, job held": (facts(job_id=""), HELD, Do.ADOPT),
    "job gone before it connected": (facts(), None, Do.GONE),
    "job gone while connected": (facts(Link.CONNECTED), None, Do.GONE),
    "job gone, retired": (facts(Link.RETIRING, close_expected=True), None, Do.FINISH),
    "held": (facts(), HELD, Do.FAIL),
    "held while connected": (facts(Link.CONNECTED), HELD, Do.FAIL),
    "idle for days": (facts(), job(JobStatus.IDLE, 1e6), Do.WAIT),
    "idle, its X.509 proxy is good": (facts(), x509(61), Do.WAIT),
    "running, its X.509 proxy ends": (facts(), replace(x509(59), status=JobStatus.RUNNING), Do.KEEP),
    "idle again after an eviction": (facts(Link.LOST, 1e3), job(JobStatus.IDLE, 60), Do.WAIT),
    "starting": (facts(), job(JobStatus.RUNNING, 599), Do.KEEP),
    "starting for too long": (facts(), job(JobStatus.RUNNING, 601), Do.FAIL),
    "running": (facts(Link.CONNECTED, 1e6), job(JobStatus.RUNNING, 1e6), Do.KEEP),
    "retiring for long": (
        facts(Link.RETIRING, 1e4, close_expected=True),
        job(JobStatus.RUNNING, 1e6),
        Do.KEEP,
    ),
    "retired": (facts(Link.LOST, 0, close_expected=True), job(JobStatus.RUNNING, 1e6), Do.FINISH),
    "the nanny restarts it": (facts(Link.LOST, 29), job(JobStatus.RUNNING, 1e6), Do.KEEP),
    "lost": (facts(Link.LOST, 31), job(JobStatus.RUNNING, 1e6), Do.FAIL),
    "suspended": (facts(Link.LOST, 1e6), job(JobStatus.SUSPENDED, 1e6), Do.KEEP),
    "output comes back": (facts(Link.LOST, 1e6), job(JobStatus.TRANSFERRING_OUTPUT), Do.KEEP),
    "ended, its output not fetched yet": (facts(Link.LOST, 5), job(JobStatus.COMPLETED), Do.GONE),
    "retired, its output not fetched yet": (
        facts(Link.LOST, 5, close_expected=True),
        job(JobStatus.COMPLETED),
        Do.FINISH,
    ),
    "somebody removed it": (facts(Link.LOST, 1e6), job(JobStatus.REMOVED), Do.KEEP),
}


@pytest.mark.parametrize(("known", "found", "expected"), TABLE.values(), ids=TABLE)
def test_judge(known: Facts, found: ObservedJob | None, expected: Do) -> None:
    assert judge(known, found, NOW, LIMITS).do is expected


@pytest.mark.parametrize(
    ("known", "found", "reason"),
    [
        (facts(), HELD, "held: [13/2] no such file"),
        (facts(), replace(HELD, hold_reason=" "), "held: [13/2] HTCondor gives no reason"),
        (
            facts(),
            job(JobStatus.RUNNING, 700),
            "its job has run for 700 s, but it has not connected to the scheduler",
        ),
        (
            facts(Link.LOST, 40),
            job(JobStatus.RUNNING, 700),
            "no connection to the scheduler for 40 s while its job runs",
        ),
    ],
)
def test_a_failure_says_why(known: Facts, found: ObservedJob, reason: str) -> None:
    assert judge(known, found, NOW, LIMITS) == Verdict(Do.FAIL, reason)


def test_a_worker_that_waits_for_a_new_x509_proxy_says_so() -> None:
    verdict = judge(facts(), x509(59), NOW, LIMITS)
    assert verdict.do is Do.WAIT
    assert verdict.reason == (
        "its X.509 proxy ends at 1970-01-01 02:47:39 UTC: it does not start before you have made a new one"
    )
    assert judge(facts(), x509(60), NOW, LIMITS) == Verdict(Do.WAIT)


def test_queue_time_fails_a_worker_only_where_the_site_limits_it() -> None:
    waiting = job(JobStatus.IDLE, 101)
    limited = Limits(start=1, lost=1, idle=100, period=5, grace=10)
    assert judge(facts(), waiting, NOW, LIMITS).do is Do.WAIT
    assert judge(facts(), waiting, NOW, limited) == Verdict(
        Do.FAIL, "idle for 101 s, the site's limit is 100 s"
    )


def test_zero_means_without_limit() -> None:
    unlimited = Limits(start=0, lost=0, idle=0, period=5, grace=10)
    assert judge(facts(), job(JobStatus.RUNNING, 1e9), NOW, unlimited).do is Do.KEEP
    assert judge(facts(Link.LOST, 1e9), job(JobStatus.RUNNING, 1e9), NOW, unlimited).do is Do.KEEP


def test_surplus_takes_what_has_come_least_far() -> None:
    pending = [
        Pending("starting", pending_order("1.0", JobStatus.RUNNING)),
        Pending("idle", pending_order("1.1", JobStatus.IDLE)),
        Pending("wanted", pending_order("", None)),
    ]
    assert surplus(3, 0, pending) == []
    assert surplus(2, 0, pending) == ["wanted"]
    assert surplus(2, 1, pending) == ["wanted", "idle"]
    assert surplus(0, 5, pending) == ["wanted", "idle", "starting"]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_surplus_leaves_as_many_as_are_wanted(count: int, connected: int, waiting: int) -> None:
    pending = [Pending(str(number), number % 3) for number in range(waiting)]
    left = connected + waiting - len(set(surplus(count, connected, pending)))
    assert left == max(connected, min(count, connected + waiting))
