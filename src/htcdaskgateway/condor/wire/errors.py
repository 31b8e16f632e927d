"""Errors of calls, with HTCondor's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from htcdaskgateway.condor.errors import OutputError
from htcdaskgateway.condor.wire.calls import ids_from_json
from htcdaskgateway.condor.wire.values import NotAnAnswerError, line, mapping, number, text
from htcdaskgateway.errors import (
    ActionRefusedError,
    CondorError,
    HTCDaskError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)

MOST_FACTS = 20
_KINDS: dict[str, type[CondorError]] = {
    "refused": SubmitRefusedError,
    "unavailable": ScheddUnavailableError,
    "silent": ScheddSilentError,
    "action-refused": ActionRefusedError,
    "output": OutputError,
}
_FIELDS = ("schedd", "words", "seconds", "action", "job_ids")


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
    given = mapping(data)
    error = _of_kind(given, what)
    if "sentence" in given and (sentence := line(given["sentence"])).strip():
        error.sentence = sentence
        facts = list(mapping(given.get("facts", {})).items())[:MOST_FACTS]
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
            return ScheddSilentError(schedd, what, number(given.get("seconds", 0), 0), words)
        case "action-refused":
            return ActionRefusedError(schedd, line(given.get("action", ""), 20), words)
        case "output":
            return OutputError(schedd, ids_from_json(given.get("job_ids", [])), words)
    raise NotAnAnswerError("an error of no known kind")
