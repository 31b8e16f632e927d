"""Calls and their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from htcdaskgateway.condor.ads import checked_ids
from htcdaskgateway.condor.schedd import EndedJob, JobStatus, ObservedJob, SubmitDescription
from htcdaskgateway.condor.wire.values import (
    NotAnAnswerError,
    array,
    exact_text,
    line,
    mapping,
    number,
    text,
    texts,
    truth,
)
from htcdaskgateway.errors import HTCDaskError

MOST_LOG = 2**21  # characters of one log
Answer = TypeVar("Answer")


def description_to_json(description: SubmitDescription) -> dict[str, Any]:
    return asdict(description)


def description_from_json(data: object) -> SubmitDescription:
    """Read what is to be submitted; what only a newer gateway knows is left out.

    Raises
    ------
    NotAnAnswerError
    """
    given = mapping(data)
    return SubmitDescription(
        texts(given.get("commands")),
        tuple(exact_text(name) for name in array(given.get("worker_names"))),
        spool=truth(given.get("spool", False)),
        files=texts(given.get("files", {})),
    )


def jobs_to_json(jobs: Sequence[ObservedJob] | Sequence[EndedJob]) -> list[dict[str, Any]]:
    return [{**asdict(job), "status": int(job.status)} for job in jobs]


def observed_from_json(data: object) -> list[ObservedJob]:
    """Read the answer to a query.

    Raises
    ------
    NotAnAnswerError
    """
    return [_job(ObservedJob, item, ObservedJob("", "", "", JobStatus.IDLE)) for item in array(data)]


def ended_from_json(data: object) -> list[EndedJob]:
    """Read the answer to a search in the history.

    Raises
    ------
    NotAnAnswerError
    """
    return [_job(EndedJob, item, EndedJob("", JobStatus.COMPLETED)) for item in array(data)]


def ids_from_json(data: object, number: int | None = None) -> list[str]:
    """Read job ids: ``number`` different ones, as the answer to a submit of so many jobs.

    Raises
    ------
    NotAnAnswerError
    """
    ids = [_job_id(item) for item in array(data)]
    if number is not None and (len(ids) != number or len(set(ids)) != number):
        raise NotAnAnswerError(f"{len(set(ids))} job ids for {number} jobs")
    return ids


def logs_from_json(data: object) -> dict[str, dict[str, str]]:
    """Read the answer to a request for logs: text by worker and stream.

    Raises
    ------
    NotAnAnswerError
    """
    return {
        line(worker, 100): {
            line(stream, 10): text(content, MOST_LOG) for stream, content in texts(log).items()
        }
        for worker, log in mapping(data).items()
    }


def _job_id(data: object) -> str:
    given = exact_text(data)
    if len(given) > 40:
        raise NotAnAnswerError(f"{given[:40]!r}… is no job id")
    try:
        return checked_ids([given])[0]
    except HTCDaskError as error:
        raise NotAnAnswerError(error.sentence) from error


def _job(make: Callable[..., Answer], item: object, example: object) -> Answer:
    """A job from an object whose fields have the types of the example's; a None there may be a number."""
    given = mapping(item)
    values: dict[str, Any] = {}
    for name, model in vars(example).items():
        value = given.get(name, model)
        if name == "job_id":
            values[name] = _job_id(value)
        elif name == "status":
            if type(value) is not int or value not in list(JobStatus):
                raise NotAnAnswerError(f"{str(value)[:40]!r} is no status of a job")
            values[name] = JobStatus(value)
        elif isinstance(model, str):
            values[name] = line(value)
        elif isinstance(model, bool):
            values[name] = truth(value)
        elif isinstance(model, float):
            values[name] = number(value, 0)
        else:
            values[name] = None if model is None and value is None else int(number(value))
    return make(**values)
