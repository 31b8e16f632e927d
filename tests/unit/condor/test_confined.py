"""A program that may write in one directory only; and none at all where the kernel cannot do that."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from htcdaskgateway.condor.fetching import confined

HAS_LANDLOCK = ctypes.CDLL(None).syscall(444, None, 0, 1) > 0


def run(sandbox: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        confined(str(sandbox), ["sh", "-c", script, "sh", str(sandbox)]),
        cwd=sandbox.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    (tmp_path / "other").write_text("before")
    (tmp_path / "box").mkdir()
    return tmp_path / "box"


landlock = pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock")


@landlock
def test_writes_in_it(sandbox: Path) -> None:
    (sandbox / "old").write_text("old")
    done = run(
        sandbox, 'echo 1 > "$1/new" && echo 2 > "$1/old" && cat other && echo > /dev/null && rm "$1/new"'
    )
    assert (done.returncode, done.stdout) == (0, "before")
    assert (sandbox / "old").read_text() == "2\n"


@landlock
@pytest.mark.parametrize(
    "script",
    [
        "echo 1 > new",
        "echo 1 >> other",
        "rm other",
        'mv other "$1/other"',
        'ln other "$1/other"',
        'ln -s /etc "$1/link"',
        'mkdir "$1/directory"',
        'mkfifo "$1/pipe"',
        'echo 1 > "$1/../new"',
        "truncate -s 0 other",
        "sh -c 'echo 1 > new'",
    ],
)
def test_writes_nowhere_else(sandbox: Path, script: str) -> None:
    assert run(sandbox, script).returncode != 0
    assert [path.name for path in sandbox.parent.rglob("*")] in (["box", "other"], ["other", "box"])
    assert (sandbox.parent / "other").read_text() == "before"


def test_does_not_run_unconfined(sandbox: Path) -> None:
    done = run(sandbox / "none", "echo 1")
    assert done.returncode != 0
    assert done.stdout == ""
    assert f"cannot be confined to {sandbox}/none" in done.stderr


@landlock
def test_program_that_is_not_there(sandbox: Path) -> None:
    done = subprocess.run(
        confined(str(sandbox), ["no-such-program"]), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert "no-such-program cannot be started: No such file" in done.stderr
