"""Reads what the other side sent: every value is checked, and bounded. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST_TEXT = 4000  # characters of foreign words
LONGEST_LINE = 1000
MOST_NUMBER = 2**53  # larger ones are not the same number everywhere
# What a terminal, a database or a reader of logs would stumble over: control characters, direction marks,
# halves of characters. Newlines and tabs may stay.
_UNREADABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class NotAnAnswerError(ValueError):
    """What the other side sent is nothing that it may send."""


def text(data: object, longest: int = LONGEST_TEXT) -> str:
    """Read a text that is shown to people."""
    return _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", exact_text(data)[:longest])


def line(data: object, longest: int = LONGEST_LINE) -> str:
    """Read a text that is shown in one line."""
    return re.sub(r"[\n\t]", " ", text(data, longest))


def whole_number(data: object) -> int:
    if type(data) is not int or not 0 <= data <= MOST_NUMBER:
        raise NotAnAnswerError(f"{str(data)[:40]!r} is no number of jobs")
    return data


def exact_text(data: object) -> str:
    if not isinstance(data, str):
        raise NotAnAnswerError(f"{type(data).__name__} where a text should be")
    return data


def array(data: object) -> Sequence[object]:
    if not isinstance(data, (list, tuple)):
        raise NotAnAnswerError(f"{type(data).__name__} where a list should be")
    return data


def mapping(data: object) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise NotAnAnswerError(f"{type(data).__name__} where an object should be")
    return data


def texts(data: object) -> dict[str, str]:
    return {exact_text(name): exact_text(value) for name, value in mapping(data).items()}


def truth(data: object) -> bool:
    if not isinstance(data, bool):
        raise NotAnAnswerError(f"{type(data).__name__} where true or false should be")
    return data


def number(data: object, least: float = -MOST_NUMBER) -> float:
    # neither NaN nor what no float can hold, which JSON's readers let through
    if isinstance(data, bool) or not isinstance(data, (int, float)) or not least <= data <= MOST_NUMBER:
        raise NotAnAnswerError(f"{str(data)[:40]!r} where a number should be")
    return float(data)
