"""Clusters and workers as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from htcdaskgateway.cli.console import output_console
from htcdaskgateway.cli.remedies import in_a_shell
from htcdaskgateway.client.views.model import ClusterView
from htcdaskgateway.client.views.table import cell, empty_table, lines_of, parts
from htcdaskgateway.records import WorkerRecord


class ViewsShow:
    """Shows views on a console: coloured and folded in a terminal, whole lines elsewhere."""

    def __init__(self, output: Console | None = None) -> None:
        self.output = output or output_console()
        self._lines = lines_of(self.output)

    def clusters(self, views: Sequence[ClusterView]) -> None:
        """One line a cluster."""
        if not views:
            self.output.print("You have no cluster.")
            return
        table = empty_table(self._lines, "cluster", "status", "workers", "image")
        for view in views:
            workers = f"{view.running} of {view.wanted}: {view.states}"
            table.add_row(*map(cell, (view.name, view.status, workers, view.image or "-")))
        self.output.print(table)

    def workers(self, view: ClusterView, records: Sequence[WorkerRecord]) -> None:
        """One cluster: how far it is, its workers, and why there are not more."""
        advised = (replace(one, remedy=in_a_shell(one.remedy, view.name[:8])) for one in view.reasons)
        for part in parts(replace(view, reasons=tuple(advised)), records, self._lines):
            self.output.print(part)
