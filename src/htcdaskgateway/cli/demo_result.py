"""The end of ``htcdask demo``: results, spectrum, times, and the lines for a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from htcdaskgateway.cli.demo_show import RichStep
from htcdaskgateway.demo.analysis import MASS_EDGES, PEAKS
from htcdaskgateway.demo.run import Outcome
from htcdaskgateway.demo.spectrum import Peak, Spectrum
from htcdaskgateway.demo.terminal import histogram

LABELS = {"J/psi": "J/ψ", "Upsilon": "\N{GREEK CAPITAL LETTER UPSILON}"}
TICKS = (0.3, 1, 3, 10, 30, 100)
MARGIN = 2
WIDEST = 120


class Result:
    """Shows an outcome on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._unicode = console.encoding.lower().startswith("utf")
        self._box = box.SIMPLE_HEAD if self._unicode else box.ASCII2

    def outcome(self, outcome: Outcome) -> None:
        spectrum = outcome.spectrum
        self._console.print()
        self._console.print(self._events(spectrum, outcome.source))
        self._console.print(self._peaks(spectrum))
        self._spectrum(spectrum)
        self._console.print()
        self._console.print(Text(f"Picture: {outcome.picture}"), soft_wrap=True)

    def times(self, steps: Sequence[RichStep]) -> None:
        """How long each step took."""
        table = Table(box=self._box, pad_edge=False, show_footer=True)
        table.add_column("step", "total")
        total = sum(step.seconds for step in steps)
        table.add_column("seconds", f"{total:.1f}", justify="right")
        for step in steps:
            table.add_row(step.title, f"{step.seconds:.1f}")
        self._console.print(table)

    def kept(self, lines: Sequence[str], stop: str) -> None:
        """What a person needs of a demo that still runs; no wrapping, as it is to be copied."""
        self._console.print(
            "It is still running. In a Python or notebook of this account, on this machine:\n"
        )
        for line in lines:
            self._console.out(line, highlight=False)
        self._console.print("\nThis ends it:\n")
        self._console.out(stop, highlight=False)

    def _label(self, name: str) -> str:
        return LABELS.get(name, name) if self._unicode else name

    def _events(self, spectrum: Spectrum, source: str) -> Table:
        table = Table(
            title=Text(source), title_justify="left", title_style="bold", box=self._box, pad_edge=False
        )
        table.add_column("selection")
        table.add_column("events", justify="right")
        table.add_row("all", f"{spectrum.events:,}")
        table.add_row("two muons or more", f"{spectrum.pairs:,}")
        table.add_row("dimuon candidates: the leading two have opposite charge", f"{spectrum.candidates:,}")
        if spectrum.outside:
            low, high = MASS_EDGES[0], MASS_EDGES[-1]
            table.add_row(f"of these outside {low:g} to {high:g} GeV", f"{spectrum.outside:,}")
        return table

    def _peaks(self, spectrum: Spectrum) -> Table:
        table = Table(box=self._box, pad_edge=False)
        table.add_column("peak")
        for title in ("window (GeV)", "candidates", "above sidebands", "mean (GeV)"):
            table.add_column(title, justify="right")
        for peak in spectrum.found_peaks():
            table.add_row(*self._peak(peak))
        return table

    def _peak(self, peak: Peak) -> list[str]:
        plus_minus = "±" if self._unicode else "+-"
        return [
            self._label(peak.name),
            f"{peak.low:.2f} to {peak.high:.2f}",
            f"{peak.inside:,}",
            f"{peak.excess:,.0f} {plus_minus} {peak.error:,.0f}",
            f"{peak.mean:.3f}" if peak.found else "not found",
        ]

    def _spectrum(self, spectrum: Spectrum) -> None:
        width = max(20, min(self._console.width, WIDEST) - MARGIN)
        lines = histogram(
            spectrum.counts.tolist(),
            MASS_EDGES.tolist(),
            width,
            marks={
                self._label(peak.name): PEAKS[peak.name][0] for peak in spectrum.found_peaks() if peak.found
            },
            ticks=TICKS,
            unicode=self._unicode,
        )
        self._console.print(Text("candidates per GeV (log) over dimuon mass in GeV (log)", style="dim"))
        for line in lines:
            self._console.print(Text(line), no_wrap=True, crop=True)
