"""Where commands write: results to standard output, progress to standard error."""

from __future__ import annotations

from rich.console import Console

UNLIMITED = 10_000  # characters: lines that go to a file or a pipe are not folded


def output_console() -> Console:
    """Standard output: folded in a terminal, whole lines elsewhere."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = UNLIMITED
    return console


def notes_console() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False)
