"""Calls of the `Schedd` protocol as JSON: a session carries them out for the gateway. Pure.

What a session answers is its user's word: everything is checked, and bounded, when it is read.
"""

from htcdaskgateway.condor.wire.calls import (
    description_from_json,
    description_to_json,
    ended_from_json,
    ids_from_json,
    jobs_to_json,
    logs_from_json,
    observed_from_json,
)
from htcdaskgateway.condor.wire.errors import MOST_FACTS, error_from_json, error_to_json
from htcdaskgateway.condor.wire.values import (
    LONGEST_LINE,
    LONGEST_TEXT,
    NotAnAnswerError,
    line,
    text,
    whole_number,
)

__all__ = [
    "LONGEST_LINE",
    "LONGEST_TEXT",
    "MOST_FACTS",
    "NotAnAnswerError",
    "description_from_json",
    "description_to_json",
    "ended_from_json",
    "error_from_json",
    "error_to_json",
    "ids_from_json",
    "jobs_to_json",
    "line",
    "logs_from_json",
    "observed_from_json",
    "text",
    "whole_number",
]
