from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcdaskgateway.demo.analysis import MASS_EDGES, PEAKS, peak_counts
from htcdaskgateway.demo.spectrum import Spectrum, chunks, peak


def test_a_linear_background_is_subtracted_exactly() -> None:
    centre, width = 10.0, 2.0
    # a density of 1000 + 300 x around the centre, as masses at the quantiles of their cells
    cells = np.linspace(-width, width, 4001)
    middle = (cells[:-1] + cells[1:]) / 2
    copies = np.rint((1000 + 300 * middle) * np.diff(cells) * 100).astype(int)
    background = centre + np.repeat(middle, copies)
    signal = np.full(20_000, 10.1)
    found = peak("p", centre, width, *peak_counts(np.concatenate([background, signal]), centre, width))
    assert found.excess == pytest.approx(20_000, rel=0.005)
    assert found.mean == pytest.approx(10.1, abs=0.002)
    assert found.found
    none = peak("p", centre, width, *peak_counts(background, centre, width))
    assert not none.found
    assert abs(none.excess) < 3 * none.error


@pytest.mark.parametrize(
    ("left", "signal", "right", "is_found"),
    [(0, 0, 0, False), (0, 8, 0, False), (0, 9, 0, True), (50, 100, 50, False)],
)
def test_a_peak_is_found_at_three_standard_deviations(
    left: int, signal: int, right: int, is_found: bool
) -> None:
    found = peak("p", 10.0, 1.0, left, signal, right, 0.0)
    assert found.found is is_found
    assert found.error == pytest.approx(math.sqrt(left + signal + right))


def test_chunks_add_up() -> None:
    counts = np.zeros(len(MASS_EDGES) - 1)
    counts[3] = 2
    one = {
        "events": 10, "pairs": 5, "candidates": 3, "counts": counts,
        "peaks": np.ones((len(PEAKS), 4)), "where": "host 1",
    }  # fmt: skip
    spectrum = Spectrum()
    spectrum.add(one)
    spectrum.add({**one, "where": "host 2"})
    assert (spectrum.events, spectrum.pairs, spectrum.candidates, spectrum.chunks) == (20, 10, 6, 2)
    assert spectrum.outside == 2  # of six candidates four are in bins
    assert spectrum.workers == {"host 1", "host 2"}
    assert spectrum.density[3] == pytest.approx(4 / (MASS_EDGES[4] - MASS_EDGES[3]))
    assert [peak.inside for peak in spectrum.found_peaks()] == [2, 2, 2]


@given(st.lists(st.integers(0, 1000), max_size=5), st.integers(1, 300))
def test_chunks_hold_every_entry_once(entries: list[int], size: int) -> None:
    files = [(f"f{number}", count) for number, count in enumerate(entries)]
    pieces = chunks(files, size)
    assert all(0 < stop - start <= size for _, start, stop in pieces)
    covered = [(path, entry) for path, start, stop in pieces for entry in range(start, stop)]
    assert covered == [(path, entry) for path, count in files for entry in range(count)]


def test_chunks_are_near_equal() -> None:
    assert chunks([("f", 101)], 50) == [("f", 0, 33), ("f", 33, 67), ("f", 67, 101)]
    with pytest.raises(ValueError, match="0 entries"):
        chunks([("f", 1)], 0)
