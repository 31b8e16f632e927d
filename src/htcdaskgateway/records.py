"""What the gateway knows of a worker, as the gateway sends it and the client shows it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


class WorkerState(str, enum.Enum):
    """Where a worker is on its way.

    ``wanted`` (no job yet), ``idle`` (its job waits in the queue), ``starting`` (its job runs, it has
    not connected to the scheduler), ``running``, ``leaving`` (no longer wanted, its job still in the
    queue), ``finished`` (as it was asked to) and ``failed`` (with a reason).
    """

    WANTED = "wanted"
    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    LEAVING = "leaving"
    FINISHED = "finished"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


def dask_name(job_id: str) -> str:
    """Name in Dask of the worker that this job starts; see ``worker/start_worker.sh``."""
    return f"htcdask-worker_{job_id.replace('.', '_')}"


@dataclass(frozen=True)
class WorkerRecord:
    """One worker of a cluster.

    Attributes
    ----------
    name : str
        Given by the gateway; in the names of the worker's files too.
    state : WorkerState
    job_id : str
        HTCondor's ``ClusterId.ProcId``, empty while there is none. Unique on its schedd only.
    schedd : str
        Name of the schedd that has the job.
    host : str
        Slot and execute point that run the job, empty while none does.
    reason : str
        Why it does not come or has gone, HTCondor's words where HTCondor has them.
    since : float
        When it came into this state, seconds since the epoch.
    """

    name: str
    state: WorkerState
    job_id: str = ""
    schedd: str = ""
    host: str = ""
    reason: str = ""
    since: float = 0.0

    @property
    def dask_name(self) -> str:
        """The worker's name in Dask, such as in the dashboard; empty while it has no job."""
        return dask_name(self.job_id) if self.job_id else ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "state": self.state.value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WorkerRecord:
        """Make it from a gateway's answer; fields that a newer gateway adds are left out."""
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in data.items() if key in known}
        return cls(**{**values, "state": WorkerState(values["state"])})
