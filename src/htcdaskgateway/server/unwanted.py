"""Jobs in the queue that nobody wants, since when, and which of them are to be removed now. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from htcdaskgateway.condor.schedd import JobStatus, ObservedJob


class Unwanted:
    """What each look at the queue has shown that is of no wanted worker.

    It is kept in memory only: a gateway that was restarted begins to count anew.

    Parameters
    ----------
    grace : float
        Seconds that a job on a slot may take to end by itself.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self._since: dict[str, float] = {}

    @property
    def job_ids(self) -> list[str]:
        return list(self._since)

    def follow(self, jobs: Sequence[ObservedJob], wanted: Collection[str | None], now: float) -> list[str]:
        """Take over what the queue shows; ids of the jobs that are to be removed now.

        Parameters
        ----------
        jobs : sequence of ObservedJob
            All of the queue.
        wanted : collection of str or None
            Job ids of wanted workers.
        now : float
        """
        # One that has ended may stay in the queue for a while: there is nothing to remove.
        live = [job for job in jobs if job.fetchable or job.status is not JobStatus.COMPLETED]
        unwanted = [job for job in live if job.job_id not in wanted]
        self._since = {job.job_id: self._since.get(job.job_id, now) for job in unwanted}
        return to_remove(((job, self._since[job.job_id]) for job in unwanted), now, self.grace)

    def seconds_left(self, now: float) -> list[float]:
        """Of each job whose grace is not over."""
        left = (since + self.grace - now for since in self._since.values())
        return [seconds for seconds in left if seconds > 0]


def to_remove(unwanted: Iterable[tuple[ObservedJob, float]], now: float, grace: float) -> list[str]:
    """Ids of jobs to remove now, of jobs that nobody wants and the time since when that is so.

    A job on a slot is given ``grace`` seconds to end by itself, because HTCondor brings the logs of a
    removed job back only if they are streamed. With any other nothing is lost.
    """
    on_slot = (JobStatus.RUNNING, JobStatus.TRANSFERRING_OUTPUT)
    ending = (JobStatus.REMOVED, JobStatus.COMPLETED)
    return [
        job.job_id
        for job, since in unwanted
        if job.status not in ending and (job.status not in on_slot or now - since >= grace)
    ]
