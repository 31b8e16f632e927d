"""The example notebooks, in the analyst's own server, on the real pool."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import pytest
from tests.jupyter.book import NOTEBOOKS, code_cells, run
from tests.jupyter.conftest import give_x509
from tests.jupyter.hub import Hub
from tests.jupyter.kernel import Kernel, kernel
from tests.support.waiting import eventually

pytestmark = [pytest.mark.jupyter, pytest.mark.condor, pytest.mark.slow, pytest.mark.timeout(480)]

CELL = 150.0  # seconds


@pytest.fixture
def notebook(hub: Hub, server: str) -> Iterator[Kernel]:
    with kernel(server, hub.token) as started:
        yield started
    eventually("no job in the queue", lambda: not hub.gateway.jobs(), 30)


def test_they_are_saved_without_outputs() -> None:
    books = list(NOTEBOOKS.glob("*.ipynb"))
    assert len(books) == 2
    assert [cell.name for book in books for cell in code_cells(book) if cell.shows] == []


def test_the_analysis(hub: Hub, notebook: Kernel) -> None:
    if files := os.environ.get("HTCDASK_NANOAOD"):  # a directory with files of one's own
        shutil.copytree(files, hub.home(hub.users[0]) / "nanoaod")
    shown = run(notebook, NOTEBOOKS / "htcdaskgateway.ipynb", CELL)
    assert f"HTCGateway<{hub.url}/services/dask-gateway>" in shown["connect"].text
    for name in ("image", "cluster"):  # a form, a live view
        assert "application/vnd.jupyter.widget-view+json" in shown[name].kinds
    versions = shown["versions"]
    assert "text/html" in versions.kinds
    assert re.search(r"distributed +(\S+) +\1 +\1", versions.text), versions.text
    assert "image/png" in shown["plot"].kinds
    if not files:
        assert "100,000 events, " in shown["analysis"].text
        candidates = int(shown["analysis"].text.split()[2].replace(",", ""))
        peaks = {line.split()[0]: int(line.split()[1]) for line in shown["plot"].text.splitlines()[:2]}
        # as many as the sample was made with, and no other function's
        assert 40_000 < candidates < 70_000
        assert peaks["J/ψ"] > 0.1 * candidates
        assert peaks["Z"] > 0.15 * candidates
        assert "100000 events, computed before" in shown["reconnect"].text
    assert re.search(r"events, [1-9][0-9,]* dimuon candidates", shown["analysis"].text)
    assert "state=" in shown["adapt"].text
    assert "running" in shown["logs"].text
    assert shown["shutdown"].text.strip() == "[]"


def test_what_goes_wrong(hub: Hub, notebook: Kernel) -> None:
    home = hub.home(hub.users[0])
    give_x509(hub.gateway.pool, home, "expired-proxy.pem", -1)
    shown = run(notebook, NOTEBOOKS / "what-goes-wrong.ipynb", CELL)
    errors = {name: output.error for name, output in shown.items() if output.error}
    assert errors == {
        "no-image": "ImageNotFoundError",
        "mismatch": "VersionMismatchError",
        "x509": "CredentialExpiredError",
        "too-large": "InvalidRequestError",
        "too-many": "LimitError",
        "idle": "WorkersMissingError",
    }
    for name, words in {
        "no-image": ["is not below the image root.", "looked for: ", " or pass image_registry= if it is in "],
        "mismatch": [
            "does not fit this notebook: python, dask, distributed and dask-gateway differ.",
            "3.13",
            "Of this name, these fit this notebook:\n  image=",
        ],
        "x509": [f"The X.509 proxy {home}/expired-proxy.pem expired 1 h ago.", "Make a new one"],
        "too-large": ["worker_memory", "8", "gateway.cluster_options() shows"],
        "too-many": ["10000 workers are more than the site allows in one cluster: 20.", "cluster.scale(20)"],
        "held": ["1 held", "via condor_hold", "Somebody held the job by hand; a new one takes its place."],
        "held-logs": ["held: "],
        "idle": ["0 of 1 workers are running after 15 s.", "1 idle", "Leave node_match_expr out, or give an"],
        "shutdown": ["[]"],
    }.items():
        for text in words:
            assert text in shown[name].text, f"{name}: {text!r} is not in\n{shown[name].text}"
