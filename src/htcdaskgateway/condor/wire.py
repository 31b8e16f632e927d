"""Calls of the `Schedd` protocol as JSON: a session carries them out for the gateway. Pure.

What a session answers is its user's word: everything is checked, and bounded, when it is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from htcdaskgateway.condor.ads import checked_ids
from htcdaskgateway.condor.errors import OutputError
from htcdaskgateway.condor.schedd import EndedJob, JobStatus, ObservedJob, SubmitDescription
from htcdaskgateway.errors import (
    ActionRefusedError,
    CondorError,
    HTCDaskError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)

MOST_LOG = 2**21  # characters of one log
LONGEST_TEXT = 4000  # characters of foreign words
LONGEST_LINE = 1000
MOST_FACTS = 20
MOST_NUMBER = 2**53  # larger ones are not the same number everywhere
Answer = TypeVar("Answer")
# What a terminal, a database or a reader of logs would stumble over: control characters, direction marks,
# halves of characters. Newlines and tabs may stay.
_UNREADABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class NotAnAnswerError(ValueError):
    """What the other side sent is nothing that it may send."""


def description_to_json(description: SubmitDescription) -> dict[str, Any]:
    return asdict(description)


def description_from_json(data: object) -> SubmitDescription:
    """Read what is to be submitted; what only a newer gateway knows is left out.

    Raises
    ------
    NotAnAnswerError
    """
    given = _mapping(data)
    return SubmitDescription(
        _texts(given.get("commands")),
        tuple(_exact(name) for name in _list(given.get("worker_names"))),
        spool=_truth(given.get("spool", False)),
        files=_texts(given.get("files", {})),
    )


def jobs_to_json(jobs: Sequence[ObservedJob] | Sequence[EndedJob]) -> list[dict[str, Any]]:
    return [{**asdict(job), "status": int(job.status)} for job in jobs]


def observed_from_json(data: object) -> list[ObservedJob]:
    """Read the answer to a query.

    Raises
    ------
    NotAnAnswerError
    """
    return [_job(ObservedJob, item, ObservedJob("", "", "", JobStatus.IDLE)) for item in _list(data)]


def ended_from_json(data: object) -> list[EndedJob]:
    """Read the answer to a search in the history.

    Raises
    ------
    NotAnAnswerError
    """
    return [_job(EndedJob, item, EndedJob("", JobStatus.COMPLETED)) for item in _list(data)]


def ids_from_json(data: object, number: int | None = None) -> list[str]:
    """Read job ids: ``number`` different ones, as the answer to a submit of so many jobs.

    Raises
    ------
    NotAnAnswerError
    """
    ids = [_job_id(item) for item in _list(data)]
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
            line(stream, 10): text(content, MOST_LOG) for stream, content in _texts(log).items()
        }
        for worker, log in _mapping(data).items()
    }


def text(data: object, longest: int = LONGEST_TEXT) -> str:
    """Read a text that is shown to people."""
    return _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", _exact(data)[:longest])


def line(data: object, longest: int = LONGEST_LINE) -> str:
    """Read a text that is shown in one line."""
    return re.sub(r"[\n\t]", " ", text(data, longest))


def whole_number(data: object) -> int:
    if type(data) is not int or not 0 <= data <= MOST_NUMBER:
        raise NotAnAnswerError(f"{str(data)[:40]!r} is no number of jobs")
    return data


def error_to_json(error: HTCDaskError, *, submit: bool = False) -> dict[str, Any]:
    """Write an error of a call. Those that are not HTCondor's come before anything was done.

    Parameters
    ----------
    error : HTCDaskError
    submit : bool
        Of a submit: such an error then refuses the jobs, which wait for nothing.
    """
    kind = next((kind for kind, cls in _KINDS.items() if isinstance(error, cls)), "")
    facts = {name: str(value) for name, value in error.facts.items()}
    told = {"sentence": error.sentence, "facts": facts, "remedy": error.remedy}
    if kind:
        return {"kind": kind, **told, **{key: vars(error)[key] for key in _FIELDS if key in vars(error)}}
    words = "; ".join(
        [*(f"{name}: {' '.join(value.split())}" for name, value in facts.items()), error.remedy]
    )
    return {"kind": "refused" if submit else "unavailable", **told, "words": words.strip("; ")}


def error_from_json(data: object, what: str) -> CondorError:
    """Make the error that a session met of what it says.

    Parameters
    ----------
    data : object
    what : str
        What it was asked for.

    Raises
    ------
    NotAnAnswerError
    """
    given = _mapping(data)
    error = _of_kind(given, what)
    if "sentence" in given and (sentence := line(given["sentence"])).strip():
        error.sentence = sentence
        facts = list(_mapping(given.get("facts", {})).items())[:MOST_FACTS]
        error.facts = {line(name, 100): text(value) for name, value in facts}
        error.remedy = line(given.get("remedy", ""))
    return error


def _of_kind(given: Mapping[str, Any], what: str) -> CondorError:
    schedd, words = line(given.get("schedd", ""), 255), text(given.get("words", ""))
    match given.get("kind"):
        case "refused":
            return SubmitRefusedError(schedd, words)
        case "unavailable":
            return ScheddUnavailableError(schedd, words)
        case "silent":
            return ScheddSilentError(schedd, what, _number(given.get("seconds", 0), 0), words)
        case "action-refused":
            return ActionRefusedError(schedd, line(given.get("action", ""), 20), words)
        case "output":
            return OutputError(schedd, ids_from_json(given.get("job_ids", [])), words)
    raise NotAnAnswerError("an error of no known kind")


_KINDS: dict[str, type[CondorError]] = {
    "refused": SubmitRefusedError,
    "unavailable": ScheddUnavailableError,
    "silent": ScheddSilentError,
    "action-refused": ActionRefusedError,
    "output": OutputError,
}
_FIELDS = ("schedd", "words", "seconds", "action", "job_ids")


def _exact(data: object) -> str:
    if not isinstance(data, str):
        raise NotAnAnswerError(f"{type(data).__name__} where a text should be")
    return data


def _list(data: object) -> Sequence[object]:
    if not isinstance(data, (list, tuple)):
        raise NotAnAnswerError(f"{type(data).__name__} where a list should be")
    return data


def _mapping(data: object) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise NotAnAnswerError(f"{type(data).__name__} where an object should be")
    return data


def _texts(data: object) -> dict[str, str]:
    return {_exact(name): _exact(value) for name, value in _mapping(data).items()}


def _truth(data: object) -> bool:
    if not isinstance(data, bool):
        raise NotAnAnswerError(f"{type(data).__name__} where true or false should be")
    return data


def _number(data: object, least: float = -MOST_NUMBER) -> float:
    # not bool; and neither NaN nor what no float can hold, which JSON's readers let through
    if type(data) not in (int, float) or not (least <= data <= MOST_NUMBER and math.isfinite(data)):  # type: ignore[operator, arg-type]
        raise NotAnAnswerError(f"{str(data)[:40]!r} where a number should be")
    return float(data)  # type: ignore[arg-type]


def _job_id(data: object) -> str:
    given = _exact(data)
    if len(given) > 40:
        raise NotAnAnswerError(f"{given[:40]!r}… is no job id")
    try:
        return checked_ids([given])[0]
    except HTCDaskError as error:
        raise NotAnAnswerError(error.sentence) from error


def _job(make: Callable[..., Answer], item: object, example: object) -> Answer:
    """A job from an object whose fields have the types of the example's; a None there may be a number."""
    given = _mapping(item)
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
            values[name] = _truth(value)
        elif isinstance(model, float):
            values[name] = _number(value, 0)
        else:
            values[name] = None if model is None and value is None else int(_number(value))
    return make(**values)
