"""What a gateway tells of a cluster's workers, and what follows from it. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.records import WorkerRecord, WorkerState

LIVE = (WorkerState.WANTED, WorkerState.IDLE, WorkerState.STARTING, WorkerState.RUNNING)


@dataclass(frozen=True)
class WorkersReport:
    """Answer of ``GET /api/v1/clusters/{name}/workers``.

    Attributes
    ----------
    revision : int
        Grows with every change, as long as the gateway runs.
    status : str
        Of the cluster: ``pending``, ``running``, ``stopping``, ``stopped`` or ``failed``.
    count : int
        How many workers are wanted.
    maximum : int or None
        The site's limit for one cluster.
    gave_up : bool
        Too many workers in a row did not start: no more are tried until the next ``scale`` or ``adapt``.
    problem : str
        Why the cluster is not as it should be, in one sentence; empty if it is.
    workers : tuple of WorkerRecord
    cores, memory : int
        Of one worker, memory in bytes; 0: not known.
    image : str
        Image reference of scheduler and workers; empty: none, or not known.
    lacks_session : bool
        Sessions of its owner submit for this cluster, and the gateway knows of none that is there now.
    adapts : tuple of (int or None), or None
        The load decides on ``count``, between these two; None: ``scale`` has.
    """

    revision: int
    status: str
    count: int
    maximum: int | None
    gave_up: bool
    problem: str
    workers: tuple[WorkerRecord, ...]
    cores: int = 0
    memory: int = 0
    image: str = ""
    lacks_session: bool = False
    adapts: tuple[int | None, int | None] | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WorkersReport:
        workers = tuple(WorkerRecord.from_json(record) for record in data["workers"])
        plain = ("revision", "status", "count", "maximum", "gave_up", "problem")
        more = {name: data[name] for name in ("cores", "memory", "image") if data.get(name)}
        lacks = data.get("submitter") == "session" and data.get("session") is None
        if data.get("adapts"):
            more["adapts"] = tuple(data["adapts"])
        return cls(**{name: data[name] for name in plain}, workers=workers, lacks_session=lacks, **more)

    @property
    def has_ended(self) -> bool:
        return self.status not in ("pending", "running")

    @property
    def most(self) -> int | None:
        """So many workers may be wanted unless somebody scales or adapts anew; None: any number."""
        if self.adapts is None:
            return self.count
        return min((bound for bound in (self.adapts[1], self.maximum) if bound is not None), default=None)

    @property
    def decided(self) -> str:
        """Who has decided on the count, in a few words."""
        if self.adapts is None:
            return f"the cluster is scaled to {self.count}"
        low, high = self.adapts[0] or 0, self.most
        between = f"between {low} and {high}" if high is not None else f"{low} or more"
        return f"the load decides, {between}; it asks for {self.count} now"

    @property
    def running(self) -> int:
        return sum(worker.state is WorkerState.RUNNING for worker in self.workers)

    @property
    def states(self) -> str:
        """Such as ``2 running, 3 idle``; workers that have ended as they were asked to are left out."""
        counts = Counter(worker.state for worker in self.workers)
        shown = (*reversed(LIVE), WorkerState.FAILED)
        return ", ".join(f"{counts[state]} {state}" for state in shown if counts[state]) or "none"

    @property
    def why(self) -> str:
        """Why the missing ones do not come: the cluster's problem, else the latest reason of a worker."""
        reasons = [(worker.since, worker.reason) for worker in self.workers if worker.reason]
        return self.problem or max(reasons, default=(0.0, ""))[1]


def worker_count(value: object, name: str = "n") -> int:
    """Check a number of workers.

    Raises
    ------
    InvalidRequestError
        It is not a whole number, or negative.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InvalidRequestError(f"{name} must be a whole number of workers, not {value!r}.")
    number = int(value.__index__())
    if number < 0:
        raise InvalidRequestError(f"{name} must not be negative, got {number}.")
    return number


def check_seconds(timeout: object) -> None:
    """Check a time to wait; None: no limit.

    Raises
    ------
    InvalidRequestError
    """
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not float(timeout) >= 0:
        raise InvalidRequestError(f"timeout must be a number of seconds, not negative, got {timeout!r}.")
