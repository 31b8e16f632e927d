"""What ``htcdask check`` shows: a line a part, and below it what mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from htcdaskgateway.cli.check_verdicts import Finding, Level
from htcdaskgateway.cli.console import notes_console, output_console
from htcdaskgateway.client.views.table import printable_lines

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "red", Level.UNUSED: "dim"}
PLAIN = {Level.OK: "ok", Level.WARNING: "warning", Level.FAILURE: "FAILURE", Level.UNUSED: "unused"}


class CheckShow:
    """Shows findings on a console.

    Parameters
    ----------
    quiet : bool
        No progress, whatever standard error is.
    """

    def __init__(self, quiet: bool = False, output: Console | None = None) -> None:
        self.output, self._notes = output or output_console(), notes_console()
        self._quiet = quiet or not self._notes.is_terminal

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Say that something is being done, while it is."""
        if self._quiet:
            yield
            return
        with self._notes.status("looking at all parts"):
            yield

    def all(self, findings: Sequence[Finding]) -> None:
        """All of them, and how many have failed."""
        width = max((len(finding.part) for finding in findings), default=0)
        for finding in findings:
            self._one(finding, width)
        failures = sum(finding.level is Level.FAILURE for finding in findings)
        warnings = sum(finding.level is Level.WARNING for finding in findings)
        some = [
            f"{count} {word}{'s' * (count != 1)}"
            for count, word in ((failures, "failure"), (warnings, "warning"))
            if count
        ]
        style = "red" if failures else "yellow" if warnings else "green"
        self.output.print(Text(", ".join(some) or "All is well.", style))

    def _one(self, finding: Finding, width: int) -> None:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, width=max(map(len, PLAIN.values())))
        grid.add_column(no_wrap=True, width=width)
        grid.add_column(overflow="fold")
        style = STYLES[finding.level]
        text = Text(printable_lines(finding.text), "dim" if finding.level is Level.UNUSED else "")
        grid.add_row(Text(PLAIN[finding.level], style), Text(finding.part, "bold"), text)
        self.output.print(grid)
        if finding.level in (Level.WARNING, Level.FAILURE):
            lines = [f"{name}: {value}" for name, value in finding.facts.items()]
            lines += finding.remedy.splitlines()
            if lines:
                self.output.print(
                    Padding(Text(printable_lines("\n".join(lines))), (0, 0, 0, 9), expand=False)
                )
