from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import uproot
from click.testing import CliRunner

from htcdaskgateway.cli.group import htcdask


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a demo would put its private directory."""
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


def refusal(*arguments: object, code: int = 1) -> str:
    answer = CliRunner().invoke(htcdask, ["demo", *map(str, arguments)])
    assert answer.exit_code == code, answer.output
    return answer.stderr


def test_an_input_that_cannot_be_used_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, scratch: Path
) -> None:
    files = {"text.root": b"text", "empty.root": b"", "cut.root": b"root"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with uproot.recreate(tmp_path / "runs.root") as file:
        file["Runs"] = {"run": np.array([1])}
    with uproot.recreate(tmp_path / "none.root") as file:
        file.mktree(
            "Events",
            {"Muon": "var * {pt: float32, eta: float32, phi: float32, mass: float32, charge: int32}"},
        )
    out = tmp_path / "out"
    out.mkdir()
    for name, words in (
        ("missing.root", "There is no file '{}'."),
        ("text.root", "Input file '{}' is not a ROOT file."),
        ("empty.root", "Input file '{}' is empty (0 bytes)."),
        ("cut.root", "Input file '{}' cannot be read as ROOT: "),
        ("runs.root", "Input file '{}' has no tree Events (it has Runs)."),
        ("none.root", "The input files hold no events."),
    ):
        path = tmp_path / name
        for arguments in (["--input", path], [path]):
            said = refusal(*arguments, "--output", out)
            assert said.startswith(f"Error: {words.format(path)}"), said
            assert "Traceback" not in said
    assert list(scratch.iterdir()) == []
    assert list(out.iterdir()) == []


def test_an_output_that_cannot_be_used(tmp_path: Path, scratch: Path) -> None:
    said = refusal("--output", tmp_path / "absent")
    assert said == f"Error: There is no directory '{tmp_path / 'absent'}' for the picture.\n"
    said = refusal("--output", "/proc")
    assert said.startswith("Error: The picture cannot be written to '/proc': ")
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--workers", "0"],
        ["--workers", "x"],
        ["--timeout", "0"],
        ["--run-on", "slurm"],
        ["--seed", "-1"],
        ["--what"],
    ],
)
def test_options_out_of_range(arguments: list[str]) -> None:
    assert refusal(*arguments, code=2).startswith("Usage: htcdask demo")


def test_there_is_nothing_to_stop(tmp_path: Path) -> None:
    said = refusal("--stop", tmp_path)
    assert said == f"Error: There is no kept demo in '{tmp_path}'.\n"
    assert tmp_path.is_dir()
