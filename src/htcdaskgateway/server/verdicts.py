"""What to do with one worker, from what is known of it. Pure: no clock, no queue, no database."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from htcdaskgateway.condor.schedd import X509_MARGIN, JobStatus, ObservedJob
from htcdaskgateway.credentials.words import moment


class Link(enum.Enum):
    """What the scheduler's heartbeats say of a worker."""

    NEVER = "never connected"
    CONNECTED = "connected"
    RETIRING = "the scheduler retires it"
    LOST = "was connected, is not"


@dataclass(frozen=True)
class Facts:
    """What is known of a worker that is still wanted.

    Attributes
    ----------
    job_id : str
        Empty while no job is known.
    asked : bool
        A submit for it was begun, whose outcome was not heard.
    link : Link
    link_since : float
        When the link became what it is, seconds since the epoch.
    close_expected : bool
        The scheduler said that it retires this worker.
    """

    job_id: str
    asked: bool
    link: Link
    link_since: float
    close_expected: bool


class Do(enum.Enum):
    WAIT = "wait"
    SUBMIT = "submit"
    ADOPT = "adopt the job that the queue shows"
    KEEP = "keep"
    FAIL = "fail, and remove its job"
    GONE = "its job has ended: find out why"
    FINISH = "it has ended as it was asked to"


@dataclass(frozen=True)
class Verdict:
    do: Do
    reason: str = ""


@dataclass(frozen=True)
class Limits:
    """Seconds; 0 means without limit for the first three.

    Attributes
    ----------
    start : float
        From the start of the job until its worker has connected. Queue time does not count.
    lost : float
        Without a connection while the job runs. The nanny needs a few seconds to restart a worker.
    idle : float
        In the queue.
    period : float
        Between two looks at the queue.
    grace : float
        That the job of a worker that is not wanted any more may take to end by itself.
    """

    start: float
    lost: float
    idle: float
    period: float
    grace: float


def judge(facts: Facts, job: ObservedJob | None, now: float, limits: Limits) -> Verdict:
    """Decide about a wanted worker. ``job`` is what a complete answer of the queue shows, None: no job.

    Only to be called with an answer that is younger than the record's last submit: silence of the
    schedd decides nothing.
    """
    if job is None:
        if not facts.job_id:
            return Verdict(Do.SUBMIT)
        return Verdict(Do.FINISH if facts.close_expected else Do.GONE)
    if not facts.job_id:
        return Verdict(Do.ADOPT)
    if job.status is JobStatus.HELD:
        words = job.hold_reason.strip() or "HTCondor gives no reason"
        return Verdict(Do.FAIL, f"held: [{job.hold_code}/{job.hold_subcode}] {words}")
    if job.status is JobStatus.COMPLETED:
        return Verdict(Do.FINISH if facts.close_expected else Do.GONE)
    waited = now - job.since
    if job.status is JobStatus.IDLE:
        if limits.idle and waited > limits.idle:
            return Verdict(Do.FAIL, f"idle for {waited:.0f} s, the site's limit is {limits.idle:.0f} s")
        if job.x509_until and now > job.x509_until - X509_MARGIN:  # as its requirements say
            end = f"its X.509 proxy ends at {moment(job.x509_until)}"
            return Verdict(Do.WAIT, f"{end}: it does not start before you have made a new one")
        return Verdict(Do.WAIT)
    if job.status is not JobStatus.RUNNING:
        return Verdict(Do.KEEP)  # on its way out of the queue, or suspended
    if facts.link is Link.LOST:
        if facts.close_expected:
            return Verdict(Do.FINISH)
        lost = now - facts.link_since
        if limits.lost and lost > limits.lost:
            return Verdict(Do.FAIL, f"no connection to the scheduler for {lost:.0f} s while its job runs")
    if facts.link is Link.NEVER and limits.start and waited > limits.start:
        return Verdict(
            Do.FAIL, f"its job has run for {waited:.0f} s, but it has not connected to the scheduler"
        )
    return Verdict(Do.KEEP)


@dataclass(frozen=True)
class Pending:
    """A wanted worker that is not connected. ``order``: lower is given up first."""

    name: str
    order: int


def pending_order(job_id: str, status: JobStatus | None) -> int:
    """No job yet, then idle in the queue, then starting."""
    if not job_id:
        return 0
    return 2 if status is JobStatus.RUNNING else 1


def surplus(count: int, connected: int, pending: Sequence[Pending]) -> list[str]:
    """Names of pending workers that are not wanted at this count.

    Connected workers are never among them: the scheduler retires those itself, so that their results
    are moved first.
    """
    excess = connected + len(pending) - count
    if excess <= 0:
        return []
    return [worker.name for worker in sorted(pending, key=lambda worker: worker.order)[:excess]]
