"""One look at a cluster: what is wanted, what there is, and why there is not more. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.slot_match import Found
from htcdaskgateway.client.views.reasons import Reason, is_held, reasons
from htcdaskgateway.credentials.words import duration
from htcdaskgateway.records import WorkerState

GIB = 2**30


@dataclass(frozen=True)
class Surroundings:
    """What is known of a cluster beside its workers; each empty if it is not."""

    dashboard: str = ""
    sandbox: str = ""
    versions: str = ""


@dataclass(frozen=True)
class ClusterView:
    """What is shown of a cluster.

    Attributes
    ----------
    status : str
        Of the cluster, as the gateway says it; empty: not known yet.
    wanted : int
        How many workers there are to be.
    unsubmitted, idle, starting, running, leaving : int
        Workers by their states.
    held, failed : int
        Those that have failed lately, because HTCondor held their jobs or otherwise.
    cores : int
    memory : int
        Bytes; of the workers that run; 0: not known.
    reasons : tuple of Reason
    now : float
        Seconds since the epoch, when it was made.
    closed : bool
        This session has let go of it.
    """

    name: str
    status: str = ""
    wanted: int = 0
    maximum: int | None = None
    unsubmitted: int = 0
    idle: int = 0
    starting: int = 0
    running: int = 0
    leaving: int = 0
    held: int = 0
    failed: int = 0
    cores: int = 0
    memory: int = 0
    image: str = ""
    reasons: tuple[Reason, ...] = ()
    around: Surroundings = field(default_factory=Surroundings)
    now: float = 0.0
    closed: bool = False

    @property
    def title(self) -> str:
        """Name and status, in a few words."""
        told = self.status or "no news yet"
        if self.closed:
            told = "closed here" + (f"; last seen {self.status}" if self.status else "")
        return f"Cluster {self.name}: {told}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be asked of it here."""
        return self.closed or self.status not in ("running", "pending", "")

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Name and number of each state, in the order of a worker's life; always the same names."""
        names = ("unsubmitted", "idle", "starting", "running", "leaving", "held", "failed")
        return [(name, getattr(self, name)) for name in names]

    @property
    def states(self) -> str:
        """Such as ``2 running, 1 idle``."""
        order = ("running", "starting", "idle", "unsubmitted", "leaving", "held", "failed")
        return ", ".join(f"{getattr(self, name)} {name}" for name in order if getattr(self, name)) or "none"

    @property
    def size(self) -> str:
        """Such as ``8 cores, 16.0 GiB``; empty if it is not known."""
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{cores}, {self.memory / GIB:.1f} GiB" if self.cores else ""

    def age(self, reason: Reason) -> str:
        """How long a reason has been one; of a failure, how long ago. Empty if that is not known."""
        if not reason.since or self.now < reason.since:
            return ""
        told = duration(self.now - reason.since)
        return f"{told} ago" if reason.kind in ("held", "failed") else f"for {told}"

    def to_json(self) -> dict[str, Any]:
        told = asdict(self)
        around = told.pop("around")
        return {**told, **around, "reasons": [reason.to_json() for reason in self.reasons]}


def look(
    name: str,
    report: WorkersReport,
    now: float,
    slots: Found | None = None,
    around: Surroundings | None = None,
) -> ClusterView:
    """Make the view of a cluster.

    Parameters
    ----------
    name : str
    report : WorkersReport
    now : float
        Seconds since the epoch.
    slots : Found, optional
        What is known of slots for idle jobs.
    around : Surroundings, optional
    """
    number = {state: sum(worker.state is state for worker in report.workers) for state in WorkerState}
    held = sum(is_held(worker) for worker in report.workers)
    running = number[WorkerState.RUNNING]
    return ClusterView(
        name,
        report.status,
        wanted=report.count,
        maximum=report.maximum,
        unsubmitted=number[WorkerState.WANTED],
        idle=number[WorkerState.IDLE],
        starting=number[WorkerState.STARTING],
        running=running,
        leaving=number[WorkerState.LEAVING],
        held=held,
        failed=number[WorkerState.FAILED] - held,
        cores=running * report.cores,
        memory=running * report.memory,
        image=report.image,
        reasons=reasons(report, slots),
        around=around or Surroundings(),
        now=now,
    )
