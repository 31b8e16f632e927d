"""Bring the output of completed spooled jobs back, however often it fails, and in the end without it."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from htcdaskgateway.condor.ads import fetchable, job_id
from htcdaskgateway.condor.errors import OutputError
from htcdaskgateway.condor.schedd import Action
from htcdaskgateway.errors import ScheddSilentError

# A program that may write in one directory only: `[sys.executable, CONFINED, directory, program, …]`.
CONFINED = str(Path(__file__).with_name("confined"))
_TOGETHER = 100  # jobs of one transfer
_REMEMBERED = 10_000


class Queue(Protocol):
    """What fetching needs of a schedd."""

    @property
    def name(self) -> str: ...

    async def outputs(self, job_ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Ads of these jobs, those that are in the queue, with `ads.OUTPUT_ATTRIBUTES`."""

    async def redirect(self, job_ids: Sequence[str], sandbox: str) -> None:
        """Let the output of these jobs go to this directory."""

    async def transfer(self, job_ids: Sequence[str], sandbox: str) -> None:
        """Bring it back; OutputError, ScheddSilentError or ScheddUnavailableError if not of all."""

    async def act(self, action: Action, job_ids: Sequence[str]) -> int: ...


@dataclass(frozen=True)
class Tried:
    times: int
    again_at: float


class Tries:
    """When to try again. Pure: time is an argument, in seconds of any monotonic clock.

    One job must not stand in the way of others: what failed together is tried one by one. Between the
    tries of one job is more and more time.

    Parameters
    ----------
    limit : int
        Failures after which a job is given up.
    pause : float
        Seconds after the second failure; twice as many after the third, and so on.
    """

    def __init__(self, limit: int = 6, pause: float = 60) -> None:
        self.limit, self.pause = limit, pause
        self._tried: OrderedDict[str, Tried] = OrderedDict()

    def due(self, job_ids: Collection[str], now: float) -> list[list[str]]:
        """Transfers to make, in this order."""
        fresh = [name for name in job_ids if name not in self._tried]
        again = [
            name
            for name in job_ids
            if (tried := self._tried.get(name)) and tried.times < self.limit and tried.again_at <= now
        ]
        batches = [fresh[start : start + _TOGETHER] for start in range(0, len(fresh), _TOGETHER)]
        return [*batches, *([name] for name in again)]

    def failed(self, job_ids: Sequence[str], now: float) -> None:
        for name in job_ids:
            times = self._times(name) + 1
            wait = self.pause * (times - 1) if times < self.limit else 0
            self._note(name, Tried(times, now + wait))

    def fetched(self, job_ids: Sequence[str], now: float) -> None:
        """The schedd may take its time until it says so too, and should it never do, that is a failure."""
        for name in job_ids:
            self._note(name, Tried(self._times(name) + 1, now + self.pause))

    def given_up(self, job_ids: Collection[str], now: float) -> list[str]:
        tried = [(name, self._tried[name]) for name in job_ids if name in self._tried]
        return [name for name, it in tried if it.times >= self.limit and it.again_at <= now]

    def _times(self, name: str) -> int:
        return self._tried[name].times if name in self._tried else 0

    def _note(self, name: str, tried: Tried) -> None:
        self._tried[name] = tried
        self._tried.move_to_end(name)
        if len(self._tried) > _REMEMBERED:
            self._tried.popitem(last=False)


async def fetch(
    queue: Queue,
    tries: Tries,
    job_ids: Sequence[str],
    sandbox: str,
    seconds: float,
    clock: Callable[[], float],
) -> list[str]:
    """Do what `Schedd.fetch` promises; begin no transfer when so many seconds have passed.

    Raises
    ------
    OutputError, ScheddSilentError
        The last failure; the others are in the state of ``tries``.
    ScheddUnavailableError
        Counts as no try.
    """
    waiting = {job_id(ad): ad for ad in await queue.outputs(job_ids) if fetchable(ad)} if job_ids else {}
    end = clock() + seconds
    fetched: list[str] = []
    trouble: OutputError | ScheddSilentError | None = None
    for batch in tries.due(waiting, clock()):
        if clock() > end:
            break
        try:
            # HTCondor would make the directory, with the access that the umask leaves.
            if not Path(sandbox).is_dir():
                raise OutputError(queue.name, batch, f"No such directory: {sandbox}")
            if other := [name for name in batch if waiting[name].get("SUBMIT_Iwd") != sandbox]:
                await queue.redirect(other, sandbox)
            await queue.transfer(batch, sandbox)
        except (OutputError, ScheddSilentError) as error:
            trouble = error
            tries.failed(batch, clock())
        else:
            tries.fetched(batch, clock())
            fetched += batch
    if lost := tries.given_up(waiting, clock()):
        await queue.act(Action.REMOVE, lost)
    if trouble is not None:
        raise trouble
    return fetched


def confined(sandbox: str, command: Sequence[str]) -> list[str]:
    """The command, as a process that may write in this directory only."""
    return [sys.executable, CONFINED, sandbox, *command]
