"""Compares the first workers that come, for who computes without waiting for them."""

from __future__ import annotations

import asyncio
import contextlib

from htcdaskgateway.client.running_checks import RunningChecks
from htcdaskgateway.versions import VersionMismatchWarning

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
MOST_LOOKS = 1500  # about a day


class WorkerWatch:
    """A task that ends with the first workers; it warns, and never raises into anything.

    Parameters
    ----------
    checks : RunningChecks
    """

    def __init__(self, checks: RunningChecks) -> None:
        self._checks = checks
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch, if it is to be and is not being done; call it in the event loop."""
        if self._checks.choice.check in ("error", "warn") and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def end(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        pause = FIRST_PAUSE
        for _ in range(MOST_LOOKS):
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            with contextlib.suppress(VersionMismatchWarning):  # where somebody turns it into an error
                if not await self._checks.warn_of_workers():
                    continue
            return
