"""One job as a process of this account: what it runs, in a directory that goes with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from htcdaskgateway.condor.quoting import expand


@dataclass(frozen=True)
class Program:
    """What a job runs, read from its submit commands."""

    executable: Path
    arguments: tuple[str, ...]
    sandbox: Path
    inputs: tuple[Path, ...]
    output: Path
    error: Path

    @classmethod
    def of(cls, commands: Mapping[str, str], worker: str, job_id: str) -> Program:
        """Read it; ``executable`` and ``initialdir`` must be there."""
        sandbox = Path(expand(commands["initialdir"], worker))

        def file(command: str, default: str) -> Path:
            return sandbox / expand(commands.get(command, default), worker)

        inputs = expand(commands.get("transfer_input_files", ""), worker).split(",")
        return cls(
            executable=file("executable", ""),
            arguments=tuple(expand(commands.get("arguments", ""), worker, job_id).split()),
            sandbox=sandbox,
            inputs=tuple(sandbox / name.strip() for name in inputs if name.strip()),
            output=file("output", os.devnull),
            error=file("error", os.devnull),
        )

    def why_held(self, error: OSError) -> tuple[str, int, int]:
        """Hold reason, code and subcode as HTCondor numbers them, if it could not be started for this."""
        words = f"{error.strerror}: {error.filename}"
        if Path(str(error.filename)) in self.inputs:
            return f"Transfer input files failure: {words}", 13, error.errno or 0
        return f"Failed to execute the job: {words}", 6, error.errno or 0


class JobProcess:
    """Runs a program once.

    Parameters
    ----------
    program : Program
    environment : mapping of str to str
    kill_after : float
        Seconds from SIGTERM to SIGKILL.
    """

    def __init__(self, program: Program, environment: Mapping[str, str], kill_after: float) -> None:
        self._program, self._environment, self._kill_after = program, environment, kill_after
        self._process: asyncio.subprocess.Process | None = None
        self._is_to_end = False

    async def run(self) -> int:
        """Copy its input, run it, and remove what it leaves behind.

        Returns
        -------
        int
            Exit code; negative: the signal that has ended it.

        Raises
        ------
        OSError
            It could not be started.
        """
        scratch = Path(tempfile.mkdtemp(prefix="htcdask-job-"))  # 0700
        try:
            for file in self._program.inputs:
                shutil.copyfile(file, scratch / file.name, follow_symlinks=True)
                (scratch / file.name).chmod(0o600)
            return await self._run_in(scratch)
        finally:
            self._process = None
            shutil.rmtree(scratch, ignore_errors=True)

    async def _run_in(self, scratch: Path) -> int:
        with _private(self._program.output) as output, _private(self._program.error) as error:
            process = self._process = await asyncio.create_subprocess_exec(
                self._program.executable,
                *self._program.arguments,
                cwd=scratch,
                env={**self._environment, "TMPDIR": str(scratch)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=error,
                start_new_session=True,
            )
        if self._is_to_end:  # meant while it was being started
            self.end()
        try:
            return await process.wait()
        finally:
            _signal_group(process.pid, signal.SIGKILL)  # what it has left behind

    def end(self) -> None:
        """Ask it to end, and make it: SIGTERM, later SIGKILL."""
        self._is_to_end = True
        if self._process is not None:
            _signal_group(self._process.pid, signal.SIGTERM)
            asyncio.get_running_loop().call_later(self._kill_after, _kill_if_alive, self._process)


def _private(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to all processes of a job, whose group its first one leads."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _kill_if_alive(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGKILL)
