"""Jobs without HTCondor: each is a process on this host. For demonstrations."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from htcdaskgateway.condor.quoting import classad_text, expand
from htcdaskgateway.condor.schedd import Action, EndedJob, JobStatus, ObservedJob, SubmitDescription
from htcdaskgateway.errors import ConfigurationError, SubmitRefusedError

_REMEMBERED = 10_000  # jobs of which `ended` knows
# What a job gets of our environment. The rest, where credentials may be, is none of its business.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Program:
    """What a job runs, read from its submit commands."""

    executable: Path
    arguments: tuple[str, ...]
    sandbox: Path
    inputs: tuple[Path, ...]
    output: Path
    error: Path


@dataclass
class _Job:
    gateway: str
    program: Program
    observed: ObservedJob
    process: asyncio.subprocess.Process | None = None
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
            self._jobs[observed.job_id] = _Job(gateway, _program(commands, worker, observed.job_id), observed)
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
            elif job.task is not None:
                job.ending = action
                self._end(job.process)
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
            job.task = asyncio.create_task(self._run(job))

    async def _run(self, job: _Job) -> None:
        scratch = Path(tempfile.mkdtemp(prefix="htcdask-job-"))  # 0700
        code: int | None = None
        try:
            for file in job.program.inputs:
                shutil.copyfile(file, scratch / file.name, follow_symlinks=True)
                (scratch / file.name).chmod(0o600)
            code = await self._process(job, scratch)
        except OSError as error:
            if job.ending is None:
                self._hold(job, *_why_held(job.program, error))
        finally:
            job.task = job.process = None
            shutil.rmtree(scratch, ignore_errors=True)
            self._settle(job, code)
            self._fill_slots()

    async def _process(self, job: _Job, scratch: Path) -> int:
        program = job.program
        with _private(program.output) as output, _private(program.error) as error:
            process = job.process = await asyncio.create_subprocess_exec(
                program.executable,
                *program.arguments,
                cwd=scratch,
                env={**self._environment, "TMPDIR": str(scratch)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=error,
                start_new_session=True,
            )
        if job.ending is not None:  # meant while it was being started
            self._end(process)
        try:
            return await process.wait()
        finally:
            _signal_group(process.pid, signal.SIGKILL)  # what it has left behind

    def _end(self, process: asyncio.subprocess.Process | None) -> None:
        """Ask a job to end, and make it: SIGTERM, later SIGKILL."""
        if process is not None:
            _signal_group(process.pid, signal.SIGTERM)
            asyncio.get_running_loop().call_later(self._kill_after, _kill_if_alive, process)

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

    def _set(self, job: _Job, status: JobStatus, **changes: object) -> None:
        fresh = {"host": "", "hold_code": 0, "hold_subcode": 0, "hold_reason": "", **changes}
        job.observed = replace(job.observed, status=status, since=time.time(), **fresh)  # type: ignore[arg-type]

    def _hold(self, job: _Job, reason: str, code: int, subcode: int) -> None:
        self._set(job, JobStatus.HELD, hold_reason=reason, hold_code=code, hold_subcode=subcode)

    def _leave(self, job: _Job, ended: EndedJob) -> None:
        del self._jobs[ended.job_id]
        self._ended[ended.job_id] = ended
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)


def _attribute(commands: Mapping[str, str], name: str, worker: str) -> str:
    return classad_text(expand(commands.get(name, '""'), worker))


def _program(commands: Mapping[str, str], worker: str, job_id: str) -> Program:
    sandbox = Path(expand(commands["initialdir"], worker))

    def file(command: str, default: str) -> Path:
        return sandbox / expand(commands.get(command, default), worker)

    inputs = expand(commands.get("transfer_input_files", ""), worker).split(",")
    return Program(
        executable=file("executable", ""),
        arguments=tuple(expand(commands.get("arguments", ""), worker, job_id).split()),
        sandbox=sandbox,
        inputs=tuple(sandbox / name.strip() for name in inputs if name.strip()),
        output=file("output", os.devnull),
        error=file("error", os.devnull),
    )


def _private(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to all processes of a job, whose group its first one leads."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _kill_if_alive(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGKILL)


def _why_held(program: Program, error: OSError) -> tuple[str, int, int]:
    """Give hold reason, code and subcode as HTCondor numbers them."""
    words = f"{error.strerror}: {error.filename}"
    if Path(str(error.filename)) in program.inputs:
        return f"Transfer input files failure: {words}", 13, error.errno or 0
    return f"Failed to execute the job: {words}", 6, error.errno or 0
