"""Let the jobs of a cluster have their user's renewed X.509 proxy.

HTCondor knows when the X.509 proxy of an idle job ends, and starts the job all the same. So a job says
itself until when its own is good, its requirements look at that, and who renews the proxy changes it. The
proxy's file is renewed in its place, where HTCondor finds it; only of a job that was spooled it has to be
handed over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from htcdaskgateway.condor.ads import X509_UNTIL, job_id, of_ids
from htcdaskgateway.condor.errors import NotRenewedError
from htcdaskgateway.condor.match import MatchExpression
from htcdaskgateway.condor.quoting import cluster_name, constraint_value, submit_value
from htcdaskgateway.condor.schedd import X509_MARGIN

ATTRIBUTES = ("ClusterId", "ProcId", "StageInFinish", "x509userproxy")
OTHERS_FILE = (
    "They run with the X.509 proxy file of a session that submitted before, in another sandbox: this session"
    " renews its own file only."
)
REMEDY = (
    "Renew the X.509 proxy where that session ran, and attach one there; or start the workers anew:"
    " scale(0), then scale(n)."
)
_TOGETHER = 20  # jobs of one call; each takes a schedd some 0.1 s, in which it does nothing else


class Queue(Protocol):
    """What renewing needs of a schedd."""

    @property
    def name(self) -> str: ...

    async def select(self, constraint: str) -> Sequence[Mapping[str, Any]]:
        """Ads of these jobs, with `ATTRIBUTES`."""

    async def hand_over(self, job_ids: Sequence[str], path: str) -> Mapping[str, str]:
        """Give spooled jobs this X.509 proxy; why it did not work, of those that it did not work for."""

    async def change(self, job_ids: Sequence[str], attribute: str, value: str) -> None:
        """Change the ads of these jobs; NotRenewedError if HTCondor does not want to."""


def with_x509(commands: Mapping[str, str], path: str, until: float) -> dict[str, str]:
    """Add what gives jobs an X.509 proxy, and keeps those from starting whose own has ended.

    Parameters
    ----------
    commands : mapping of str to str
        Submit commands.
    path : str
        Its file, absolute.
    until : float
        When it ends, seconds since the epoch.
    """
    good = MatchExpression("requirements", f"time() < {X509_UNTIL} - {X509_MARGIN}")
    return {
        **good.added_to(commands),
        "x509userproxy": submit_value(path, "The path of the X.509 proxy"),
        f"+{X509_UNTIL}": str(int(until)),
    }


async def renew(
    queue: Queue, cluster: str, path: str, until: float, seconds: float, clock: Callable[[], float]
) -> int:
    """Let all jobs of a cluster have a renewed X.509 proxy; to be called until none is left.

    Parameters
    ----------
    queue : Queue
    cluster : str
        Name of the cluster.
    path : str
        The file, which has been renewed in its place.
    until : float
        When it ends now, seconds since the epoch.
    seconds : float
        No call is begun when so many have passed.
    clock : callable

    Returns
    -------
    int
        How many jobs there was no time for, or are to be given it again.

    Raises
    ------
    NotRenewedError
        Some could not be given it; the others were. Also if some run with the file of another session.
    """
    ads = await queue.select(_outdated(cluster, path, int(until)))
    spooled = [job_id(ad) for ad in ads if ad.get("StageInFinish")]
    others = [job_id(ad) for ad in ads if not ad.get("StageInFinish") and _file_of(ad) != path]
    if in_place := [job_id(ad) for ad in ads if not ad.get("StageInFinish") and _file_of(ad) == path]:
        await queue.change(in_place, X509_UNTIL, str(int(until)))
    end = clock() + seconds
    refused: dict[str, str] = {}
    done = again = 0
    while done < len(spooled) and clock() < end:
        batch = spooled[done : done + _TOGETHER]
        began = clock()
        why = await queue.hand_over(batch, path)
        new = {job_id(ad) for ad in await queue.select(_just_started(batch, clock() - began))}
        if given := [name for name in batch if name not in why and name not in new]:
            await queue.change(given, X509_UNTIL, str(int(until)))
        refused.update(why)
        again += len(new)
        done += len(batch)
    if refused:
        raise NotRenewedError(queue.name, tuple(refused), next(iter(refused.values())))
    left = len(spooled) - done + again
    if others and not left:
        raise NotRenewedError(queue.name, others, OTHERS_FILE, REMEDY)
    return left


def _file_of(ad: Mapping[str, Any]) -> str:
    """Path of a job's X.509 proxy; HTCondor does not heed upper and lower case in names of attributes."""
    return next((str(value) for name, value in ad.items() if name.lower() == "x509userproxy"), "")


def _outdated(cluster: str, path: str, until: int) -> str:
    """Select the cluster's jobs that say otherwise.

    Of those that were not spooled, and have another file, only what runs: HTCondor lets it run on.
    """
    has_it = f"x509userproxy =?= {constraint_value(path, 'The path')}"
    return (
        f'HTCDaskCluster =?= "{cluster_name(cluster)}" && JobStatus =!= 3 && JobStatus =!= 4'
        f" && {X509_UNTIL} != {until} && (StageInFinish =!= undefined || {has_it} || JobStatus =?= 2)"
    )


def _just_started(job_ids: Sequence[str], seconds: float) -> str:
    """Select those that began meanwhile or just before: what is renewed in that second is overlooked."""
    return f"({of_ids(job_ids)}) && ShadowBday >= time() - {math.ceil(seconds) + 1}"
