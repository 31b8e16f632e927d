"""Jobs without HTCondor: each is a process on this host. For demonstrations."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from htcdaskgateway.condor.job_process import JobProcess, Program
from htcdaskgateway.condor.quoting import classad_text, expand
from htcdaskgateway.condor.schedd import Action, EndedJob, JobStatus, ObservedJob, SubmitDescription
from htcdaskgateway.errors import ConfigurationError, SubmitRefusedError

_REMEMBERED = 10_000  # jobs of which `ended` knows
# What a job gets of our environment. The rest, where credentials may be, is none of its business.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


@dataclass
class _Job:
    gateway: str
    program: Program
    observed: ObservedJob
    process: JobProcess | None = None
    ending: Action | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class ProcessSchedd:
    """Runs the jobs' executables as processes of this account, a bounded number at a time.

    Parameters
    ----------
    slots : int, optional
        Jobs that run at a time; default: one per CPU. The others stay idle.
    kill_after : float
        Seconds from SIGTERM to SIGKILL.
    environment : mapping of str to str, optional
        Environment of the jobs; default: ``PATH``, ``HOME`` and a few others of ours.
    """

    def __init__(
        self,
        slots: int | None = None,
        *,
        kill_after: float = 5,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._slots = (os.cpu_count() or 1) if slots is None else slots
        if self._slots < 1:
            raise ConfigurationError(f"The number of slots is {slots}: it must be at least 1.")
        self._kill_after = kill_after
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._environment = inherited if environment is None else dict(environment)
        self._jobs: dict[str, _Job] = {}
        self._ended: OrderedDict[str, EndedJob] = OrderedDict()
        self._clusters = 0
        self._closed = False

    @property
    def name(self) -> str:
        return "local processes"

    async def submit(self, description: SubmitDescription) -> list[str]:
        if self._closed:
            raise SubmitRefusedError(self.name, "It is closed.")
        commands = description.commands
        missing = {"executable", "initialdir"} - commands.keys()
        if missing:
            raise SubmitRefusedError(self.name, f"The submit command {min(missing)} is missing.")
        sandbox = Path(expand(commands["initialdir"], ""))
        if not sandbox.is_dir():
            raise SubmitRefusedError(self.name, f"No such directory: {sandbox}")
        self._clusters += 1
        ids = []
        for index, worker in enumerate(description.worker_names):
            observed = ObservedJob(
                job_id=f"{self._clusters}.{index}",
                cluster_name=_attribute(commands, "+HTCDaskCluster", worker),
                worker_name=_attribute(commands, "+HTCDaskWorker", worker),
                status=JobStatus.IDLE,
                since=time.time(),
            )
            gateway = _attribute(commands, "+HTCDaskGateway", worker)
            self._jobs[observed.job_id] = _Job(
                gateway, Program.of(commands, worker, observed.job_id), observed
            )
            ids.append(observed.job_id)
        self._fill_slots()
        return ids

    async def query(self, gateway: str, cluster: str = "") -> list[ObservedJob]:
        return [
            job.observed
            for job in self._jobs.values()
            if job.gateway == gateway and cluster in ("", job.observed.cluster_name)
        ]

    async def act(self, action: Action, job_ids: Sequence[str]) -> int:
        acted = 0
        for job in [self._jobs[job_id] for job_id in dict.fromkeys(job_ids) if job_id in self._jobs]:
            held = job.observed.status is JobStatus.HELD
            if action is Action.RELEASE:
                if not held:
                    continue
                self._set(job, JobStatus.IDLE)
            elif job.process is not None:
                job.ending = action
                job.process.end()
                if action is Action.REMOVE:
                    self._set(job, JobStatus.REMOVED)
            elif action is Action.REMOVE:
                self._leave(job, EndedJob(job.observed.job_id, JobStatus.REMOVED, removed_because="removed"))
            elif not held:
                self._hold(job, "held", 1, 0)
            acted += 1
        self._fill_slots()
        return acted

    async def ended(self, job_ids: Sequence[str]) -> list[EndedJob]:
        return [self._ended[job_id] for job_id in dict.fromkeys(job_ids) if job_id in self._ended]

    async def fetch(self, job_ids: Sequence[str], sandbox: str) -> list[str]:
        """Nothing to do: what a process writes is where it is to be, spooled or not."""
        return []

    async def close(self) -> None:
        """End all jobs and wait until they have ended."""
        self._closed = True
        await self.act(Action.REMOVE, list(self._jobs))
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._kill_after + 10)

    def _fill_slots(self) -> None:
        free = self._slots - sum(job.task is not None for job in self._jobs.values())
        idle = [job for job in self._jobs.values() if job.observed.status is JobStatus.IDLE and not job.task]
        for job in idle[: max(free, 0)] if not self._closed else []:
            self._set(job, JobStatus.RUNNING, host=os.uname().nodename)
            job.process = JobProcess(job.program, self._environment, self._kill_after)
            job.task = asyncio.create_task(self._run(job, job.process))

    async def _run(self, job: _Job, process: JobProcess) -> None:
        code: int | None = None
        try:
            code = await process.run()
        except OSError as error:
            if job.ending is None:
                self._hold(job, *job.program.why_held(error))
        finally:
            job.task = job.process = None
            self._settle(job, code)
            self._fill_slots()

    def _settle(self, job: _Job, code: int | None) -> None:
        """Say what became of a job whose process is no more."""
        job_id, ending, job.ending = job.observed.job_id, job.ending, None
        if ending is Action.REMOVE:
            self._leave(job, EndedJob(job_id, JobStatus.REMOVED, removed_because="removed"))
        elif ending is Action.HOLD:
            self._hold(job, "held", 1, 0)
        elif code is not None:
            exit_code, exit_signal = (None, -code) if code < 0 else (code, None)
            self._leave(job, EndedJob(job_id, JobStatus.COMPLETED, exit_code, exit_signal))

    def _set(self, job: _Job, status: JobStatus, **changes: Any) -> None:
        fresh: dict[str, Any] = {"host": "", "hold_code": 0, "hold_subcode": 0, "hold_reason": "", **changes}
        job.observed = replace(job.observed, status=status, since=time.time(), **fresh)

    def _hold(self, job: _Job, reason: str, code: int, subcode: int) -> None:
        self._set(job, JobStatus.HELD, hold_reason=reason, hold_code=code, hold_subcode=subcode)

    def _leave(self, job: _Job, ended: EndedJob) -> None:
        del self._jobs[ended.job_id]
        self._ended[ended.job_id] = ended
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)


def _attribute(commands: Mapping[str, str], name: str, worker: str) -> str:
    return classad_text(expand(commands.get(name, '""'), worker))
