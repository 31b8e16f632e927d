"""An error as a reason: one line, fit for a record and for the reason of an HTTP status."""

from __future__ import annotations

from htcdaskgateway.errors import HTCDaskError


def in_one_line(error: HTCDaskError) -> str:
    """The sentence and the foreign words; not the remedy, which is for whoever can mend it."""
    return " ".join(f"{error.sentence} {getattr(error, 'words', '')}".split())
