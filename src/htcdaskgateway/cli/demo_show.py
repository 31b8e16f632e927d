"""What ``htcdask demo`` shows on the way: live in a terminal, one line a step elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.records import WorkerRecord, WorkerState

COLOURS = {
    WorkerState.WANTED: "dim",
    WorkerState.IDLE: "yellow",
    WorkerState.STARTING: "cyan",
    WorkerState.RUNNING: "green",
    WorkerState.LEAVING: "dim",
    WorkerState.FINISHED: "dim",
    WorkerState.FAILED: "red",
}
SHOWN_WORKERS = 8
TITLE_WIDTH = 10


@dataclass
class RichStep:
    """A step, and how long it took."""

    title: str
    detail: str = ""
    seconds: float = 0.0


class RichShow:
    """Shows a demo on a console.

    Parameters
    ----------
    console : rich.console.Console
    clock : callable
        Seconds, for the times of the steps.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._unicode = console.encoding.lower().startswith("utf")
        self._live_display = console.is_terminal and not console.is_dumb_terminal
        self.steps: list[RichStep] = []
        self._body: RenderableType = ""
        self._said: set[str] = set()

    def note(self, sentence: str) -> None:
        self._console.print(Text(sentence, style="dim"), soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[RichStep]:
        step = RichStep(title)
        start = self._clock()
        ended = False
        self._body = ""
        try:
            with self._live(step):
                yield step
            ended = True
        finally:
            step.seconds = self._clock() - start
            self.steps.append(step)
            self._end_of(step, ended)

    def workers(self, wanted: int, report: WorkersReport) -> None:
        self._body = Group(
            _bar(report.running, wanted, f"{report.running} of {wanted} workers: {report.states}"),
            Padding(workers_table(report.workers), (0, 0, 0, 2)),
        )
        for worker in report.workers:
            if worker.state is WorkerState.FAILED:
                self._once(f"  a worker failed: {worker.reason}", "red")
        if report.running >= wanted:
            self._console.print(Padding(workers_table(report.workers), (0, 0, 0, 2)))
        elif not self._live_display:
            self._once(f"  {report.states}", "")

    def tasks(self, done: int, total: int) -> None:
        self._body = _bar(done, total, f"{done} of {total} tasks")

    def _live(self, step: RichStep) -> Live:
        """A display that is gone at the end of the step; without a terminal, one that shows nothing."""
        spinner = Spinner("dots" if self._unicode else "line", Text(step.title, style="bold"))

        def render() -> RenderableType:
            return Group(spinner, self._body) if self._live_display else ""

        quiet = Console(quiet=True)
        return Live(
            console=self._console if self._live_display else quiet,
            get_renderable=render,
            transient=True,
            refresh_per_second=8,
            auto_refresh=self._live_display,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def _end_of(self, step: RichStep, ended: bool) -> None:
        marks = ("✓", "✗") if self._unicode else ("+", "x")
        mark = Text(marks[0], style="green") if ended else Text(marks[1], style="red")
        line = Text.assemble(mark, " ", (f"{step.title:<{TITLE_WIDTH}}", "bold"), " ", step.detail)
        line.rstrip()
        self._console.print(line, soft_wrap=True)

    def _once(self, line: str, style: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._console.print(Text(line, style=style), soft_wrap=True)


def workers_table(workers: Sequence[WorkerRecord]) -> Table:
    """The first few workers, one a row; those that have ended as they were asked to are left out."""
    shown = [worker for worker in workers if worker.state is not WorkerState.FINISHED]
    table = Table(box=None, pad_edge=False, header_style="dim")
    # Enough of a name to tell two apart; the job is what HTCondor's tools take.
    table.add_column("worker", no_wrap=True, overflow="ellipsis", max_width=10)
    for title in ("state", "job", "host"):
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for worker in shown[:SHOWN_WORKERS]:
        state = Text(str(worker.state), style=COLOURS[worker.state])
        table.add_row(Text(worker.name), state, Text(worker.job_id), Text(worker.host))
    if len(shown) > SHOWN_WORKERS:
        table.add_row(f"and {len(shown) - SHOWN_WORKERS} more")
    return table


def _bar(done: int, total: int, text: str) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(" ", ProgressBar(total=max(total, 1), completed=done, width=30), Text(text))
    return grid
