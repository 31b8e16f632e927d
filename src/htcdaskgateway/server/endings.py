"""Why jobs have left the queue: from the queue, the history, and the last words of their workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from logging import Logger, LoggerAdapter
from typing import Any

from dask_gateway_server.backends.db_base import Cluster, Worker

from htcdaskgateway.condor.schedd import EndedJob, JobStatus, ObservedJob, Schedd
from htcdaskgateway.errors import CondorError

MOST_WORDS = 100  # workers of one look whose logs are read
OWN_POLICY = "PeriodicRemove"  # stands in HTCondor's reason when a job's own ad had it removed
OWN_EXIT_CODES = range(64, 70)  # of start_worker.sh
OWN_WORDS = "start_worker.sh "

LastWords = Callable[[Cluster, str], Awaitable[str]]


@dataclass(frozen=True)
class Ending:
    """How the job of a wanted worker ended.

    Attributes
    ----------
    reason : str
        One sentence.
    waited_too_long : bool
        It had not started in time: that is no failed start.
    """

    reason: str
    waited_too_long: bool = False


async def find_endings(
    gone: Sequence[tuple[Worker, ObservedJob | None]],
    schedd: Schedd,
    last_words: LastWords,
    log: Logger | LoggerAdapter[Any],
) -> dict[str, Ending]:
    """Find out about jobs that have ended: one search of the history for all.

    Parameters
    ----------
    gone : sequence of (Worker, ObservedJob or None)
        With the job where it is still in the queue, and so not in the history yet.
    schedd : Schedd
    last_words : callable
        ``async (cluster, worker_name) -> str``, the end of what a worker's job wrote.

    Returns
    -------
    dict of str to Ending
        By the worker's name.
    """
    known = await _how_they_ended(gone, schedd, log)
    endings: dict[str, Ending] = {}
    for worker, _ in gone:
        words = await last_words(worker.cluster, worker.name) if len(endings) < MOST_WORDS else ""
        ended = known.get(worker.state["job_id"])
        last_seen = worker.state.get("job_status", 0)
        endings[worker.name] = Ending(why_it_ended(ended, words), waited_too_long(last_seen, ended))
    return endings


async def _how_they_ended(
    gone: Sequence[tuple[Worker, ObservedJob | None]], schedd: Schedd, log: Logger | LoggerAdapter[Any]
) -> dict[str, EndedJob]:
    """By job id; what nobody says is left out."""
    known = {
        job.job_id: EndedJob(job.job_id, job.status, job.exit_code, job.exit_signal)
        for _, job in gone
        if job is not None
    }
    sought = [worker.state["job_id"] for worker, job in gone if job is None]
    if not sought:
        return known
    try:
        return known | {job.job_id: job for job in await schedd.ended(sought)}
    except CondorError as error:  # the records then say that the reason is not known
        log.info("No history of jobs %s: %s", ", ".join(sought[:10]), error)
        return known


def waited_too_long(last_seen: int, ended: EndedJob | None) -> bool:
    """Whether a job was removed as its ad says, for it had not started in time.

    That tells nothing about what the next one will do, and is no failed start.
    """
    removed = ended is not None and ended.status is JobStatus.REMOVED and OWN_POLICY in ended.removed_because
    return removed and last_seen == JobStatus.IDLE


def why_it_ended(ended: EndedJob | None, last_words: str) -> str:
    """One sentence for a job that left the queue; None: nothing is known of it."""
    ended = ended or EndedJob("", JobStatus.COMPLETED)
    if ended.exit_code in OWN_EXIT_CODES and last_words.startswith(OWN_WORDS):
        return last_words.removeprefix(OWN_WORDS).rstrip(".")
    if ended.removed_because:
        sentence = f"its job was removed: {ended.removed_because}"
    elif ended.exit_signal is not None:
        sentence = f"its job was ended by signal {ended.exit_signal}"
    elif ended.exit_code is not None:
        sentence = f"its job ended with exit code {ended.exit_code}"
    else:
        sentence = "its job has left the queue; the history does not say why"
    return f"{sentence}; last words: {last_words}" if last_words else sentence
