from __future__ import annotations

import math
import pickle
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from distributed.protocol.pickle import dumps
from hypothesis import given
from hypothesis import strategies as st

from htcdaskgateway.demo.analysis import MASS_EDGES, PEAKS, dimuons, inspect, invariant_mass, peak_counts
from htcdaskgateway.demo.by_value import ByValue

MUON_MASS = 0.1056584
Muon = tuple[float, float, float, int]  # pt, eta, phi, charge


def mass_of(*muons: Muon, mass: float = 0.0) -> float:
    pt, eta, phi = np.array([muon[:3] for muon in muons]).T[:, :, None]
    return float(invariant_mass(pt, eta, phi, np.full((2, 1), mass))[0])


def write(path: Path, events: list[list[Muon]]) -> Path:
    muon = {
        name: ak.Array([[one[place] for one in event] for event in events])
        for place, name in enumerate(("pt", "eta", "phi", "charge"))
    }
    muon["mass"] = ak.Array([[MUON_MASS] * len(event) for event in events])
    with uproot.recreate(path) as file:
        file.mktree(
            "Events",
            {"Muon": "var * {pt: float32, eta: float32, phi: float32, mass: float32, charge: int32}"},
        )
        file["Events"].extend(
            {"Muon": ak.zip({name: muon[name] for name in ("pt", "eta", "phi", "mass", "charge")})}
        )
    return path


@pytest.mark.parametrize(
    ("first", "second", "muon_mass", "expected"),
    [
        ((45.6, 0, 0, 1), (45.6, 0, math.pi, -1), 0.0, 91.2),  # back to back: the sum of the momenta
        ((10, 0, 0, 1), (20, 1, math.pi / 2, -1), 0.0, 24.84416),  # sqrt(2 * 10 * 20 * cosh 1)
        ((5, 0.3, 1, 1), (5, 0.3, 1, -1), MUON_MASS, 2 * MUON_MASS),  # side by side: at rest to each other
        ((3, 0, 0, 1), (4, 0, math.pi / 2, -1), 0.0, math.sqrt(24)),  # sqrt(7² - 3² - 4²)
        ((1.5449, 0, 0, 1), (1.5449, 0, math.pi, -1), MUON_MASS, 3.0970),  # 2 sqrt(p² + m²)
    ],
)
def test_the_mass_of_a_pair_by_hand(first: Muon, second: Muon, muon_mass: float, expected: float) -> None:
    assert mass_of(first, second, mass=muon_mass) == pytest.approx(expected, rel=1e-5)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-2, 2))
def test_the_mass_does_not_see_rotation_or_a_boost_along_the_beam(
    phi: float, turn: float, boost: float
) -> None:
    pair = [(12.0, 0.5, 0.1), (30.0, -1.0, phi)]
    there = mass_of(*[(pt, eta, angle, 1) for pt, eta, angle in pair])
    moved = mass_of(*[(pt, eta + boost, angle + turn, 1) for pt, eta, angle in pair])
    assert moved == pytest.approx(there, rel=1e-6)


def test_windows_of_a_peak_count_each_mass_once() -> None:
    masses = np.array([8.9, 9.0, 9.4, 9.5, 10.0, 10.5, 10.6, 11.0, 11.1])
    assert peak_counts(masses, 10.0, 1.0).tolist() == [2, 3, 2, 0.0]
    assert peak_counts(np.array([10.25]), 10.0, 1.0)[3] == pytest.approx(0.25)


def test_a_chunk_is_selected_as_said(tmp_path: Path) -> None:
    z = [(45.6, 0.0, 0.0, 1), (45.6, 0.0, math.pi, -1)]
    path = write(
        tmp_path / "a:b.root",  # uproot would take the colon of a string for its own
        [
            [],
            [(20, 0, 0, 1)],
            [(20, 0, 0, 1), (20, 0, 3, 1)],  # like signs
            z,
            [*z, (5, 1, 1, 1)],  # the third is softer: not looked at
            [(30, 0, 0, 1), (20, 0, 1, 1), (10, 0, 2, -1)],  # the leading two have like signs
        ],
    )
    chunk = dimuons(str(path), 0, 6)
    assert (chunk["events"], chunk["pairs"], chunk["candidates"]) == (6, 4, 2)
    (bin_of_z,) = np.nonzero(chunk["counts"])[0]
    assert MASS_EDGES[bin_of_z] <= 91.2 < MASS_EDGES[bin_of_z + 1]
    assert chunk["peaks"][list(PEAKS).index("Z")][:3].tolist() == [0, 2, 0]
    assert dimuons(str(path), 3, 4)["candidates"] == 1


