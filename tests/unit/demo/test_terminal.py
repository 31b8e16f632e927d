from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcdaskgateway.demo.terminal import heights, histogram

EDGES = np.geomspace(1, 1000, 301).tolist()
PEAKS = {"J/psi": 3.1, "Upsilon": 9.9, "Z": 91.2}


def test_heights_are_logarithmic() -> None:
    assert heights([1, 10, 100, 0], 3) == pytest.approx([1, 2, 3, 0])
    assert heights([5, 5], 4) == [1, 1]
    assert heights([0, 0], 4) == [0, 0]


@given(
    st.lists(st.integers(0, 10**9), min_size=300, max_size=300),
    st.integers(1, 400),
    st.integers(1, 25),
    st.booleans(),
)
def test_it_fits(counts: list[int], width: int, rows: int, unicode: bool) -> None:
    lines = histogram(counts, EDGES, width, rows, PEAKS, (1, 10, 100), unicode)
    assert max(map(len, lines)) <= max(width, 7)  # no narrower than the longest name
    assert len(lines) == rows + 3
    if not unicode:
        assert "".join(lines).isascii()


def test_a_peak_stands_under_its_name() -> None:
    counts = [1.0] * 300
    centre = int(np.searchsorted(EDGES, 91.2)) - 1
    counts[centre] = 1e6
    lines = histogram(counts, EDGES, 75, 10, PEAKS, (1, 10, 100))
    assert lines[0].index("Z") == lines[1].index("█")
    assert lines[1].count("█") == 1
    tick = lines[-2].index("┬", 1)
    assert lines[-1][tick - 1 : tick + 1] == "10"


def test_names_that_would_touch_are_left_out() -> None:
    lines = histogram([1.0] * 300, EDGES, 75, 3, {"one": 10.0, "two": 10.1}, ())
    assert "one" in lines[0]
    assert "two" not in lines[0]
