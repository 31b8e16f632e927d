"""How far it is with workers that are waited for: in a notebook, or in a line of a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any, TextIO

from htcdaskgateway.client.display import notebook_display
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.slot_match import Found
from htcdaskgateway.client.views.html import bar_html, counts_html, reasons_html
from htcdaskgateway.client.views.model import ClusterView, look
from htcdaskgateway.client.views.text import line


class Progress:
    """Shows reports one after the other, in one place; nothing where nobody looks.

    Parameters
    ----------
    name : str
        Of the cluster.
    wanted : int
        How many workers are waited for.
    stream : text stream, optional
        A terminal; default: standard error.
    """

    def __init__(self, name: str, wanted: int, stream: TextIO | None = None) -> None:
        self._name, self._wanted = name, wanted
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = bool(getattr(self._stream, "isatty", lambda: False)())
        self._width = 0
        # Made here, in the thread of the cell that it belongs to.
        self._display = notebook_display({"text/plain": f"Waiting for {wanted} workers", "text/html": ""})

    def show(self, report: WorkersReport, slots: Found | None = None) -> None:
        """Show this one instead of the last one. Never fails."""
        view = look(self._name, report, time.time(), slots)
        if self._display is not None:
            self._display.update(self._bundle(view), raw=True)
        elif self._is_terminal:
            text = line(view, self._wanted)
            with contextlib.suppress(OSError, ValueError):  # a terminal that is gone
                self._stream.write(f"\r{text:<{self._width}}")
                self._stream.flush()
            self._width = len(text)

    def end(self) -> None:
        """Leave the line."""
        if self._display is None and self._is_terminal and self._width:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write("\n")
                self._stream.flush()

    def _bundle(self, view: ClusterView) -> dict[str, Any]:
        shown = f"<div>{bar_html(view)}{counts_html(view)}{reasons_html(view)}</div>"
        return {"text/plain": line(view, self._wanted), "text/html": shown}
