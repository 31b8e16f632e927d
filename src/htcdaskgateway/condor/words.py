"""What HTCondor's words say about what was done. Pure.

HTCondor tells its errors apart by text only. These rules were found by making the errors happen on
HTCondor 25.14; `tests/unit/condor/test_words.py` holds the texts.

What is certain about a submit: jobs exist from the commit on, which is the last step, and from no step
before it. So an unanswered commit is the one failure after which jobs may exist, and any words that are
not understood are taken for it.
"""

from __future__ import annotations

import enum
import re

Words = str


class Outcome(enum.Enum):
    """``UNAVAILABLE`` and ``REFUSED``: nothing was done. ``SILENT``: it is not known."""

    UNAVAILABLE = enum.auto()
    REFUSED = enum.auto()
    SILENT = enum.auto()


NOT_SPOOLED = "Failed to spool job files"
SLOW = "did not respond in a reasonable time"
_DENIED = re.compile(r'SECMAN:2010:|"DENIED"|AUTHENTICATE:\d+:|PERMISSION DENIED')
# The second: a client that finds nothing to show does not even try.
_STRANGER = re.compile(r"AUTHENTICATE:\d+:|SECMAN:2002:.*security policy is invalid")
_NOT_FOUND = re.compile(
    r"(Can't|Unable to|cannot) (find|get|locate) (address of|remote|local|the)?"
    r"|has no record of schedd|[Uu]nable to locate|Couldn't contact the condor_collector"
    r"|Failed communication with collector"
)
_NO_CONNECTION = re.compile(r"Failed to connect|SECMAN:20\d\d:|CEDAR:6\d\d\d:")
_ETIMEDOUT = "(110)"  # of qmgmt, for a connection that has ended
# What `NewProc` returns, in the words that condor_submit has for it.
_NEW_PROC = {
    -3: "Number of submitted jobs would exceed MAX_JOBS_PER_OWNER",
    -4: "Number of submitted jobs would exceed MAX_JOBS_PER_SUBMISSION",
}
_NEXT_PROC = re.compile(r"Schedd says (-\d+)")


def is_stranger(words: str) -> bool:
    """Whether HTCondor's words mean that it does not know who we are: nothing was done."""
    return bool(_STRANGER.search(words))


def of_connection(words: str) -> Outcome | None:
    """Judge words of a failure to find or to reach the schedd; None if they tell of something else."""
    if _DENIED.search(words):
        return Outcome.REFUSED
    if SLOW in words:
        return Outcome.SILENT
    if _NOT_FOUND.search(words) or _NO_CONNECTION.search(words):
        return Outcome.UNAVAILABLE
    return None


def of_bindings_submit(words: str) -> tuple[Outcome, Words]:
    """Judge what ``htcondor2.Schedd.submit`` raised; the words as they are to be shown."""
    if "commit transaction" in words:
        return (Outcome.REFUSED if "SCHEDD:" in words else Outcome.SILENT), words
    if words.startswith("Failed to connect"):
        outcome = of_connection(words) or Outcome.UNAVAILABLE
        return (Outcome.UNAVAILABLE if outcome is Outcome.SILENT else outcome), words
    if match := _NEXT_PROC.search(words):
        code = int(match[1])
        meaning = _NEW_PROC.get(code)
        return (
            Outcome.UNAVAILABLE if code == -1 else Outcome.REFUSED,
            f"{words}\n{meaning}" if meaning else words,
        )
    if words.startswith("Failed to create new cluster"):
        return (Outcome.REFUSED if "SCHEDD:" in words else Outcome.UNAVAILABLE), words
    if words.startswith(("Failed to set", "Failed to send")):
        return (Outcome.UNAVAILABLE if _ETIMEDOUT in words else Outcome.REFUSED), words
    if words.startswith(("Failed to create", "invalid", "Unable to parse")):
        return Outcome.REFUSED, words
    return Outcome.SILENT, words


def of_tool_submit(words: str) -> Outcome:
    """Judge the output of a ``condor_submit`` that has failed."""
    if re.search(r"submitted to cluster \d+", words):
        return Outcome.SILENT
    errors = [line for line in words.splitlines() if line.strip() and not line.startswith("WARNING")]
    bare = len(errors) <= 1  # no reason from the schedd: the connection has ended
    if "Failed to commit" in words:
        return Outcome.SILENT if bare else Outcome.REFUSED
    if "Failed to create proc" in words or "Failed to create cluster" in words:
        return Outcome.UNAVAILABLE if bare else Outcome.REFUSED
    outcome = of_connection(words)
    if outcome is None:
        return Outcome.UNAVAILABLE if _ETIMEDOUT in words else Outcome.REFUSED
    return Outcome.UNAVAILABLE if outcome is Outcome.SILENT else outcome
