"""A schedd in memory, with faults to switch on. It passes the same contract tests as the real ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from htcdaskgateway.condor.ads import checked_ids
from htcdaskgateway.condor.errors import OutputError
from htcdaskgateway.condor.quoting import classad_text, expand
from htcdaskgateway.condor.schedd import Action, EndedJob, JobStatus, ObservedJob, SubmitDescription
from htcdaskgateway.errors import (
    ActionRefusedError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)


@dataclass
class _Job:
    gateway: str
    observed: ObservedJob
    spooled: bool = False


class FakeSchedd:
    """Jobs start at the first query after their submit.

    Attributes
    ----------
    unavailable : str
        If set: every call raises ScheddUnavailableError with these words, and does nothing.
    silent : str
        ``"acted"`` or ``"not acted"``: every call raises ScheddSilentError, after or instead of acting.
    refuse, refuse_action, refuse_output : str
        If set: every submit, every act, or every transfer of output is refused with these words.
    never_start : bool
        Jobs stay idle.
    submits : list of SubmitDescription
    acts : list of (Action, list of str)
    fetches : list of (list of str, str)
        What reached the schedd, whether it answered or not.
    queries, searches : int
    """

    def __init__(self) -> None:
        self.unavailable = self.silent = self.refuse = self.refuse_action = self.refuse_output = ""
        self.never_start = False
        self.submits: list[SubmitDescription] = []
        self.acts: list[tuple[Action, list[str]]] = []
        self.fetches: list[tuple[list[str], str]] = []
        self.queries = self.searches = 0
        self.closed = False
        self.jobs: dict[str, _Job] = {}
        self.history: dict[str, EndedJob] = {}
        self._clusters = 0

    @property
    def name(self) -> str:
        return "fake@"

    async def submit(self, description: SubmitDescription) -> list[str]:
        what = f"the submit of {len(description.worker_names)} jobs"
        self._before(what)
        self.submits.append(description)
        if self.refuse:
            raise SubmitRefusedError(self.name, self.refuse)
        self._clusters += 1
        ids = []
        for index, worker in enumerate(description.worker_names):
            job_id = f"{self._clusters}.{index}"
            values = {
                name: classad_text(expand(description.commands.get(name, '""'), worker))
                for name in ("+HTCDaskGateway", "+HTCDaskCluster", "+HTCDaskWorker", "+HTCDaskUser")
            }
            observed = ObservedJob(
                job_id,
                values["+HTCDaskCluster"],
                values["+HTCDaskWorker"],
                JobStatus.IDLE,
                time.time(),
                user=values["+HTCDaskUser"],
            )
            self.jobs[job_id] = _Job(values["+HTCDaskGateway"], observed, description.spool)
            ids.append(job_id)
        self._after(what)
        return ids

    async def query(self, gateway: str, cluster: str = "") -> list[ObservedJob]:
        self._before("a query")
        self.queries += 1
        found = []
        for job in self.jobs.values():
            if job.gateway == gateway and cluster in ("", job.observed.cluster_name):
                if job.observed.status is JobStatus.IDLE and not self.never_start:
                    self._set(job.observed.job_id, JobStatus.RUNNING, host="slot1_1@execute-point")
                found.append(job.observed)
        self._after("a query")
        return found

    async def act(self, action: Action, job_ids: Sequence[str]) -> int:
        ids = checked_ids(job_ids)
        what = f"the order to {action.value} {len(ids)} jobs"
        self._before(what)
        self.acts.append((action, ids))
        if self.refuse_action:
            raise ActionRefusedError(self.name, action.value, self.refuse_action)
        found = [job_id for job_id in ids if job_id in self.jobs]
        if action is Action.RELEASE:
            found = [job_id for job_id in found if self.status(job_id) is JobStatus.HELD]
        for job_id in found:
            if action is Action.REMOVE:
                self._leave(EndedJob(job_id, JobStatus.REMOVED, removed_because="via the test double"))
            elif action is Action.HOLD:
                self.hold(job_id, "via the test double", 1, 0)
            else:
                self._set(job_id, JobStatus.IDLE)
        self._after(what)
        return len(found)

    async def ended(self, job_ids: Sequence[str]) -> list[EndedJob]:
        ids = checked_ids(job_ids)
        self._before("a search in the history")
        self.searches += 1
        self._after("a search in the history")
        return [self.history[job_id] for job_id in ids if job_id in self.history]

    async def fetch(self, job_ids: Sequence[str], sandbox: str) -> list[str]:
        ids = checked_ids(job_ids)
        self._before("a transfer")
        self.fetches.append((ids, sandbox))
        found = [job_id for job_id in ids if job_id in self.jobs and self.jobs[job_id].observed.fetchable]
        if found and self.refuse_output:
            raise OutputError(self.name, found, self.refuse_output)
        for job_id in found:
            job = self.jobs[job_id].observed
            self._leave(EndedJob(job_id, JobStatus.COMPLETED, job.exit_code, job.exit_signal))
        self._after("a transfer")
        return found

    async def close(self) -> None:
        self.closed = True

    # What a test makes happen to jobs.

    def status(self, job_id: str) -> JobStatus:
        return self.jobs[job_id].observed.status

    def id_of(self, worker_name: str) -> str:
        """Give the job id of a worker; KeyError if it has no job in the queue."""
        ids = {job.observed.worker_name: job_id for job_id, job in self.jobs.items()}
        return ids[worker_name]

    def hold(self, job_id: str, reason: str, code: int = 13, subcode: int = 2) -> None:
        self._set(job_id, JobStatus.HELD, hold_reason=reason, hold_code=code, hold_subcode=subcode)

    def end(self, job_id: str, exit_code: int | None = 0, exit_signal: int | None = None) -> None:
        """Let a job end by itself; with ``exit_signal``, by a signal. A spooled one stays in the queue."""
        code = None if exit_signal is not None else exit_code
        if self.jobs[job_id].spooled:
            self._set(job_id, JobStatus.COMPLETED)
            job = self.jobs[job_id]
            job.observed = replace(job.observed, exit_code=code, exit_signal=exit_signal, fetchable=True)
            return
        self._leave(EndedJob(job_id, JobStatus.COMPLETED, code, exit_signal))

    def remove(self, job_id: str, why: str) -> None:
        """Let a job be removed by HTCondor itself."""
        self._leave(EndedJob(job_id, JobStatus.REMOVED, removed_because=why))

    def forget(self, job_id: str) -> None:
        """Let a job go without a trace in the history."""
        del self.jobs[job_id]

    def _before(self, what: str) -> None:
        if self.unavailable:
            raise ScheddUnavailableError(self.name, self.unavailable)
        if self.silent not in ("", "acted", "not acted"):
            raise ValueError(f"silent is {self.silent!r}")
        if self.silent == "not acted":
            raise ScheddSilentError(self.name, what, 30)

    def _after(self, what: str) -> None:
        if self.silent == "acted":
            raise ScheddSilentError(self.name, what, 30)

    def _set(
        self,
        job_id: str,
        status: JobStatus,
        host: str = "",
        hold_reason: str = "",
        hold_code: int = 0,
        hold_subcode: int = 0,
    ) -> None:
        job = self.jobs[job_id]
        job.observed = replace(
            job.observed,
            status=status,
            since=time.time(),
            host=host,
            hold_reason=hold_reason,
            hold_code=hold_code,
            hold_subcode=hold_subcode,
        )

    def _leave(self, ended: EndedJob) -> None:
        del self.jobs[ended.job_id]
        self.history[ended.job_id] = ended
