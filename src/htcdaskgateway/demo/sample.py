"""A small sample in NanoAOD's layout with a realistic dimuon spectrum. Generated, and said to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from htcdaskgateway.demo.analysis import TREE, Floats

MUON_MASS = 0.1056584
RESOLUTION = 0.012  # relative, of one muon's transverse momentum
MAX_ETA, MIN_PT = 2.4, 3.0


@dataclass(frozen=True)
class Species:
    """A source of muon pairs: a resonance of some mass and natural width (GeV), and its share."""

    name: str
    mass: float
    width: float
    share: float


# Masses and widths as the Particle Data Group lists them, rounded; the shares are made up to look well.
CONTINUUM = "continuum"
SPECIES = (
    Species(CONTINUUM, 0.0, 0.0, 0.50),
    Species("phi", 1.0195, 0.0042, 0.03),
    Species("J/psi", 3.0969, 0.0001, 0.17),
    Species("psi(2S)", 3.6861, 0.0003, 0.012),
    Species("Upsilon(1S)", 9.4604, 0.00005, 0.05),
    Species("Upsilon(2S)", 10.0234, 0.00003, 0.017),
    Species("Upsilon(3S)", 10.3551, 0.00002, 0.011),
    Species("Z", 91.188, 2.495, 0.21),
)


@dataclass(frozen=True)
class Sample:
    """Events as flat muon columns, and the truth that they were made from.

    Attributes
    ----------
    counts : array of int
        Muons in each event.
    muons : dict of str to array
        ``pt``, ``eta``, ``phi``, ``mass``, ``charge`` of all muons, event after event.
    species, mass : array
        True species (index into ``SPECIES``) and pair mass of each event.
    """

    counts: NDArray[np.uint32]
    muons: dict[str, NDArray[np.generic]]
    species: NDArray[np.int64]
    mass: Floats


def pair_masses(rng: np.random.Generator, species: NDArray[np.int64]) -> Floats:
    """Draw the true mass of each pair: Breit-Wigner shapes, and a continuum falling as m**-1.4."""
    masses = np.array([one.mass for one in SPECIES])[species]
    widths = np.array([one.width for one in SPECIES])[species]
    far = np.arctan(2 * 30.0)  # the shape is cut 30 widths from its middle
    resonant = masses + widths / 2 * np.tan(rng.uniform(-far, far, len(species)))
    low, high, power = 0.25, 400.0, -0.4
    uniform = rng.random(len(species))
    falling = (low**power + uniform * (high**power - low**power)) ** (1 / power)
    return np.where(masses == 0, falling, resonant)


def decay(rng: np.random.Generator, mass: Floats) -> Floats:
    """Let pairs of these masses fly and decay; momenta (px, py, pz) of shape (2, 3, n)."""
    n = len(mass)
    momentum = np.sqrt(mass**2 / 4 - MUON_MASS**2)
    cosine, angle = rng.uniform(-1, 1, n), rng.uniform(-np.pi, np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    rest = momentum * np.array([sine * np.cos(angle), sine * np.sin(angle), cosine])
    pt, phi, rapidity = 7 + rng.exponential(9, n), rng.uniform(-np.pi, np.pi, n), rng.normal(0, 1.0, n)
    transverse_mass = np.sqrt(mass**2 + pt**2)
    flight = np.array([pt * np.cos(phi), pt * np.sin(phi), transverse_mass * np.sinh(rapidity)])
    energy = transverse_mass * np.cosh(rapidity)
    # Boost along the pair's momentum P: p + P (P.p / (E + m) ± m/2) / m, for the two directions of p.
    along = (flight * rest).sum(0)
    return np.array([s * rest + flight * (s * along / (energy + mass) + mass / 2) / mass for s in (1, -1)])


def generate(rng: np.random.Generator, events: int) -> Sample:
    """Make events: pairs within the detector's acceptance, now and then a third muon or a like-sign pair."""
    shares = np.array([one.share for one in SPECIES])
    species = rng.choice(len(SPECIES), events, p=shares / shares.sum())
    mass = pair_masses(rng, species)
    momenta = decay(rng, mass)
    columns = np.zeros((3, 4, events))  # muon, (pt eta phi charge), event
    true_pt = np.hypot(momenta[:, 0], momenta[:, 1])
    columns[:2, 0] = true_pt * rng.normal(1, RESOLUTION, true_pt.shape)
    columns[:2, 1] = np.arcsinh(momenta[:, 2] / true_pt)
    columns[:2, 2] = np.arctan2(momenta[:, 1], momenta[:, 0])
    first = rng.choice((-1, 1), events)
    columns[0, 3], columns[1, 3] = first, np.where(rng.random(events) < 0.03, first, -first)
    # Where there is a third muon it is soft; NanoAOD's order by pt then tells it from the pair.
    columns[2, 0] = MIN_PT + rng.exponential(0.5, events)
    columns[2, 1] = rng.uniform(-MAX_ETA, MAX_ETA, events)
    columns[2, 2] = rng.uniform(-np.pi, np.pi, events)
    columns[2, 3] = rng.choice((-1, 1), events)
    seen = (columns[:, 0] > MIN_PT) & (np.abs(columns[:, 1]) < MAX_ETA)
    seen[2] &= rng.random(events) < 0.04
    order = np.argsort(np.where(seen, -columns[:, 0], np.inf), axis=0)
    columns = np.take_along_axis(columns, order[:, None, :], axis=0)
    kept = np.take_along_axis(seen, order, axis=0).T
    pt, eta, phi, charge = (columns[:, i].T[kept] for i in range(4))
    muons: dict[str, NDArray[np.generic]] = {
        "pt": pt.astype(np.float32),
        "eta": eta.astype(np.float32),
        "phi": phi.astype(np.float32),
        "mass": np.full(len(pt), MUON_MASS, dtype=np.float32),
        "charge": charge.astype(np.int32),
    }
    return Sample(kept.sum(1).astype(np.uint32), muons, species, mass)


def write(sample: Sample, path: Path, first_event: int = 1) -> None:
    """Write a sample as NanoAOD does: tree ``Events``, ``nMuon`` and jagged ``Muon_*`` branches."""
    import awkward as ak
    import uproot

    n = len(sample.counts)
    muon = ak.zip({name: ak.unflatten(values, sample.counts) for name, values in sample.muons.items()})
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        file.mktree(
            TREE,
            {"run": "uint32", "luminosityBlock": "uint32", "event": "uint64", "Muon": muon.type.content},
        )
        file[TREE].extend(
            {
                "run": np.ones(n, dtype=np.uint32),
                "luminosityBlock": np.ones(n, dtype=np.uint32),
                "event": np.arange(first_event, first_event + n, dtype=np.uint64),
                "Muon": muon,
            }
        )


def write_files(directory: Path, seed: int, files: int = 6, events: int = 50_000) -> list[Path]:
    """Write ``files`` files of ``events`` events each; the same seed makes the same events."""
    paths = []
    for number, rng in enumerate(np.random.default_rng(seed).spawn(files)):
        path = directory / f"generated_{number}.root"
        write(generate(rng, events), path, first_event=1 + number * events)
        paths.append(path)
    return paths
