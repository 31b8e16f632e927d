from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from htcdaskgateway.demo.analysis import MASS_EDGES
from htcdaskgateway.demo.plot import draw
from htcdaskgateway.demo.spectrum import Spectrum


def spectrum_of(masses: list[float]) -> Spectrum:
    return Spectrum(candidates=len(masses), counts=np.histogram(masses, MASS_EDGES)[0].astype(float))


@pytest.mark.parametrize("masses", [[], [3.1], [3.1] * 50 + [91.2] * 20 + [1.0, 20.0]])
def test_a_picture_that_other_programs_read(tmp_path: Path, masses: list[float]) -> None:
    path = tmp_path / "mass.png"
    draw(spectrum_of(masses), path, "test", tmp_path / "cache")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(path)
    assert pixels.shape == (500, 800, 4)
    assert pixels.std() > 0.05
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_picture_stays_where_the_new_one_cannot_be_drawn(tmp_path: Path) -> None:
    (tmp_path / "mass.png").mkdir()  # os.replace refuses a directory
    with pytest.raises(OSError, match="directory"):
        draw(spectrum_of([3.1]), tmp_path / "mass.png", "test", tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["mass.png"]
