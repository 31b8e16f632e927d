"""Whether another process of this machine has ended: of real processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from htcdaskgateway.client.own_process import has_ended, this_process

SAY = "from htcdaskgateway.client.own_process import this_process; print(this_process(), flush=True); input()"


def test_one_that_lives_and_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        process = other.stdout.readline().strip()
        assert str(other.pid) in process.split()
        assert not has_ended(process)
        # another one has its pid now
        assert has_ended(process.rpartition(" ")[0] + " 1")
        other.kill()
        other.stdout.read()  # it has closed it
        for _ in range(1000):  # nobody has waited for it yet
            if has_ended(process):
                break
        else:
            pytest.fail("a process that was killed")
    assert has_ended(process)


def test_this_one() -> None:
    assert not has_ended(this_process())


@pytest.mark.parametrize(
    "process",
    [
        "",
        "x",
        "1 2",
        "boot pid:[1] 99999999 5",  # of another machine
        this_process().rpartition(" ")[0],
        this_process().rpartition(" ")[0].rpartition(" ")[0] + " x 5",
        this_process().rpartition(" ")[0].rpartition(" ")[0] + f" {10**30} 5",
        this_process() + " 1",
    ],
    ids=range(8),  # the same in each test process
)
def test_of_what_cannot_be_seen_nothing_is_said(process: str) -> None:
    assert not has_ended(process)
