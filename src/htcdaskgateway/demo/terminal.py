"""The spectrum as block characters, as wide as the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

BLOCKS = " ▁▂▃▄▅▆▇█"


def heights(values: Sequence[float], rows: int) -> list[float]:
    """Column heights from 0 to ``rows`` on a logarithmic scale; 0 for nothing.

    The smallest value that is not zero stands one block high, so that it can be seen.
    """
    logs = [math.log(value) if value > 0 else None for value in values]
    present = [log for log in logs if log is not None]
    if not present:
        return [0.0] * len(values)
    low, high = min(present), max(present)
    span = (high - low) or 1.0
    return [0.0 if log is None else 1 + (rows - 1) * (log - low) / span for log in logs]


def histogram(
    counts: Sequence[float],
    edges: Sequence[float],
    width: int,
    rows: int = 12,
    marks: Mapping[str, float] | None = None,
    ticks: Sequence[float] = (),
    unicode: bool = True,
) -> list[str]:
    """Draw a density (counts per bin width, log scale) over bins that are even on a log axis.

    Parameters
    ----------
    counts, edges : sequence of float
        A histogram; neighbouring bins are joined until it fits.
    width : int
        Columns to use at most.
    rows : int
        Lines for the bars.
    marks : mapping of str to float
        Names to write above places of the axis.
    ticks : sequence of float
        Places to name below the axis.
    unicode : bool
        Block characters; without, plain ``#``.

    Returns
    -------
    list of str
        Lines, none longer than ``width``.
    """
    joined = -(-len(counts) // max(width, 1))
    starts = range(0, len(counts), joined)
    stops = [min(start + joined, len(counts)) for start in starts]
    bars = heights(
        [sum(counts[a:b]) / (edges[b] - edges[a]) for a, b in zip(starts, stops, strict=True)], rows
    )

    def column(value: float) -> int:
        place = math.log(value / edges[0]) / math.log(edges[-1] / edges[0]) * len(counts)
        return int(place) // joined

    def cell(height: float) -> str:
        if not unicode:
            return "#" if height >= 0.5 else " "
        return BLOCKS[round(8 * min(max(height, 0.0), 1.0))]

    places = {name: column(value) for name, value in (marks or {}).items()}
    labels = {f"{value:g}": column(value) for value in ticks}
    lines = [_place(places, len(bars))] if places else []
    lines += ["".join(cell(bar - row) for bar in bars) for row in reversed(range(rows))]
    axis, tick = ("─", "┬") if unicode else ("-", "+")
    lines.append("".join(tick if i in labels.values() else axis for i in range(len(bars))))
    return [line.rstrip() for line in [*lines, _place(labels, len(bars))]]


def _place(texts: Mapping[str, int], width: int) -> str:
    """One line with every text centred on its column; one that would touch its neighbour is left out."""
    line = ""
    for text, at in sorted(texts.items(), key=lambda item: item[1]):
        start = min(max(at - len(text) // 2, 0), width - len(text))
        if start < len(line) + bool(line):
            continue
        line = line.ljust(start) + text
    return line
