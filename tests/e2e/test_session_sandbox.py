"""A session's sandbox that is full, read-only or gone: said in one sentence, nothing lost, and mended."""

from __future__ import annotations

import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.e2e.conftest import Connect
from tests.support.gateway import GatewayServer
from tests.support.sessions import SESSIONS, people_submit
from tests.support.waiting import eventually
from tests.support.watching import exactly, in_state, no_jobs

from htcdaskgateway import HTCGatewayCluster, WorkerRecord, WorkerState
from htcdaskgateway.client.errors import RefusedError

pytestmark = pytest.mark.condor

Broken = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture
def server(gateway: Callable[..., GatewayServer]) -> Iterator[GatewayServer]:
    with people_submit((server := gateway(SESSIONS)).pool):
        yield server


@contextmanager
def full(directory: Path) -> Iterator[None]:
    """A disk without space lies over the directory, in this process's view of the file system."""
    with _mounted(directory):
        filler = directory / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(2**20))
        yield


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    with _mounted(directory):
        run("mount", "-o", "remount,ro", str(directory))
        yield


@contextmanager
def _mounted(directory: Path) -> Iterator[None]:
    account = pwd.getpwnam("analyst")
    options = f"size=64k,mode=0700,uid={account.pw_uid},gid={account.pw_gid}"
    run("mount", "-t", "tmpfs", "-o", options, "none", str(directory))
    try:
        yield
    finally:
        run("umount", "--lazy", str(directory))


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")


def with_reason(workers: list[WorkerRecord]) -> list[WorkerRecord]:
    return [worker for worker in workers if worker.reason]


def sandbox(cluster: HTCGatewayCluster) -> Path:
    assert cluster.sandbox is not None
    return cluster.sandbox


@pytest.mark.parametrize(
    ("broken", "words"), [(full, "No space left on device"), (read_only, "Read-only file system")]
)
def test_that_cannot_be_written(
    server: GatewayServer, cluster: HTCGatewayCluster, broken: Broken, words: str
) -> None:
    cluster.scale(1)
    before = exactly(server, cluster, 1)
    with broken(sandbox(cluster)):
        with pytest.raises(RefusedError) as caught:
            cluster.scale(3)
        sentence = f"The sandbox {sandbox(cluster)} cannot be written."
        assert sentence in str(caught.value)
        assert words in str(caught.value)
        assert exactly(server, cluster, 1) == before  # and nothing was changed
        # Whom nobody asks for now waits, and says for what.
        cluster.adapt(3, 3)
        waiting = eventually("a reason", lambda: with_reason(in_state(cluster, WorkerState.WANTED)), 20)
        assert all(sentence in worker.reason and words in worker.reason for worker in waiting)
        assert len(server.jobs()) == 1
    after = exactly(server, cluster, 3)
    assert before[0].job_id in {worker.job_id for worker in after}
    assert in_state(cluster, WorkerState.FAILED) == []


def test_that_is_gone(server: GatewayServer, connect: Connect) -> None:
    cluster = connect(server).new_cluster()
    cluster.scale(2)
    before = exactly(server, cluster, 2)
    shutil.rmtree(sandbox(cluster))
    assert exactly(server, cluster, 2) == before  # who runs needs nothing of it
    assert str(cluster.logs())
    cluster.scale(3)  # made again, with all that jobs need
    after = exactly(server, cluster, 3)
    assert {worker.job_id for worker in before} < {worker.job_id for worker in after}
    shutil.rmtree(sandbox(cluster))
    cluster.scale(1)  # their output has nowhere to go
    exactly(server, cluster, 1)
    cluster.shutdown()
    no_jobs(server)
