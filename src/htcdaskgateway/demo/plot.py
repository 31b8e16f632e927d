"""The spectrum as a picture."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from htcdaskgateway.demo.analysis import MASS_EDGES, PEAKS
from htcdaskgateway.demo.spectrum import Spectrum

LABELS = {"J/psi": r"J/$\psi$", "Upsilon": r"$\Upsilon$", "Z": "Z"}


def draw(spectrum: Spectrum, path: Path, source: str, cache: Path) -> None:
    """Write a PNG of the mass spectrum.

    Parameters
    ----------
    spectrum : Spectrum
    path : Path
        Replaced at once if it exists: a reader sees the old picture or the new one.
    source : str
        Where the events come from, for the title.
    cache : Path
        Where matplotlib may write what it knows of this machine's fonts.
    """
    with _caching_in(cache):
        _draw(spectrum, path, source)


def _draw(spectrum: Spectrum, path: Path, source: str) -> None:
    # The class, not pyplot: nothing of matplotlib's global state, and never a window.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    density = spectrum.density
    axes.stairs(density, MASS_EDGES, fill=True, color="#9ecae1")
    axes.stairs(density, MASS_EDGES, color="#08519c", linewidth=0.8)
    axes.set(xscale="log", xlim=(MASS_EDGES[0], MASS_EDGES[-1]))
    axes.set(xlabel="Dimuon invariant mass (GeV)", ylabel="Candidates / GeV")
    axes.set_title(source, loc="left", fontsize=10)
    axes.set_title(f"{spectrum.candidates:,} candidates", loc="right", fontsize=10)
    axes.set_xticks([0.3, 1, 3, 10, 30, 100, 300], ["0.3", "1", "3", "10", "30", "100", "300"])
    present = density[density > 0]
    if len(present):
        axes.set(yscale="log", ylim=(present.min() / 2, present.max() * 5))
    for peak in spectrum.found_peaks():
        if peak.found:
            inside = (MASS_EDGES[1:] > peak.low) & (MASS_EDGES[:-1] < peak.high)
            top = float(np.max(density[inside]))
            label = LABELS.get(peak.name, peak.name)
            axes.annotate(label, (PEAKS[peak.name][0], top * 1.4), ha="center")
    new = path.with_name(f".{path.name}.new")
    try:
        FigureCanvasAgg(figure).print_png(str(new))
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def _caching_in(directory: Path) -> Iterator[None]:
    """Keep matplotlib, if it is imported in the block, from leaving files in the home directory."""
    name = "MPLCONFIGDIR"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(directory)
    try:
        yield
    finally:
        del os.environ[name]
