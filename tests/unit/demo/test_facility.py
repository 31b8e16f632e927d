from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from htcdaskgateway.demo import facility as module
from htcdaskgateway.demo.facility import Facility, stop_kept
from htcdaskgateway.demo.gateway_process import GatewayStartError
from htcdaskgateway.demo.pool import Pool
from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.launchers.scheduler_process import started


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def since(pid: int) -> int:
    ticks = started(pid)
    assert ticks is not None
    return ticks


def kept(tmp_path: Path, pid: int, ticks: int) -> Path:
    directory = tmp_path / f"{module.PREFIX}abc"
    directory.mkdir()
    (directory / module.KEPT_FILE).write_text(json.dumps({"pid": pid, "started": ticks, "pool": False}))
    return directory


def start_for_nobody(facility: Facility) -> None:
    assert facility.directory.stat().st_mode & 0o777 == 0o700
    facility.gateway.settings = dataclasses.replace(facility.settings, user="")
    facility.start()


def test_a_gateway_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    facility = Facility(Pool(), workers=1, keep=False)
    with pytest.raises(GatewayStartError) as caught, facility:
        start_for_nobody(facility)
    assert caught.value.sentence == "The gateway ended at its start."
    assert "single_user" in caught.value.words
    assert list(tmp_path.iterdir()) == []


def test_an_error_before_the_start_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Facility(Pool(), workers=1, keep=True):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_directory_is_where_jobs_see_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    for path in (home, temporary):
        path.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert module.make_directory(Pool()).parent == temporary
    assert module.make_directory(Pool("s", "m", hidden=(str(temporary),))).parent == home
    assert module.make_directory(Pool("s", "m", hidden=("/elsewhere",))).parent == temporary


def test_a_directory_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(InvalidRequestError, match="No such file or directory"):
        module.make_directory(Pool())


def test_stop_ends_that_process_and_no_other(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    directory = kept(tmp_path, process.pid, since(process.pid))
    # what a parent does, so that the ended child is gone and no zombie
    signal.signal(signal.SIGCHLD, lambda number, frame: process.poll())
    try:
        assert stop_kept(directory)
        assert process.wait(5) == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    assert not directory.exists()


def test_stop_leaves_a_process_alone_that_has_got_the_pid_since(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        directory = kept(tmp_path, process.pid, since(process.pid) - 1)
        assert not stop_kept(directory)
        assert process.poll() is None
        assert not directory.exists()
    finally:
        process.kill()
        process.wait(5)


@pytest.mark.parametrize("content", [None, "", "[]", '{"pid": 1}', '{"pid": "x", "started": 1}'])
def test_stop_removes_no_other_directory(tmp_path: Path, content: str | None) -> None:
    directory = tmp_path / f"{module.PREFIX}abc"
    directory.mkdir()
    if content is not None:
        (directory / module.KEPT_FILE).write_text(content)
    with pytest.raises(InvalidRequestError, match="There is no kept demo in"):
        stop_kept(directory)
    assert directory.exists()


def test_stop_goes_by_the_name_too(tmp_path: Path) -> None:
    directory = kept(tmp_path, 2**22 + 1, 1).rename(tmp_path / "other")
    with pytest.raises(InvalidRequestError, match="There is no kept demo in"):
        stop_kept(directory)
    assert directory.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_stop_refuses_another_accounts_demo(tmp_path: Path) -> None:
    directory = kept(tmp_path, 2**22 + 1, 1)
    os.chown(directory / module.KEPT_FILE, 1, 1)
    with pytest.raises(InvalidRequestError, match="is another account's"):
        stop_kept(directory)
    assert directory.exists()