def test_a_chunk_without_pairs(tmp_path: Path) -> None:
    path = write(tmp_path / "none.root", [[], [(20, 0, 0, 1)]])
    chunk = dimuons(str(path), 0, 2)
    assert (chunk["events"], chunk["pairs"], chunk["candidates"], chunk["counts"].sum()) == (2, 0, 0, 0)


def test_inspect_tells_what_is_wrong(tmp_path: Path) -> None:
    good = write(tmp_path / "good.root", [[], []])
    assert inspect(str(good)) == (2, "")
    with uproot.recreate(tmp_path / "other.root") as file:
        file["Runs"] = {"run": np.array([1])}
    assert inspect(str(tmp_path / "other.root")) == (0, "has no tree Events (it has Runs)")
    with uproot.recreate(tmp_path / "histogram.root") as file:
        file["Events"] = np.histogram([1.0])
    assert inspect(str(tmp_path / "histogram.root")) == (0, "has an Events that is no tree")
    with uproot.recreate(tmp_path / "lacks.root") as file:
        file["Events"] = {"nMuon": np.array([1]), "Muon_pt": np.array([1.0])}
    _, problem = inspect(str(tmp_path / "lacks.root"))
    assert problem == "lacks the branch Muon_eta, Muon_phi, Muon_mass, Muon_charge"


@pytest.mark.parametrize("keep", [5, 50, 0.2, 0.5, 0.9])
def test_inspect_survives_a_file_that_was_cut_off(tmp_path: Path, keep: float) -> None:
    whole = write(tmp_path / "whole.root", [[(20, 0, 0, 1)]] * 2000).read_bytes()
    cut = tmp_path / "cut.root"
    cut.write_bytes(whole[: int(keep if keep > 1 else keep * len(whole))])
    count, problem = inspect(str(cut))
    assert count == 0
    assert problem.startswith(("cannot be read as ROOT: ", "is cut off: "))


def test_inspect_survives_damage(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.root", [[(20, 0, 0, 1)]] * 200).read_bytes()
    rng = np.random.default_rng(3)
    problems = 0
    for _ in range(150):
        damaged = np.frombuffer(whole, dtype=np.uint8).copy()
        damaged[rng.integers(4, len(whole), 30)] = rng.integers(0, 256, 30)
        (tmp_path / "damaged.root").write_bytes(damaged.tobytes())
        problems += bool(inspect(str(tmp_path / "damaged.root"))[1])
    assert problems > 30


WITHOUT_OUR_PACKAGE = """
import pickle, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "htcdaskgateway":
            raise ImportError("not on workers")

sys.meta_path.insert(0, Blocked())
function, arguments = pickle.load(sys.stdin.buffer)
answer = function(*arguments)
assert "htcdaskgateway" not in {name.partition(".")[0] for name in sys.modules}
sys.stdout.buffer.write(pickle.dumps(answer))
"""


def test_a_worker_needs_nothing_of_ours(tmp_path: Path) -> None:
    path = write(tmp_path / "z.root", [[(45.6, 0.0, 0.0, 1), (45.6, 0.0, math.pi, -1)]] * 3)
    for function, arguments in ((dimuons, (str(path), 0, 3)), (inspect, (str(path),))):
        # as distributed sends a task: the function deep inside a graph, where it pickles by reference
        ran = subprocess.run(
            [sys.executable, "-c", WITHOUT_OUR_PACKAGE],
            input=dumps((ByValue(function), arguments)),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr.decode()
        answer = pickle.loads(ran.stdout)
        assert answer["candidates"] == 3 if function is dimuons else answer == (3, "")


def test_by_value_is_still_the_function_here() -> None:
    assert ByValue(inspect)("/nowhere.root")[1].startswith("cannot be read")
