"""Tests in several processes do not get into each other's way, and clear away however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import processes
from tests.support.pool import Pool, run_recipe
from tests.support.ports import free_port, is_free
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
# As many tests as processes: each gets one, says where its pool is, and waits. It clears away for longer
# than the 5 s after which pytest-xdist loses patience.
TESTS = """
import os, time
from pathlib import Path
import pytest

@pytest.fixture
def file():
    file = Path("{directory}") / str(os.getpid())
    yield file
    time.sleep(7)
    file.unlink()

@pytest.mark.parametrize("number", [1, 2])
def test(pool, accounts, file, number):
    file.with_suffix(".new").write_text(str(pool.home))
    file.with_suffix(".new").rename(file)
    time.sleep(100)
"""
Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def homes(tmp_path: Path) -> Callable[[], set[str]]:
    """Say which pools there are, once two processes have begun."""
    directory = tmp_path / "homes"
    directory.mkdir()

    def ask() -> set[str]:
        eventually("two tests run", lambda: len(list(directory.glob("*[0-9]"))) == 2, 60)
        return {file.read_text() for file in directory.iterdir()}

    return ask


@pytest.fixture
def start(pool: Pool, homes: object, tmp_path: Path) -> Iterator[Start]:
    """Start pytest in two processes, with this suite's fixtures, in a process group of its own."""
    (tmp_path / "test_two.py").write_text(TESTS.format(directory=tmp_path / "homes"))
    home = f"/var/tmp/htcdask-pool-test-{os.getpid()}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"HTCDASK_POOL_HOME": home, "HTCDASK_POOL_PORT": str(free_port()), "HTCDASK_KEEP_POOL": "0"}
    command = [sys.executable, "-m", "pytest", "-n2", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    started = []

    def begin() -> subprocess.Popen[bytes]:
        with (tmp_path / "output").open("wb") as output:
            process = subprocess.Popen(
                [*command, "--rootdir", str(tmp_path), str(tmp_path / "test_two.py")],
                env={**env, "PYTHONPATH": str(ROOT)},
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
    for number in ("", "-1"):
        run_recipe("down", "--wipe", HTCDASK_POOL_HOME=home + number)


def nothing_left(pools: set[str]) -> None:
    assert [pool for pool in pools if Path(pool).exists()] == []
    assert [pool for pool in pools if processes.mentioning(pool)] == []


@pytest.mark.parametrize("to_all", [False, True], ids=["to the first process", "to all, as timeout does"])
def test_sigterm_ends_two_processes_and_their_pools(
    start: Start, homes: Callable[[], set[str]], to_all: bool, tmp_path: Path
) -> None:
    process = start()
    pools = homes()
    assert len(pools) == 2
    if to_all:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()
    # 2: interrupted
    assert process.wait(60) == 2, (tmp_path / "output").read_text()
    assert list((tmp_path / "homes").iterdir()) == [], "the tests' own clearing away was broken off"
    nothing_left(pools)


def test_a_port_that_the_kernel_gives_to_nobody() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = {free_port() for _ in range(50)}
    assert len(ports) > 40
    assert all(port < lowest and is_free(port) for port in ports)
