"""Conditions of a shell script that may or may not be known without running it."""

from __future__ import annotations

import re
from collections.abc import Callable

from htcdaskgateway.images.shell_words import UNKNOWN, Budget, expand

Truth = bool | None  # None: cannot be known here

_CLOSES = {"[": "]", "[[": "]]"}
_MOST = 4  # arguments of which POSIX says what they mean
_ABOUT_FILES = {"-d", "-e", "-f", "-r", "-x"}


def both(one: Truth, other: Truth) -> Truth:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def negated(one: Truth) -> Truth:
    return None if one is None else not one


def holds(
    name: str,
    words: list[str],
    variables: dict[str, str],
    is_there: Callable[[str, str], Truth],
    budget: Budget,
) -> Truth:
    """Tell whether a test holds.

    Parameters
    ----------
    name : str
        ``[``, ``[[`` or ``test``.
    words : list of str
        The rest of the command, still quoted.
    variables : dict of str to str
        ``${X:=y}`` sets one, as everywhere.
    is_there : callable
        Whether ``[ -d path ]`` and its like hold.
    budget : Budget

    Raises
    ------
    NotUnderstoodError
    """
    if name in _CLOSES:
        if words[-1:] != [_CLOSES[name]]:
            return None  # [[ a && b ]]
        words = words[:-1]
    values = []
    for word in words:
        value = expand(word, variables, budget)
        if name != "[[" and not re.search(r"['\"]", word):
            if re.search(r"\s", value):
                return None  # several words
            if not value:
                continue  # no word at all
        values.append(value)
    return _holds(values, is_there)


def _holds(values: list[str], is_there: Callable[[str, str], Truth]) -> Truth:
    if len(values) > _MOST:
        return None
    if any(UNKNOWN in value or value in ("-a", "-o", "(", "&&", "||") for value in values):
        return None
    if len(values) < 2:
        return bool(values and values[0])
    if len(values) == 3 and values[1] in ("=", "==", "!="):
        pattern = re.search(r"[*?\[\\]", values[2])
        return None if pattern else (values[0] == values[2]) == (values[1] != "!=")
    if values[0] == "!":
        return negated(_holds(values[1:], is_there))
    if len(values) == 2 and values[0] in ("-z", "-n"):
        return bool(values[1]) == (values[0] == "-n")
    if len(values) == 2 and values[0] in _ABOUT_FILES:
        return is_there(values[0], values[1])
    return None
