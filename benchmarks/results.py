"""Medians, ratios and aims; the tables, and the same as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

GATEWAY, BARE, JOBQUEUE, HAND = "cluster.scale(n)", "condor_submit", "dask-jobqueue", "by hand"
AIM_SIZE = 1000
AIM_RATIO, AIM_TRANSACTIONS, AIM_CONNECTED = 1.5, 3, 1.2


@dataclass
class Series:
    """Repetitions of one measurement.

    Attributes
    ----------
    seconds : list of float
    transactions : list of int
        Of the schedd, on the jobs of this measurement.
    extrapolated_from : int
        Not measured: so many jobs were, and the seconds are in proportion. 0: measured.
    """

    seconds: list[float] = field(default_factory=list)
    transactions: list[int] = field(default_factory=list)
    extrapolated_from: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def scaled(self, measured: int, wanted: int) -> Series:
        factor = wanted / measured
        return Series(
            [seconds * factor for seconds in self.seconds],
            [round(number * factor) for number in self.transactions],
            measured,
        )

    def __str__(self) -> str:
        text = f"{'~' if self.extrapolated_from else ''}{self.median:.{2 if self.median < 100 else 0}f} s"
        if len(self.seconds) > 1 and not self.extrapolated_from:
            text += f" ({min(self.seconds):.2f}-{max(self.seconds):.2f})"
        return text

    def times(self, base: Series) -> str:
        return f"{'~' if self.extrapolated_from else ''}{self.median / base.median:.2f}"


@dataclass(frozen=True)
class Aim:
    what: str
    most: float
    found: float

    @property
    def met(self) -> bool:
        return self.found <= self.most

    def __str__(self) -> str:
        return (
            f"{'met   ' if self.met else 'MISSED'}  {self.what}: {self.found:.2f}, aim at most {self.most:g}"
        )


@dataclass
class Results:
    """``queued``: by number of jobs, then by way. ``connected``: likewise, of workers."""

    about: Mapping[str, Any]
    queued: dict[int, dict[str, Series]] = field(default_factory=dict)
    connected: dict[int, dict[str, Series]] = field(default_factory=dict)

    def extrapolate_jobqueue(self) -> None:
        """Fill in the sizes that were too large for it, from the largest that was not."""
        measured = max((n for n, row in self.queued.items() if JOBQUEUE in row), default=0)
        for number, row in self.queued.items():
            if measured and JOBQUEUE not in row:
                row[JOBQUEUE] = self.queued[measured][JOBQUEUE].scaled(measured, number)

    def aims(self) -> list[Aim]:
        found = []
        if row := self.queued.get(AIM_SIZE):
            ratio = row[GATEWAY].median / row[BARE].median
            found.append(Aim(f"{GATEWAY} / {BARE}, n = {AIM_SIZE}", AIM_RATIO, ratio))
            most = max(row[GATEWAY].transactions)
            found.append(Aim(f"schedd transactions, n = {AIM_SIZE}", AIM_TRANSACTIONS, most))
        if row := self.connected.get(8):
            ratio = row[GATEWAY].median / row[HAND].median
            found.append(Aim("8 workers connected, of the time by hand", AIM_CONNECTED, ratio))
        return found

    def as_json(self) -> dict[str, Any]:
        def rows(part: dict[int, dict[str, Series]]) -> list[dict[str, Any]]:
            return [
                {"n": number, "way": way, "median": series.median, **asdict(series)}
                for number, row in part.items()
                for way, series in row.items()
            ]

        aims = [{**asdict(aim), "met": aim.met} for aim in self.aims()]
        return {
            "about": dict(self.about),
            "queued": rows(self.queued),
            "connected": rows(self.connected),
            "aims": aims,
        }

    def show(self, console: Console) -> None:
        console.print(*(f"{name}: {value}" for name, value in self.about.items()), sep="\n", end="\n\n")
        console.print("Seconds until n jobs are in the schedd: median (lowest-highest)")
        console.print(self._queued_table(console))
        for row in self.queued.values():
            if (series := row.get(JOBQUEUE)) and series.extrapolated_from:
                console.print(f"~ not measured: in proportion to n = {series.extrapolated_from}")
                break
        console.print(
            "transactions: committed in the schedd's job_queue.log (105 ... 106) and touching these jobs,\n"
            "until 1 s after the last of them was there; the highest of all repetitions\n"
        )
        console.print("Seconds until n workers are connected to their scheduler: median (lowest-highest)")
        console.print(self._connected_table(console))
        for aim in self.aims():
            console.print(str(aim), style=None if aim.met else "bold red")

    def _queued_table(self, console: Console) -> Table:
        table = _table(console)
        for name in (
            "n",
            GATEWAY,
            f"{BARE}, queue n",
            "ratio",
            JOBQUEUE,
            "ratio",
            "transactions, in this order",
        ):
            table.add_column(name, justify="right")
        for number, row in self.queued.items():
            ours, bare, theirs = row[GATEWAY], row[BARE], row.get(JOBQUEUE)
            table.add_row(
                str(number),
                str(ours),
                str(bare),
                ours.times(bare),
                str(theirs or "-"),
                theirs.times(bare) if theirs else "-",
                " / ".join(_most(series) for series in (ours, bare, theirs)),
            )
        return table

    def _connected_table(self, console: Console) -> Table:
        table = _table(console)
        for name in ("n", GATEWAY, f"{HAND}: {BARE}", "ratio"):
            table.add_column(name, justify="right")
        for number, row in self.connected.items():
            ours, hand = row[GATEWAY], row[HAND]
            table.add_row(str(number), str(ours), str(hand), ours.times(hand))
        return table


def _most(series: Series | None) -> str:
    if series is None:
        return "-"
    return f"{'~' if series.extrapolated_from else ''}{max(series.transactions)}"


def _table(console: Console) -> Table:
    return Table(box=box.SIMPLE_HEAD if console.is_terminal else box.ASCII2)


def rotated(ways: Sequence[str], by: int) -> list[str]:
    """The same in another order, so that what changes in the course of a run meets all alike."""
    by %= len(ways)
    return [*ways[by:], *ways[:by]]
