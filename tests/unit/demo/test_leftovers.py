from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcdaskgateway.demo.leftovers import end_processes_in, processes_in

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait(5)
        if process.stdout:
            process.stdout.close()


def sleeper(directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], cwd=directory, start_new_session=True)


def test_only_what_works_in_there_is_ended(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    inside, beside = tmp_path / "in", tmp_path / "in-not"
    (inside / "deep").mkdir(parents=True)
    beside.mkdir()
    started += [sleeper(inside), sleeper(inside / "deep"), sleeper(beside)]
    assert set(processes_in(inside)) == {started[0].pid, started[1].pid}
    assert end_processes_in(inside, grace=5) == 2
    assert [process.poll() for process in started] == [-signal.SIGTERM, -signal.SIGTERM, None]


def test_one_that_ignores_the_request_is_killed(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    stubborn = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE
    )
    started.append(stubborn)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    assert end_processes_in(tmp_path, grace=0.5) == 1
    assert stubborn.wait(5) == -signal.SIGKILL


def test_a_persons_terminal_in_there_is_left_alone(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execvp("sleep", ["sleep", "60"])
    try:
        end = time.monotonic() + 5
        while Path(f"/proc/{pid}/comm").read_text().strip() != "sleep" and time.monotonic() < end:
            time.sleep(0.02)
        assert Path(f"/proc/{pid}/cwd").readlink() == tmp_path
        assert end_processes_in(tmp_path, grace=0.5) == 0
        os.kill(pid, 0)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
