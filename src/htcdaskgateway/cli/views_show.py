"""Clusters and workers as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from htcdaskgateway.cli.console import output_console
from htcdaskgateway.client.views.model import ClusterView
from htcdaskgateway.client.views.text import bar
from htcdaskgateway.credentials.words import duration
from htcdaskgateway.images.errors import printable
from htcdaskgateway.records import WorkerRecord, WorkerState

COLOURS = {
    "unsubmitted": "dim", "wanted": "dim", "idle": "yellow", "starting": "cyan", "running": "green",
    "leaving": "dim", "finished": "dim", "held": "red", "failed": "red", "cluster": "red",
}  # fmt: skip


class ViewsShow:
    """Shows views on a console: coloured and folded in a terminal, whole lines elsewhere."""

    def __init__(self, output: Console | None = None) -> None:
        self.output = output or output_console()
        self._box = box.SIMPLE_HEAD if self.output.encoding.lower().startswith("utf") else box.ASCII2

    def clusters(self, views: Sequence[ClusterView]) -> None:
        """One line a cluster."""
        if not views:
            self.output.print("You have no cluster.")
            return
        table = self._table("cluster", "status", "workers", "image")
        for view in views:
            workers = f"{view.running} of {view.wanted}: {view.states}"
            table.add_row(*map(_cell, (view.name, view.status, workers, view.image or "-")))
        self.output.print(table)

    def workers(self, view: ClusterView, records: Sequence[WorkerRecord]) -> None:
        """One cluster: how far it is, its workers, and why there are not more."""
        size = f" ({view.size})" if view.size else ""
        head = f"{view.title}\n{bar(view.running, view.wanted)} {view.running} of {view.wanted} workers{size}"
        self.output.print(Text(printable_lines(head)), soft_wrap=True)
        if records:
            table = self._table("worker", "state", "for", "job", "schedd", "host")
            for record in records:
                table.add_row(*self._cells(view, record))
            self.output.print(table)
        for reason in view.reasons:
            age = view.age(reason)
            told = [*reason.text.splitlines(), *reason.remedy.splitlines()]
            title = Text(f"{reason.title}{f', {age}' if age else ''}: ", COLOURS[reason.kind])
            self.output.print(title + Text(printable_lines("\n  ".join(told))))

    @staticmethod
    def _cells(view: ClusterView, record: WorkerRecord) -> list[Text]:
        age = duration(view.now - record.since) if 0 < record.since <= view.now else ""
        held = record.state is WorkerState.FAILED and record.reason.startswith("held: ")
        state = Text("held" if held else str(record.state), COLOURS[str(record.state)])
        return [_cell(record.name[:8]), state, *map(_cell, (age, record.job_id, record.schedd, record.host))]

    def _table(self, *titles: str) -> Table:
        table = Table(box=self._box, pad_edge=False)
        for title in titles:
            table.add_column(title, overflow="fold")
        return table


def printable_lines(text: str) -> str:
    """Give text of others, line by line, without what a terminal would act on."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _cell(text: str) -> Text:
    return Text(printable(text))
