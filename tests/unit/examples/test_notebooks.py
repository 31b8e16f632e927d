"""What cells of the notebooks do where something is missing that the Hub of the tests has."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.jupyter.book import NOTEBOOKS, code_cells


class FewWords:
    """Stands for a cluster one of whose two looks shows a held job."""

    def __init__(self) -> None:
        self.reasons = ["", "held: [1/0] via condor_hold (by user analyst)"]

    def scale(self, n: int) -> None: ...

    def wait_for_workers(self, n: int, timeout: float) -> None: ...

    def workers(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(job_id="15.0", reason=self.reasons.pop(0))]


def source(notebook: str, name: str) -> str:
    [cell] = [cell for cell in code_cells(NOTEBOOKS / notebook) if cell.name == name]
    return cell.source


def test_no_condor_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cell that holds a job says what to type instead, and ends with the view that says what to do."""
    monkeypatch.setenv("PATH", str(tmp_path))
    cell = source("what-goes-wrong.ipynb", "held")
    exec(cell, {"cluster": FewWords()})
    assert capsys.readouterr().out == (
        "No such file or directory: type this in a shell, within a minute: condor_hold 15.0\n"
    )
    assert cell.endswith("\ncluster")
