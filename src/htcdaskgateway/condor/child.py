"""A child process that answers requests one by one, and is ended when it does not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

_END_GRACE = 2.0  # seconds in which it ends by itself, or after SIGKILL
_NOTES = 4000  # bytes of its standard error that are worth showing
_HEAD = 8  # bytes that hold the length of a message


class ChildEndedError(Exception):
    """The child ended instead of answering; holds what it wrote to standard error."""


class Child:
    """One process at a time: started by the first request, and by the first after its end.

    Parameters
    ----------
    command : sequence of str
    environment : mapping of str to str
        Added to ours.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = tuple(command), dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._notes = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def ask(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Send a request, return the answer. Not to be called again before it has returned.

        Raises
        ------
        asyncio.TimeoutError
            No answer in time; the child is ended.
        ChildEndedError
        """
        process = self._process
        if process is None or process.returncode is not None:
            process = self._process = await self._start()
        answered = False
        try:
            answer = await asyncio.wait_for(_exchange(process, request), timeout)
            answered = True
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ChildEndedError(await self._last_words(process)) from error
        finally:
            # Also when we are cancelled: an answer that comes later would be taken for the next one's.
            if not answered:
                self._process = None
                await asyncio.shield(_kill(process))
        return answer

    async def close(self) -> None:
        """End it: it sees the end of its standard input."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), _END_GRACE)
            await _kill(process)
        self._notes.close()

    async def _start(self) -> asyncio.subprocess.Process:
        self._notes.seek(0)
        self._notes.truncate()
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._notes,
            env={**os.environ, **self._environment},
            start_new_session=True,  # a Ctrl-C is for us
        )

    async def _last_words(self, process: asyncio.subprocess.Process) -> str:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), _END_GRACE)
        self._notes.seek(max(0, self._notes.seek(0, os.SEEK_END) - _NOTES))
        text = self._notes.read().decode(errors="replace").strip()
        return f"The process that talks to HTCondor ended with {process.returncode}.\n{text}".strip()


async def _exchange(process: asyncio.subprocess.Process, request: Mapping[str, Any]) -> dict[str, Any]:
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise ConnectionError("the child has no pipes")
    text = json.dumps(request).encode()
    stdin.write(len(text).to_bytes(_HEAD, "big") + text)
    await stdin.drain()
    size = int.from_bytes(await stdout.readexactly(_HEAD), "big")
    answer: dict[str, Any] = json.loads(await stdout.readexactly(size))
    return answer


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), _END_GRACE)
