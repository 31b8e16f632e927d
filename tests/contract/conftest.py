"""The same schedd four times: two ways to a real HTCondor, local processes, and the test double."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import shutil
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.doubles import FakeSchedd
from tests.support.pool import Pool
from tests.support.waiting import eventually

from htcdaskgateway.condor.bindings import BindingsSchedd
from htcdaskgateway.condor.jobs import INPUT_FILES, JobRequest, worker_jobs
from htcdaskgateway.condor.processes import ProcessSchedd
from htcdaskgateway.condor.schedd import JobStatus, ObservedJob, Schedd, SubmitDescription
from htcdaskgateway.condor.tools import ToolsSchedd

OWNER = "analyst"
HAS_LANDLOCK = ctypes.CDLL(None).syscall(444, None, 0, 1) > 0  # without it nobody else's output is fetched
DEADLINE = 40.0
# What a job does follows from its worker's name.
PROGRAM = """#!/bin/sh
echo "I am $1"
ls -l dask.pem
case $1 in
  exit-*) exit "${1#exit-}" ;;
  signal-*) kill -"${1#signal-}" $$ ;;
esac
trap 'exit 0' TERM
sleep 300 & wait
"""


@dataclass
class Subject:
    """A schedd under test.

    Attributes
    ----------
    make : callable
        Another one of the same kind; takes ``name``, ``timeout``, ``token``, ``programs`` and environment,
        where it has them.
    """

    kind: str
    schedd: Schedd
    make: Callable[..., Schedd]
    owner: str | None
    gateway: str = field(default_factory=lambda: f"contract-{uuid.uuid4().hex[:12]}")
    sandboxes: list[Path] = field(default_factory=list)

    def sandbox(self, suffix: str = "", *, mine: bool = False) -> Path:
        """Make a cluster's directory, which belongs to the jobs' owner; if ``mine``, to this account."""
        path = Path(tempfile.mkdtemp(prefix="htcdask-contract-", suffix=suffix))
        self.sandboxes.append(path)
        (path / "start_worker.sh").write_text(PROGRAM)
        for name in INPUT_FILES:
            (path / name).write_text(f"content of {name}")
            (path / name).chmod(0o600)
        (path / "start_worker.sh").chmod(0o700)
        if self.owner is not None and not mine:
            account = pwd.getpwnam(self.owner)
            for each in [path, *path.iterdir()]:
                os.chown(each, account.pw_uid, account.pw_gid)
        return path

    def description(self, *names: str, sandbox: Path | None = None, **changes: Any) -> SubmitDescription:
        values: dict[str, Any] = {
            "gateway": self.gateway, "cluster_name": "c1", "user": "alice", "cores": 1,
            "memory": 32 * 2**20, "disk": 2**20, "sandbox": str(sandbox or self.sandbox()),
            "worker_names": names, "held_lifetime": 600,
        }  # fmt: skip
        return worker_jobs(JobRequest(**{**values, **changes}))

    async def until(
        self, condition: Callable[[dict[str, ObservedJob]], bool], what: str
    ) -> dict[str, ObservedJob]:
        """Look at the queue, by worker name, until it is so."""
        end = asyncio.get_running_loop().time() + DEADLINE
        while True:
            jobs = {job.worker_name: job for job in await self.schedd.query(self.gateway)}
            if condition(jobs):
                return jobs
            if asyncio.get_running_loop().time() > end:
                raise TimeoutError(f"{what}: not within {DEADLINE:g} s, in the queue: {jobs}")
            await asyncio.sleep(0.2)

    async def until_all(self, status: JobStatus, number: int) -> dict[str, ObservedJob]:
        return await self.until(
            lambda jobs: len(jobs) == number and {job.status for job in jobs.values()} == {status},
            f"{number} jobs {status.name}",
        )

    async def until_gone(self) -> None:
        await self.until(lambda jobs: not jobs, "an empty queue")


@pytest.fixture(scope="session")
def as_owner(pool: Pool) -> Iterator[dict[str, str]]:
    """Environment by which the pool takes us for an ordinary user: root may not submit."""
    directory = Path(tempfile.mkdtemp(prefix="htcdask-token-"))  # 0700
    token = directory / "token"
    token.touch(0o600)
    token.write_text(pool.token(OWNER))
    yield {
        **pool.env,
        "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
        "_CONDOR_SEC_TOKEN_DIRECTORY": str(directory),
    }
    shutil.rmtree(directory)


REAL = [pytest.param(kind, marks=pytest.mark.condor) for kind in ("bindings", "tools")]
ALL = [*REAL, "processes", "fake"]


@pytest.fixture(params=ALL)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    kind: str = request.param
    made: list[Schedd] = []
    environment: dict[str, str] = {}
    owner = None
    if kind in ("bindings", "tools"):
        environment, owner = request.getfixturevalue("as_owner"), OWNER

    def make(
        name: str = "",
        timeout: float = 30,
        token: str = "",
        programs: dict[str, str] | None = None,
        **more: str,
    ) -> Schedd:
        schedd: Schedd
        if kind == "bindings":
            schedd = BindingsSchedd(name, timeout=timeout, environment={**environment, **more}, token=token)
        elif kind == "tools":
            home = request.getfixturevalue("pool").home
            schedd = ToolsSchedd(
                name,
                directory=str(home / "bin"),
                programs=programs,
                timeout=timeout,
                environment={**environment, **more},
                token=token,
            )
        elif kind == "processes":
            schedd = ProcessSchedd(slots=4, kill_after=1)
        else:
            schedd = FakeSchedd()
        made.append(schedd)
        return schedd

    it = Subject(kind, make(), make, owner)
    yield it
    for schedd in made:
        await schedd.close()
    if kind in ("bindings", "tools"):
        pool, mine = request.getfixturevalue("pool"), f'HTCDaskGateway == "{it.gateway}"'
        pool.remove(mine)
        # Until then HTCondor makes the directory again to write its event log there.
        eventually("an empty queue", lambda: not pool.queue(mine), 20)
    for sandbox in it.sandboxes:
        shutil.rmtree(sandbox)


@pytest.fixture
def silent_address(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment in which this host's schedd takes connections, and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield elsewhere(tmp_path, listener.getsockname()[1])


@pytest.fixture
def closed_address(tmp_path: Path) -> dict[str, str]:
    """Likewise, in which nothing listens where it was."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return elsewhere(tmp_path, probe.getsockname()[1])


def elsewhere(directory: Path, port: int) -> dict[str, str]:
    """Write the file by which a schedd tells the clients on its host where it is."""
    path = directory / "schedd_address"
    path.write_text(
        f"<127.0.0.1:{port}>\n"
        "$CondorVersion: 25.14.1 2026-10-16 PackageID: 25.14.1 $\n$CondorPlatform: X86_64-Debian_ $\n"
    )
    # root's programs read another file than other people's, and either comes after the ad
    files = {f"_CONDOR_SCHEDD_{kind}_FILE": str(path) for kind in ("ADDRESS", "SUPER_ADDRESS")}
    return {**files, "_CONDOR_SCHEDD_DAEMON_AD_FILE": str(directory / "none")}
