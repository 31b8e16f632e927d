"""Text of others as words of a POSIX shell, and an environment as lines that one reads. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from htcdaskgateway.errors import InvalidRequestError, shown

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Variables that a shell sets or obeys itself (sh may be bash): a script would go wrong, or the value
# would not arrive. BASH* likewise.
_OF_THE_SHELL = {
    "IFS", "PWD", "OLDPWD", "PPID", "OPTIND", "OPTARG", "ENV", "SHELLOPTS", "UID", "EUID", "LINENO", "PS1",
    "PS2", "PS4", "POSIXLY_CORRECT", "SECONDS", "RANDOM", "SRANDOM", "EPOCHSECONDS", "EPOCHREALTIME",
    "FUNCNAME", "GROUPS", "DIRSTACK", "HISTCMD", "_",
}  # fmt: skip


def quoted(text: str) -> str:
    """Quote text as one word.

    Raises
    ------
    InvalidRequestError
        No program can be given this text.
    """
    if "\0" in text:
        raise InvalidRequestError(f"{shown(text)} holds a NUL, which no environment variable can.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"{shown(text)} is not text: {error.reason}.") from error
    return shlex.quote(text)


def words(texts: Iterable[str]) -> str:
    """Quote each text as a word of one line."""
    return " ".join(map(quoted, texts))


def exports(environment: Mapping[str, str], reserved: tuple[str, ...] = ()) -> list[str]:
    """Give one command ``export NAME=VALUE`` for each variable.

    Parameters
    ----------
    environment : mapping of str to str
    reserved : tuple of str
        How names that are not free begin, besides those that are the shell's own.

    Raises
    ------
    InvalidRequestError
        A name that is no variable's, or one that is not free; a value that no variable can have.
    """
    for name in environment:
        if not _NAME.fullmatch(name):
            raise InvalidRequestError(f"{shown(name)} is not the name of an environment variable.")
        if name.startswith((*reserved, "BASH")) or name in _OF_THE_SHELL:
            raise InvalidRequestError(f"The environment variable {name} cannot be set.")
    return [f"export {name}={quoted(value)}" for name, value in environment.items()]
