"""The person's own files: every complaint is one sentence, and comes before anything is started if it can."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from htcdaskgateway.demo.analysis import COUNT, MUON, TREE, inspect
from htcdaskgateway.errors import InvalidRequestError

MAX_FILES = 10_000
# Looking into a NanoAOD file takes up to half a second: more files than these are left to the workers.
LOOKED_INTO_HERE = 20

NEEDS = f"The demo reads NanoAOD: tree {TREE} with {COUNT}, {', '.join(MUON)}."


def check_files(paths: Sequence[str]) -> list[Path]:
    """Check what can be checked from outside.

    Returns
    -------
    list of Path
        Absolute: workers have other working directories.

    Raises
    ------
    InvalidRequestError
        For the first file that cannot be used.
    """
    if len(paths) > MAX_FILES:
        raise InvalidRequestError(f"{len(paths):,} input files are more than the {MAX_FILES:,} of this demo.")
    found: dict[Path, str] = {}
    for name in paths:
        path = Path(name).resolve()
        _check_file(name, path)
        if path in found:
            raise InvalidRequestError(f"Input file {name!r} is given twice: its events would count double.")
        found[path] = name
    return list(found)


def _check_file(name: str, path: Path) -> None:
    if not path.exists():
        raise InvalidRequestError(f"There is no file {name!r}.")
    if not path.is_file():
        what = "a directory" if path.is_dir() else "no regular file"
        raise InvalidRequestError(f"Input {name!r} is {what}: give ROOT files.")
    try:
        with path.open("rb") as stream:
            first = stream.read(4)
    except OSError as error:
        raise InvalidRequestError(f"Input file {name!r} cannot be read: {error.strerror}.") from error
    if not first:
        raise InvalidRequestError(f"Input file {name!r} is empty (0 bytes).")
    # Every ROOT file starts with this word. Source: ROOT's documentation of TFile, "header".
    if first != b"root":
        raise InvalidRequestError(f"Input file {name!r} is not a ROOT file.", remedy=NEEDS)


def complain(path: Path | str, problem: str) -> None:
    """Raise what :func:`~htcdaskgateway.demo.analysis.inspect` found wrong with a file, if anything."""
    if problem:
        raise InvalidRequestError(f"Input file {os.fspath(path)!r} {problem}.", remedy=NEEDS)


def look_into(paths: Iterable[Path]) -> list[int]:
    """Events of each of these files.

    Raises
    ------
    InvalidRequestError
        For the first that the analysis cannot read.
    """
    entries = []
    for path in paths:
        count, problem = inspect(str(path))
        complain(path, problem)
        entries.append(count)
    return entries


def check_total(entries: Sequence[int]) -> None:
    if not sum(entries):
        raise InvalidRequestError("The input files hold no events.")
