"""Tells of versions that do not agree: an error or a warning, in a notebook with the table above it."""

from __future__ import annotations

import sys
import warnings

from htcdaskgateway.versions import VersionMismatchError, VersionMismatchWarning, VersionTable


def tell(subject: str, table: VersionTable, check: str) -> None:
    """Raise, or with ``check="warn"`` warn, that ``subject`` does not fit this notebook.

    Raises
    ------
    VersionMismatchError
    """
    error = VersionMismatchError(subject, table)
    error.displayed = display(table)
    if check != "warn":
        raise error
    text = error.sentence if error.displayed else str(error)
    warn(text, VersionMismatchWarning)


def warn(text: str, category: type[Warning]) -> None:
    """Warn, each time."""
    # With a registry of its own: Python would show the same warning of a second cluster no more.
    warnings.warn_explicit(text, category, __file__, 1, __name__, {})


def display(table: VersionTable) -> bool:
    """Show the table, if this is a notebook; whether it was shown."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if ipython is None or getattr(shell, "kernel", None) is None:
        return False
    ipython.display.display(table)
    return True
