"""Dimuon candidates of a chunk of NanoAOD events. Sent to workers by value: imports nothing of ours."""

from __future__ import annotations

import lzma
import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TREE = "Events"
COUNT = "nMuon"
MUON = ("Muon_pt", "Muon_eta", "Muon_phi", "Muon_mass", "Muon_charge")

# 600 bins of 1.2 %, about the mass resolution of a muon spectrometer: peaks are a few bins wide.
MASS_EDGES: Floats = np.geomspace(0.25, 300.0, 601)

# name: (centre, width w) in GeV. Signal within w/2 of the centre; a sideband of w/2 on either side.
PEAKS = {"J/psi": (3.097, 0.3), "Upsilon": (9.9, 1.6), "Z": (91.2, 20.0)}


def invariant_mass(pt: Any, eta: Any, phi: Any, mass: Any) -> Floats:
    """Mass of pairs of particles; each argument is an array of shape (2, n), in GeV and radians."""
    pt, eta, phi, mass = (np.asarray(value, dtype=np.float64) for value in (pt, eta, phi, mass))
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    squared = energy.sum(0) ** 2 - px.sum(0) ** 2 - py.sum(0) ** 2 - pz.sum(0) ** 2
    return np.sqrt(np.maximum(squared, 0.0))  # type: ignore[no-any-return]  # so numpy says


def peak_counts(masses: Floats, centre: float, width: float) -> Floats:
    """Left sideband, signal window, right sideband, and the signal window's sum of (mass - centre)."""
    off = masses - centre
    left = (off >= -width) & (off < -width / 2)
    signal = np.abs(off) <= width / 2
    right = (off > width / 2) & (off <= width)
    return np.array([left.sum(), signal.sum(), right.sum(), off[signal].sum()], dtype=np.float64)


def dimuons(path: str, start: int, stop: int) -> dict[str, Any]:
    """Read entries ``start`` to ``stop`` of a file and count what the spectrum needs.

    Everything in the answer but ``where`` adds up over chunks: no candidate travels.
    """
    import awkward as ak
    import uproot

    # A Path, as uproot would take a colon in a string for the border between file and tree.
    with uproot.open(Path(path)) as file:
        events = file[TREE].arrays([COUNT, *MUON], entry_start=start, entry_stop=stop)
    # NanoAOD sorts muons by transverse momentum: the first two are the leading ones.
    pairs = events[events[COUNT] >= 2]
    two = {name: ak.to_numpy(pairs[name][:, :2]).T.reshape(2, -1) for name in MUON}
    opposite = two["Muon_charge"][0] * two["Muon_charge"][1] < 0
    masses = invariant_mass(*(two[name][:, opposite] for name in MUON[:4]))
    return {
        "events": len(events),
        "pairs": len(pairs),
        "candidates": len(masses),
        "counts": np.histogram(masses, MASS_EDGES)[0],
        "peaks": np.array([peak_counts(masses, *window) for window in PEAKS.values()]),
        "where": f"{socket.gethostname()} {os.getpid()}",
    }


def inspect(path: str) -> tuple[int, str]:
    """Look into a file: its number of events, and what is wrong with it (empty: nothing)."""
    import uproot

    # What a damaged file was seen to raise, from uproot, its decompressors and struct.
    unreadable = (
        OSError, ValueError, LookupError, AttributeError, NotImplementedError, RecursionError, struct.error
    )  # fmt: skip
    try:
        with uproot.open(Path(path)) as file:
            if (size := Path(path).stat().st_size) < file.file.fEND:
                return 0, f"is cut off: {size:,} of {file.file.fEND:,} bytes are there"
            if TREE not in file:
                has = ", ".join(file.keys(cycle=False)[:8]) or "nothing"
                return 0, f"has no tree {TREE} (it has {has})"
            tree = file[TREE]
            if not hasattr(tree, "num_entries"):
                return 0, f"has an {TREE} that is no tree"
            missing = [name for name in (COUNT, *MUON) if name not in tree]
            if missing:
                return 0, f"lacks the branch {', '.join(missing)}"
            return int(tree.num_entries), ""
    except (*unreadable, uproot.DeserializationError, zlib.error, lzma.LZMAError) as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        return 0, f"cannot be read as ROOT: {words[0][:200]}"
