"""Shows things in a notebook; tells there of versions that do not agree, with the table above the error."""

from __future__ import annotations

import sys
import warnings
from typing import Any

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
    ipython = _ipython_of_notebook()
    if ipython is None:
        return False
    ipython.display.display(table)
    return True


def notebook_display(bundle: dict[str, Any]) -> Any:
    """Show data by MIME type, if this is a notebook.

    Returns
    -------
    IPython.display.DisplayHandle or None
        By which it can be replaced, from any thread; None: this is no notebook.
    """
    ipython = _ipython_of_notebook()
    return None if ipython is None else ipython.display.display(bundle, raw=True, display_id=True)


def is_notebook() -> bool:
    """Whether this Python is the kernel of a notebook."""
    return _ipython_of_notebook() is not None


def _ipython_of_notebook() -> Any:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return None if getattr(shell, "kernel", None) is None else ipython
