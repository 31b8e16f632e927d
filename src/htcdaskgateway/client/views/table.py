"""A cluster in a terminal, with its workers as a table. The one module of the client that needs rich."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.box import Box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from htcdaskgateway.client.views.model import ClusterView
from htcdaskgateway.client.views.text import bar
from htcdaskgateway.credentials.words import duration
from htcdaskgateway.images.errors import printable
from htcdaskgateway.records import WorkerRecord, WorkerState

COLOURS = {
    "unsubmitted": "dim", "wanted": "dim", "idle": "yellow", "starting": "cyan", "running": "green",
    "leaving": "dim", "finished": "dim", "held": "red", "failed": "red", "cluster": "red",
}  # fmt: skip


def parts(view: ClusterView, records: Sequence[WorkerRecord], lines: Box) -> Iterator[RenderableType]:
    """Show one cluster: how far it is, its workers, and why there are not more. Pure.

    Parameters
    ----------
    view : ClusterView
    records : sequence of WorkerRecord
        Those to be listed.
    lines : Box
        As `lines_of` gives them.
    """
    size = f" ({view.size})" if view.size else ""
    head = f"{view.title}\n{bar(view.running, view.wanted)} {view.running} of {view.wanted} workers{size}"
    yield Text(printable_lines(head), no_wrap=True, overflow="ignore")
    if records:
        table = empty_table(lines, "worker", "state", "for", "job", "schedd", "host")
        for record in records:
            table.add_row(*_cells(view, record))
        yield table
    for reason in view.reasons:
        age = view.age(reason)
        told = [*reason.text.splitlines(), *reason.remedy.splitlines()]
        title = Text(f"{reason.title}{f', {age}' if age else ''}: ", COLOURS[reason.kind])
        yield title + Text(printable_lines("\n  ".join(told)))


def lines_of(console: Console) -> Box:
    """Lines that this console can show."""
    return box.SIMPLE_HEAD if console.encoding.lower().startswith("utf") else box.ASCII2


def empty_table(lines: Box, *titles: str) -> Table:
    table = Table(box=lines, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def cell(text: str) -> Text:
    return Text(printable(text))


def printable_lines(text: str) -> str:
    """Give text of others, line by line, without what a terminal would act on."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _cells(view: ClusterView, record: WorkerRecord) -> list[Text]:
    age = duration(view.now - record.since) if 0 < record.since <= view.now else ""
    held = record.state is WorkerState.FAILED and record.reason.startswith("held: ")
    state = Text("held" if held else str(record.state), COLOURS[str(record.state)])
    return [cell(record.name[:8]), state, *map(cell, (age, record.job_id, record.schedd, record.host))]
