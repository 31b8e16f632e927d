"""What ``htcdask images`` shows: a table on standard output, progress on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.columns import Columns
from rich.console import Console
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from htcdaskgateway.cli.console import UNLIMITED, notes_console, output_console
from htcdaskgateway.images.survey import Finding
from htcdaskgateway.versions.names import MUST_AGREE, agree
from htcdaskgateway.versions.table import VersionTable

NAME_WIDTH = 20  # characters: the least that an image's name gets of a line


class ImagesShow:
    """Shows findings on a console.

    Parameters
    ----------
    quiet : bool
        No progress, whatever standard error is.
    """

    def __init__(self, quiet: bool = False, output: Console | None = None) -> None:
        self.output, self.notes = output or output_console(), notes_console()
        self.quiet = quiet or not self.notes.is_terminal

    @contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """A line that counts what was read, while it is read."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.completed} images read"),
            TimeElapsedColumn(),
            TextColumn("{task.description}", style="dim"),
        )
        with Progress(*columns, console=self.notes, transient=True, disable=self.quiet) as bar:
            task = bar.add_task("", total=None)
            yield lambda name: bar.update(task, advance=1, description=name)

    def findings(self, findings: Sequence[Finding], here: dict[str, str]) -> None:
        """One line an image; what does not fit ``here`` is marked, and said below where it is no version."""
        unicode = self.output.encoding.lower().startswith("utf")
        table = Table(box=box.SIMPLE_HEAD if unicode else box.ASCII2, pad_edge=False)
        table.add_column("image", overflow="fold", min_width=NAME_WIDTH)
        for name in (*MUST_AGREE, "fits"):
            table.add_column(name, no_wrap=True)
        for finding in findings:
            table.add_row(str(finding.reference), *self._cells(finding, here))
        unlimited = self.output.options.update(max_width=UNLIMITED)
        longest = max((len(str(finding.reference)) for finding in findings), default=0)
        folded = max(0, longest - NAME_WIDTH)
        if self.output.measure(table, options=unlimited).minimum - folded > self.output.width:
            self._blocks(findings, here)
        elif findings:
            self.output.print(table)
        for finding in findings:
            if finding.error:
                said, style = finding.error.why, "yellow"
            elif finding.notes and len(findings) > 1:  # of a single one the comparison says it
                said, style = "; ".join(finding.notes), ""
            else:
                continue
            self.output.print(Text(f"{finding.reference}: {said}", style), soft_wrap=True)

    def _blocks(self, findings: Sequence[Finding], here: dict[str, str]) -> None:
        """The same where a line is too short for the columns of a table."""
        for finding in findings:
            *versions, fitting = self._cells(finding, here)
            named = [Text.assemble(f"{name} ", cell) for name, cell in zip(MUST_AGREE, versions, strict=True)]
            self.output.print(Text(str(finding.reference)), soft_wrap=True)
            cells = Columns([Text.assemble("fits ", fitting), *named], padding=(0, 3))
            self.output.print(Padding(cells, (0, 0, 1, 2)))

    @staticmethod
    def _cells(finding: Finding, here: dict[str, str]) -> list[Text]:
        if finding.error:
            return [Text("?", "dim")] * len(MUST_AGREE) + [Text("?", "yellow")]
        cells, fitting = [], finding.runs_dask is not False
        for name in MUST_AGREE:
            version = finding.versions.get(name, "")
            same = agree(name, [here.get(name, ""), version])
            fitting = fitting and same
            cells.append(Text(version or "-", "" if same else "red"))
        doubt = "?" if finding.is_doubtful else ""
        return [*cells, Text(f"yes{doubt}", "green") if fitting else Text(f"no{doubt}", "red")]

    def table(self, table: VersionTable) -> None:
        self.output.print(Text(str(table)), soft_wrap=True)
