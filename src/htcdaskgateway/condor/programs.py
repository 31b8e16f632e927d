"""Run a command-line program with a deadline; all of its output is in the result."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from htcdaskgateway.errors import ConfigurationError


@dataclass(frozen=True)
class Output:
    code: int
    stdout: str
    stderr: str

    @property
    def words(self) -> str:
        """What it printed, less empty lines and the dots of progress."""
        lines = f"{self.stdout}\n{self.stderr}".splitlines()
        kept = [line.rstrip() for line in lines if line.strip() and not _is_progress(line)]
        return "\n".join(kept) or f"nothing, and ended with exit code {self.code}"


def _is_progress(line: str) -> bool:
    return line.strip(". ") == "Submitting job(s)" or line.strip() in ("[", "]")


async def run(arguments: Sequence[str], timeout: float, environment: Mapping[str, str]) -> Output:
    """Run it, without a shell, in a process group of its own, which is killed when it is overdue.

    Raises
    ------
    asyncio.TimeoutError
    ConfigurationError
        There is no such program.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    except OSError as error:
        raise ConfigurationError(
            f"The program {arguments[0]} cannot be started.", {"the system says": error.strerror or error}
        ) from error
    ended = False
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout)
        ended = True
    finally:
        if not ended:  # overdue, or we are cancelled
            await asyncio.shield(_kill(process))
    return Output(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


async def _kill(process: asyncio.subprocess.Process) -> None:
    # A wrapper's children too, also where the wrapper itself has ended.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(process.wait(), 2)
