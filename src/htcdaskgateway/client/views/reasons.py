"""Why workers do not come, in HTCondor's words, and what to do about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.slot_match import Found
from htcdaskgateway.records import WorkerRecord, WorkerState

MOST_KINDS = 6  # of failures, each with words of its own
SCALE_AGAIN = "Mend the cause, then cluster.scale(n) or cluster.adapt(…) tries again."
_HELD = re.compile(r"held: \[(\d+)/\d+\]")
# By HoldReasonCode; source: HTCondor manual, "Job ClassAd Attributes".
HOLD_REMEDIES = {
    1: "Somebody held the job by hand; a new one takes its place.",
    3: "A rule of the site or of the access point held the job: ask its administrator about these words.",
    6: "The job could not be started there: cluster.logs() shows what it wrote.",
    12: "Files did not come back from the job: see that the sandbox can be written, and is not full.",
    13: "Files did not reach the job: see that those of the sandbox are there and can be read.",
    21: "The execute point could not run the job; a new one may come to another.",
    26: "A rule of the access point held the job: ask its administrator about these words.",
    34: "Ask for more: new_cluster(worker_memory=…), in GB, or smaller tasks.",
}


@dataclass(frozen=True)
class Reason:
    """One reason, for all workers that have it.

    Attributes
    ----------
    kind : str
        ``cluster``, ``unsubmitted``, ``idle``, ``starting``, ``held`` or ``failed``.
    count : int
        So many workers; 0: all of the cluster.
    text : str
        HTCondor's words where it has any.
    remedy : str
    since : float
        Since when, or for a failure the last time; seconds since the epoch; 0: not known.
    """

    kind: str
    count: int
    text: str
    remedy: str = ""
    since: float = 0.0

    @property
    def title(self) -> str:
        """Such as ``3 held``."""
        return f"{self.count} {self.kind}" if self.count else self.kind

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def is_held(worker: WorkerRecord) -> bool:
    """Whether it failed because HTCondor held its job."""
    return worker.state is WorkerState.FAILED and worker.reason.startswith("held: ")


def reasons(report: WorkersReport, slots: Found | None = None) -> tuple[Reason, ...]:
    """Say why workers that are wanted do not run; nothing, if all of them do.

    Parameters
    ----------
    report : WorkersReport
    slots : Found, optional
        What is known of slots for idle jobs.
    """
    if report.has_ended:
        return (Reason("cluster", 0, report.problem),) if report.problem else ()
    missing = report.running < report.count
    said = [Reason("cluster", 0, report.problem)] if report.problem else []
    if not missing:
        return tuple(said)
    by_state = {state: [w for w in report.workers if w.state is state] for state in WorkerState}
    for state, why in (
        (WorkerState.WANTED, lambda found: _unsubmitted(found, report)),
        (WorkerState.IDLE, lambda found: _idle(found, slots)),
        (WorkerState.STARTING, _starting),
    ):
        if found := by_state[state]:
            said.append(why(found))
    failed = by_state[WorkerState.FAILED]
    return (*said, *_failures(failed, report.gave_up))


def _unsubmitted(workers: Sequence[WorkerRecord], report: WorkersReport) -> Reason:
    told = "" if report.problem else "They have no job yet: the gateway is about to submit them."
    return Reason("unsubmitted", len(workers), told, since=_first(workers))


def _idle(workers: Sequence[WorkerRecord], slots: Found | None) -> Reason:
    text, remedy = "Their jobs wait in HTCondor's queue for a free slot.", ""
    if slots is not None and slots.match is not None:
        text, remedy = f"{slots.match.sentence} A worker needs {slots.match.need}.", slots.match.remedy
    elif slots is not None and slots.problem:
        text += f" How many slots match is not known: {slots.problem}"
    return Reason("idle", len(workers), text, remedy, _first(workers))


def _starting(workers: Sequence[WorkerRecord]) -> Reason:
    text = "Their jobs run and have not connected to the scheduler yet."
    return Reason("starting", len(workers), text, since=_first(workers))


def _failures(workers: Iterable[WorkerRecord], gave_up: bool) -> list[Reason]:
    """The same words once, the latest first."""
    kinds: dict[tuple[str, str], list[WorkerRecord]] = {}
    for worker in sorted(workers, key=lambda one: -one.since):
        kind = "held" if is_held(worker) else "failed"
        kinds.setdefault((kind, worker.reason.removeprefix("held: ")), []).append(worker)
    found = []
    for (kind, text), same in list(kinds.items())[:MOST_KINDS]:
        code = _HELD.match(same[0].reason)
        remedy = HOLD_REMEDIES.get(int(code[1]), "") if code else ""
        if not remedy:
            remedy = f'cluster.logs("{same[0].name[:8]}") shows what it wrote.'
        if gave_up:
            remedy = f"{remedy} {SCALE_AGAIN}"
        found.append(Reason(kind, len(same), text or "no reason is known", remedy, same[0].since))
    return found


def _first(workers: Iterable[WorkerRecord]) -> float:
    return min((worker.since for worker in workers if worker.since), default=0.0)
