"""The spectrum: the sum over all chunks, and the peaks in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from htcdaskgateway.demo.analysis import MASS_EDGES, PEAKS, Floats


@dataclass(frozen=True)
class Peak:
    """What lies above the background in one window.

    Attributes
    ----------
    name : str
    low, high : float
        The window, GeV.
    inside : int
        Candidates in the window.
    excess, error : float
        Those above the background that the sidebands predict, and the uncertainty of that.
    mean : float
        Mean mass of the excess, GeV; nan where there is none.
    """

    name: str
    low: float
    high: float
    inside: int
    excess: float
    error: float
    mean: float

    @property
    def found(self) -> bool:
        return self.excess > 0 and self.excess >= 3 * self.error


@dataclass
class Spectrum:
    """Counts of all chunks added up so far."""

    events: int = 0
    pairs: int = 0
    candidates: int = 0
    counts: Floats = field(default_factory=lambda: np.zeros(len(MASS_EDGES) - 1))
    peaks: Floats = field(default_factory=lambda: np.zeros((len(PEAKS), 4)))
    chunks: int = 0
    workers: set[str] = field(default_factory=set)

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Add the answer of :func:`~htcdaskgateway.demo.analysis.dimuons` for one chunk."""
        self.events += chunk["events"]
        self.pairs += chunk["pairs"]
        self.candidates += chunk["candidates"]
        self.counts = self.counts + chunk["counts"]
        self.peaks = self.peaks + chunk["peaks"]
        self.chunks += 1
        self.workers.add(chunk["where"])

    @property
    def outside(self) -> int:
        """Candidates that no bin holds."""
        return self.candidates - int(self.counts.sum())

    @property
    def density(self) -> Floats:
        """Candidates per GeV in each bin."""
        return self.counts / np.diff(MASS_EDGES)

    def found_peaks(self) -> list[Peak]:
        """Every window that was looked at, whether or not there is a peak in it."""
        return [peak(name, *PEAKS[name], *row) for name, row in zip(PEAKS, self.peaks, strict=True)]


def peak(
    name: str, centre: float, width: float, left: float, signal: float, right: float, sum_off: float
) -> Peak:
    """Subtract a background that is linear over window and sidebands.

    Each sideband is half as wide as the window. For a background a + b x around the centre the two
    hold a w together, as the window does, and differ by 3/4 b w²; in the window its x sums up to
    b w³/12, a ninth of w times that difference.
    """
    excess = float(signal - left - right)
    error = math.sqrt(signal + left + right)
    off = float(sum_off - (right - left) * width / 9)
    mean = centre + off / excess if excess > 0 else math.nan
    return Peak(name, centre - width / 2, centre + width / 2, int(signal), excess, error, mean)


def chunks(files: Iterable[tuple[str, int]], size: int) -> list[tuple[str, int, int]]:
    """Cut files of so many entries into near-equal pieces of at most ``size`` entries."""
    if size < 1:
        raise ValueError(f"A chunk of {size} entries is none.")
    pieces = []
    for path, entries in files:
        parts = -(-entries // size)
        cuts = [entries * part // parts for part in range(parts + 1)] if parts else []
        pieces += [(path, start, stop) for start, stop in itertools.pairwise(cuts)]
    return pieces
