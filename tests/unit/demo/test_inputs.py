from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import uproot

from htcdaskgateway.demo.inputs import NEEDS, check_files, check_total, complain, look_into
from htcdaskgateway.demo.sample import generate, write
from htcdaskgateway.errors import InvalidRequestError


def refusal(*names: object) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        check_files([str(name) for name in names])
    return str(caught.value)


def test_files_that_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(generate(np.random.default_rng(1), 10), tmp_path / "a.root")
    monkeypatch.chdir(tmp_path)
    files = check_files(["a.root"])
    assert files == [tmp_path.resolve() / "a.root"]
    assert look_into(files) == [10]


def test_refusals(tmp_path: Path) -> None:
    text, empty, fifo = tmp_path / "t.txt", tmp_path / "e.root", tmp_path / "fifo"
    text.write_text("not ROOT")
    empty.touch()
    os.mkfifo(fifo)
    missing = tmp_path / "missing.root"
    assert refusal(missing) == f"There is no file '{missing}'."
    assert refusal("root://server//file.root") == "There is no file 'root://server//file.root'."
    assert refusal(tmp_path) == f"Input '{tmp_path}' is a directory: give ROOT files."
    assert refusal(fifo) == f"Input '{fifo}' is no regular file: give ROOT files."
    assert refusal(empty) == f"Input file '{empty}' is empty (0 bytes)."
    assert refusal(text) == f"Input file '{text}' is not a ROOT file.\n{NEEDS}"
    assert refusal(*["x"] * 10_001) == "10,001 input files are more than the 10,000 of this demo."


def test_a_file_is_counted_once(tmp_path: Path) -> None:
    write(generate(np.random.default_rng(1), 10), tmp_path / "a.root")
    link = tmp_path / "link.root"
    link.symlink_to("a.root")
    assert (
        refusal(tmp_path / "a.root", link)
        == f"Input file '{link}' is given twice: its events would count double."
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    path.write_bytes(b"root")
    path.chmod(0)
    assert refusal(path) == f"Input file '{path}' cannot be read: Permission denied."


def test_what_is_wrong_inside_is_said_with_what_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "runs.root"
    with uproot.recreate(path) as file:
        file["Runs"] = {"run": np.array([1])}
    with pytest.raises(InvalidRequestError) as caught:
        look_into([path])
    assert str(caught.value) == f"Input file '{path}' has no tree Events (it has Runs).\n{NEEDS}"
    complain(path, "")


def test_no_events_at_all(tmp_path: Path) -> None:
    check_total([0, 1])
    with pytest.raises(InvalidRequestError, match="hold no events"):
        check_total([0, 0])
