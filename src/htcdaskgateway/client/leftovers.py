"""What clusters that ended without a session have left: jobs that wait, and copies of secrets.

Nobody else removes them: the gateway has no access of its own where sessions submit. Only what carries the
names of this gateway and this user is looked at. The gateway is asked after that which clusters there are, so
that one which begins meanwhile is among them. Without its answer nothing is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import aiohttp

from htcdaskgateway.client.session_sandbox import PastSandbox, past_sandboxes, sandboxes_by_cluster
from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.schedd import Action, JobStatus, ObservedJob, Schedd
from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.threads import in_thread

MOST_SCHEDDS = 50
MOST_JOBS = 5000  # of one schedd at a time
FILES_SECONDS = 60.0
TROUBLE = (HTCDaskError, aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError)
ON_SLOT = (JobStatus.RUNNING, JobStatus.TRANSFERRING_OUTPUT, JobStatus.SUSPENDED)
ENDING = (JobStatus.REMOVED, JobStatus.COMPLETED)

Ask = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Mine:
    """What the gateway knows of who asks: ``GET /api/v1/mine``.

    Attributes
    ----------
    gateway, user : str
        What this user's jobs carry.
    clusters : frozenset of str
        Those that have not ended.
    """

    gateway: str
    user: str
    clusters: frozenset[str]

    @classmethod
    def from_json(cls, data: object) -> Mine:
        """Read the answer.

        Raises
        ------
        ValueError
            It is none, and nothing follows from it.
        """
        told = data if isinstance(data, Mapping) else {}
        gateway, user, clusters = (told.get(name) for name in ("gateway", "user", "clusters"))
        named = isinstance(gateway, str) and gateway and isinstance(user, str) and user
        if not named or not isinstance(clusters, list) or not all(isinstance(one, str) for one in clusters):
            raise ValueError("not what a gateway says")
        return cls(str(gateway), str(user), frozenset(clusters))


def left_over(jobs: Sequence[ObservedJob], mine: Mine, before: frozenset[str]) -> list[str]:
    """Ids of jobs to remove. Pure.

    A job on a slot ends by itself when its scheduler has gone, and brings its logs back then: it is removed
    when it was there at the last look already, ``before``.
    """
    mature = (job for job in suspects(jobs, mine) if job.status not in ON_SLOT or job.job_id in before)
    return [job.job_id for job in islice(mature, MOST_JOBS)]


def suspects(jobs: Sequence[ObservedJob], mine: Mine) -> list[ObservedJob]:
    """Jobs of this user's that belong to none of the clusters that there are, and have not ended."""
    return [job for job in jobs if _nobodys(job, mine) and job.status not in ENDING]


def unfetched(jobs: Sequence[ObservedJob], mine: Mine) -> dict[str, list[str]]:
    """Ids of jobs, by their cluster, that have ended and keep output and secrets in the schedd's spool. Pure.

    They would wait a day for somebody to fetch it.
    """
    waiting = (job for job in jobs if job.fetchable and _nobodys(job, mine))
    found: dict[str, list[str]] = {}
    for job in islice(waiting, MOST_JOBS):
        found.setdefault(job.cluster_name, []).append(job.job_id)
    return found


def _nobodys(job: ObservedJob, mine: Mine) -> bool:
    return job.user == mine.user and job.cluster_name != "" and job.cluster_name not in mine.clusters


class Leftovers:
    """Removes them, of one gateway and one user.

    Parameters
    ----------
    access : Access
    root : Path
        The directory of the user's sandboxes.
    ask : callable
        Asks the gateway for `Mine`.
    """

    def __init__(self, access: Access, root: Path, ask: Ask) -> None:
        self._access, self._root, self._ask = access, root, ask
        self._before: dict[str, frozenset[str]] = {}  # by schedd

    async def clean(self) -> None:
        """Look once. Never fails: the next session looks again."""
        try:
            mine = Mine.from_json(await self._ask())
        except TROUBLE:
            return
        with contextlib.suppress(*TROUBLE):
            await self._clean_files(mine)
        with contextlib.suppress(*TROUBLE):
            for name in await self._schedds():
                with contextlib.suppress(*TROUBLE):
                    await self._clean_jobs(mine, name)

    async def _clean_files(self, mine: Mine) -> None:
        found = await in_thread(partial(past_sandboxes, self._root, mine.gateway, mine.user), FILES_SECONDS)
        past = [sandbox for sandbox in found if sandbox.cluster not in mine.clusters]
        if past:
            now = await self._now(mine)
            await in_thread(partial(_remove_secrets, past, now), FILES_SECONDS)

    async def _clean_jobs(self, mine: Mine, name: str) -> None:
        schedd = self._access.schedd(name)  # not one that orders go to: those learn where they are
        try:
            jobs = await schedd.query(mine.gateway)
            if suspects(jobs, mine) or unfetched(jobs, mine):
                now = await self._now(mine)
                ids = left_over(jobs, now, self._before.get(name, frozenset()))
                self._before[name] = frozenset(job.job_id for job in suspects(jobs, now))
                with contextlib.suppress(*TROUBLE):
                    await schedd.act(Action.REMOVE, ids)
                await self._clean_spool(schedd, unfetched(jobs, now))
        finally:
            await schedd.close()

    async def _clean_spool(self, schedd: Schedd, waiting: Mapping[str, list[str]]) -> None:
        """Bring output back once, where its sandbox is still there, and let the jobs leave the queue."""
        if not waiting:
            return
        places = await in_thread(partial(sandboxes_by_cluster, self._root), FILES_SECONDS)
        for cluster, ids in waiting.items():
            fetched: list[str] = []
            if cluster in places:
                with contextlib.suppress(*TROUBLE):
                    fetched = await schedd.fetch(ids, str(places[cluster]))
            if lost := [job_id for job_id in ids if job_id not in fetched]:
                await schedd.act(Action.REMOVE, lost)

    async def _now(self, mine: Mine) -> Mine:
        """Ask again, after jobs or files were seen: the gateway knows by now what they belong to."""
        now = Mine.from_json(await self._ask())
        if (now.gateway, now.user) != (mine.gateway, mine.user):
            raise ValueError("another gateway")
        return now

    async def _schedds(self) -> list[str]:
        """Names of those that may have jobs of this user."""
        access = self._access
        if access.interface == "processes":
            return []  # they end with their session
        wrapped = access.interface == "tools" and "condor_submit" in access.programs
        if access.schedd_names:
            return list(access.schedd_names)[:MOST_SCHEDDS]
        if not access.chooses and (access.schedd_name or not wrapped):
            return [access.schedd_name]
        collector = access._collector()
        try:
            loads = await collector.schedds(access.schedd_constraint)
        finally:
            await collector.close()
        return [load.name for load in loads][:MOST_SCHEDDS]


def _remove_secrets(past: Sequence[PastSandbox], mine: Mine) -> None:
    for sandbox in past:
        if sandbox.cluster not in mine.clusters:
            sandbox.remove_secrets()
