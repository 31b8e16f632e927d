from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot

from htcdaskgateway.demo import sample
from htcdaskgateway.demo.analysis import dimuons, inspect, invariant_mass
from htcdaskgateway.demo.spectrum import Spectrum

EVENTS = 40_000


@pytest.fixture(scope="module")
def made() -> sample.Sample:
    return sample.generate(np.random.default_rng(5), EVENTS)


def test_a_decay_keeps_the_mass() -> None:
    mass = np.geomspace(0.25, 200, 500)
    px, py, pz = np.moveaxis(sample.decay(np.random.default_rng(1), mass), 1, 0)
    pt = np.hypot(px, py)
    muon_mass = np.full_like(pt, sample.MUON_MASS)
    found = invariant_mass(pt, np.arcsinh(pz / pt), np.arctan2(py, px), muon_mass)
    assert found == pytest.approx(mass, rel=1e-6)


def test_the_shares_are_those_that_were_asked_for(made: sample.Sample) -> None:
    shares = np.array([one.share for one in sample.SPECIES]) / sum(one.share for one in sample.SPECIES)
    expected = EVENTS * shares
    assert np.all(np.abs(np.bincount(made.species) - expected) < 5 * np.sqrt(expected))


def test_muons_are_ordered_accepted_and_of_one_mass(made: sample.Sample) -> None:
    pt = np.split(made.muons["pt"], np.cumsum(made.counts)[:-1])
    assert all(np.all(np.diff(one) <= 0) for one in pt)
    assert made.muons["pt"].min() > sample.MIN_PT
    assert np.abs(made.muons["eta"]).max() < sample.MAX_ETA
    assert set(np.unique(made.counts)) == {0, 1, 2, 3}
    assert set(np.unique(made.muons["charge"])) == {-1, 1}


def test_the_same_seed_makes_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, two = (sample.write_files(tmp_path / name, 7, files=2, events=300) for name in ("a", "b"))
    first, second = (uproot.open(path)["Events"].arrays(["Muon_pt"]).to_list() for path in (one[0], one[1]))
    assert first == uproot.open(two[0])["Events"].arrays(["Muon_pt"]).to_list()
    assert first != second


def test_the_layout_is_nanoaods(tmp_path: Path, made: sample.Sample) -> None:
    path = tmp_path / "nano.root"
    sample.write(made, path)
    assert inspect(str(path)) == (EVENTS, "")
    with uproot.open(path) as file:
        tree = file["Events"]
        types = {branch.name: branch.typename for branch in tree.branches}
        back = tree.arrays()
    assert types == {
        "run": "uint32_t", "luminosityBlock": "uint32_t", "event": "uint64_t", "nMuon": "int32_t",
        "Muon_pt": "float[]", "Muon_eta": "float[]", "Muon_phi": "float[]", "Muon_mass": "float[]",
        "Muon_charge": "int32_t[]",
    }  # fmt: skip
    assert back["nMuon"].to_list() == made.counts.tolist()
    flat = np.concatenate([np.asarray(one) for one in back["Muon_pt"].to_list()])
    assert np.array_equal(flat.astype(np.float32), made.muons["pt"])


def test_the_analysis_finds_what_was_put_in(tmp_path: Path, made: sample.Sample) -> None:
    path = tmp_path / "nano.root"
    sample.write(made, path)
    spectrum = Spectrum()
    for start in range(0, EVENTS, 7000):
        spectrum.add(dimuons(str(path), start, min(start + 7000, EVENTS)))
    assert spectrum.events == EVENTS
    assert spectrum.pairs == int((made.counts >= 2).sum())
    names = [one.name for one in sample.SPECIES]
    both = made.counts >= 2
    for peak, species, mean, within in (("J/psi", ["J/psi"], 3.0969, 0.01), ("Z", ["Z"], 91.188, 0.3)):
        (found,) = [one for one in spectrum.found_peaks() if one.name == peak]
        wanted = [names.index(name) for name in species]
        true = int((both & np.isin(made.species, wanted)).sum())
        # 3 % have like signs; 7 % of a Breit-Wigner lie outside of the Z's window
        assert 0.85 * true < found.excess < 1.02 * true
        assert found.mean == pytest.approx(mean, abs=within)
        assert found.found
