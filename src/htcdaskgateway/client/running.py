"""What the scheduler and the workers of a running cluster have installed, as they say themselves."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Mapping
from typing import Any

from htcdaskgateway.images.contents import printable
from htcdaskgateway.versions import MUST_AGREE, SHOWN, Column

SECONDS = 10.0  # a scheduler that is busy for longer does not hold up whoever only asks for versions
MOST_WORKERS = 100  # the scheduler opens a connection to each that is asked
MOST_NAMES = 3
LONGEST_VERSION, LONGEST_NAME, LONGEST_NOTE = 80, 60, 300

# All that a message of another release of distributed may end in: nobody's cluster fails of being asked.
UNANSWERED = (
    OSError, asyncio.TimeoutError, EOFError, RuntimeError, TypeError, ValueError, LookupError,
    AttributeError, ImportError, pickle.PickleError,
)  # fmt: skip


async def scheduler_column(scheduler: Any, seconds: float = SECONDS) -> Column:
    """Ask the scheduler.

    Parameters
    ----------
    scheduler : distributed.core.rpc
    seconds : float, optional
        After which there will be a note in place of versions; no failure is an error.
    """
    answer, note = await ask(scheduler.versions(packages=[*MUST_AGREE[1:], *SHOWN]), seconds)
    return Column("scheduler", environment(answer), note)


async def worker_names(scheduler: Any, seconds: float = SECONDS) -> dict[str, str]:
    """Names of the workers by address; empty if the scheduler does not answer."""
    # Not by subscription: the scheduler has one subscriber at a time, and that may be another session.
    answer, _ = await ask(scheduler.identity(), seconds)
    workers = answer.get("workers") if isinstance(answer, Mapping) else None
    if not isinstance(workers, Mapping):
        return {}
    return {str(at): str(info.get("name", at)) for at, info in workers.items() if isinstance(info, Mapping)}


async def worker_columns(
    scheduler: Any, names: Mapping[str, str], seconds: float = SECONDS
) -> tuple[Column, ...]:
    """Ask workers through the scheduler, at most 100 of them; one column for each kind of environment.

    Parameters
    ----------
    scheduler : distributed.core.rpc
    names : mapping
        Names of the workers by address.
    seconds : float, optional
        After which there will be a note in place of versions; no failure is an error.
    """
    if not names:
        return ()
    asked = list(names)[:MOST_WORKERS]
    message = {"op": "versions", "packages": [*MUST_AGREE[1:], *SHOWN]}
    answers, note = await ask(scheduler.broadcast(msg=message, workers=asked, on_error="ignore"), seconds)
    if note:
        return (Column(f"workers ({len(names)})", note=note),)
    told = answers if isinstance(answers, Mapping) else {}
    return group({names[address]: environment(told.get(address)) for address in asked}, len(names))


def group(environments: Mapping[str, Mapping[str, str]], total: int) -> tuple[Column, ...]:
    """Put workers of the same versions into one column, the largest first.

    Parameters
    ----------
    environments : mapping
        Versions by name of the worker; empty for one that did not answer.
    total : int
        How many workers there are, asked or not.
    """
    groups: dict[frozenset[tuple[str, str]], list[str]] = {}
    for name, versions in environments.items():
        groups.setdefault(frozenset(versions.items()), []).append(name)
    columns = []
    for versions_, names in sorted(groups.items(), key=lambda item: -len(item[1])):
        notes = []
        if len(groups) > 1:
            more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            notes.append(", ".join(_text(name, LONGEST_NAME) for name in names[:MOST_NAMES]) + more)
        if not versions_:
            notes.append("no answer")
        if total > len(environments):
            notes.append(f"{len(environments)} of {total} workers were asked")
        columns.append(Column(f"workers ({len(names)})", dict(versions_), "; ".join(notes)))
    return tuple(columns)


def environment(answer: object) -> dict[str, str]:
    """Versions of what is compared, from an answer of distributed's ``versions``; empty if it is none."""
    packages = answer.get("packages") if isinstance(answer, Mapping) else None
    if not isinstance(packages, Mapping):
        return {}
    found = {
        name: _text(packages[name], LONGEST_VERSION)
        for name in (*MUST_AGREE, *SHOWN)
        if isinstance(packages.get(name), str) and packages[name]
    }
    if "python" in found:  # such as 3.11.7.final.0
        found["python"] = ".".join(found["python"].split(".")[:3])
    return found


async def ask(call: Awaitable[Any], seconds: float) -> tuple[Any, str]:
    """Give the answer, or why there is none."""
    try:
        return await asyncio.wait_for(call, seconds), ""
    except asyncio.TimeoutError:
        return None, f"no answer within {seconds:g} s"
    except UNANSWERED as error:
        return None, _text(f"no answer: {type(error).__name__} {error}".strip(), LONGEST_NOTE)


def _text(text: str, longest: int) -> str:
    """Give what others said as a terminal can show it."""
    return printable(text if len(text) <= longest else f"{text[:longest]}…")
