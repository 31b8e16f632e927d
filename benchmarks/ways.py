"""Three ways to n jobs in the schedd, two ways to n connected workers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import chown

from dask_gateway import GatewayCluster
from distributed import Client, Security
from tests.support import processes
from tests.support.ports import free_port
from tests.support.waiting import eventually

from htcdaskgateway.condor.jobs import EXECUTABLE, INPUT_FILES

from .ground import NEVER, Ground

Scale = Callable[[int], object]
TLS = ("dask.crt", "dask.pem")
START_DEADLINE = 60.0  # seconds


@dataclass(frozen=True)
class Workers:
    """Something to scale, and a client of the scheduler that its workers will connect to."""

    scale: Scale
    client: Client


Way = Callable[[Ground], AbstractContextManager[Scale]]
WorkersWay = Callable[[Ground], AbstractContextManager[Workers]]


@contextmanager
def gateway(ground: Ground) -> Iterator[Scale]:
    with ground.session.new_cluster(starts=False) as cluster:
        yield cluster.scale


@contextmanager
def gateway_workers(ground: Ground) -> Iterator[Workers]:
    with ground.session.new_cluster() as cluster, cluster.get_client() as client:
        yield Workers(cluster.scale, client)


@dataclass(frozen=True)
class Sandbox:
    """The gateway's own submit description and input files, to be submitted by hand.

    Attributes
    ----------
    description : str
        Submit commands, without ``queue``.
    files : mapping of str to str
        Contents by name.
    path : str
        Where the gateway had them.
    """

    description: str
    files: Mapping[str, str]
    path: str

    @classmethod
    def of(cls, cluster: GatewayCluster, ground: Ground) -> Sandbox:
        path = ground.server.state_directory / "clusters" / cluster.name
        # Otherwise the gateway would remove the jobs: they carry its id, and it knows none of them.
        text = (path / "workers.sub").read_text().replace(ground.server.instance, "by-hand")
        files = {name: (path / name).read_text() for name in (EXECUTABLE, *INPUT_FILES)}
        return cls(text.partition("\nqueue ")[0], files, str(path))

    def write(self, directory: Path, user: str, contact: str = "") -> None:
        """Write the files; workers are to connect to ``contact`` instead of the gateway's scheduler."""
        files = dict(self.files)
        if contact:
            files["worker.env"] = re.sub(r"(?m)(?<=HTCDASK_CONTACT=).*$", contact, files["worker.env"])
        for name, content in files.items():
            _write(directory / name, content, user, 0o700 if name == EXECUTABLE else 0o600)

    def submit(self, number: int, directory: Path, ground: Ground) -> None:
        text = f"{self.description}\nworker_name = w$(ProcId)\nqueue {number}\n"
        _write(directory / "workers.sub", text.replace(self.path, str(directory)), ground.user, 0o600)
        ground.pool.command("condor_submit", "workers.sub", user=ground.user, cwd=str(directory))


def _write(path: Path, content: str, user: str, mode: int) -> None:
    path.touch(mode)
    path.write_text(content)
    chown(path, user, user)


def sandbox_of_idle_jobs(ground: Ground) -> Sandbox:
    with ground.session.new_cluster(starts=False) as cluster:
        cluster.scale(1)
        found = Sandbox.of(cluster, ground)
    if NEVER not in found.description:
        raise RuntimeError(f"these jobs would start:\n{found.description}")
    return found


def sandbox_of_workers(ground: Ground) -> Sandbox:
    """Also warms up: what workers read comes from the file system's cache from now on."""
    with ground.session.new_cluster() as cluster:
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=START_DEADLINE)
        return Sandbox.of(cluster, ground)


def condor_submit(sandbox: Sandbox) -> Way:
    @contextmanager
    def way(ground: Ground) -> Iterator[Scale]:
        directory = ground.make_directory(ground.user)
        sandbox.write(directory, ground.user)
        yield lambda number: sandbox.submit(number, directory, ground)

    return way


def workers_by_hand(sandbox: Sandbox) -> WorkersWay:
    """A scheduler with TLS under the analyst's account, and the gateway's own jobs pointed at it."""

    @contextmanager
    def way(ground: Ground) -> Iterator[Workers]:
        directory = ground.make_directory(ground.user)
        with _scheduler(sandbox, ground) as (address, security):
            sandbox.write(directory, ground.user, contact=address)
            with Client(address, security=security, timeout=START_DEADLINE, set_as_default=False) as client:
                try:
                    yield Workers(lambda number: sandbox.submit(number, directory, ground), client)
                finally:
                    ground.clear()  # a worker that outlives its scheduler would keep trying

    return way


@contextmanager
def _scheduler(sandbox: Sandbox, ground: Ground) -> Iterator[tuple[str, Security]]:
    home = ground.make_directory(ground.analyst)
    for name in TLS:
        _write(home / name, sandbox.files[name], ground.analyst, 0o600)
    certificate, key = (str(home / name) for name in TLS)
    port = free_port()
    command = [
        f"{processes.ENVIRONMENT}/bin/dask", "scheduler", "--protocol", "tls", "--host", "127.0.0.1",
        "--port", str(port), "--dashboard-address", "127.0.0.1:0",
        "--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key,
    ]  # fmt: skip
    env = processes.environment(ground.analyst, DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION="True")
    process = processes.spawn(command, ground.analyst, env, home, home / "log")
    security = Security(
        require_encryption=True, tls_ca_file=certificate, tls_client_cert=certificate, tls_client_key=key
    )

    def listens() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the scheduler ended with {process.returncode}: {(home / 'log').read_text()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually("scheduler listens", listens, START_DEADLINE)
        yield f"tls://127.0.0.1:{port}", security
    finally:
        _end(process)


@contextmanager
def dask_jobqueue(ground: Ground) -> Iterator[Scale]:
    """In a process of the account that submits; it works on after `scale` has returned."""
    directory = ground.make_directory(ground.user)
    program = Path(__file__).with_name("jobqueue_session.py").read_text()
    directives = ["=".join(ground.attribute), f"requirements={NEVER}"]
    with (directory / "log").open("w+") as log:
        session = subprocess.Popen(
            [sys.executable, "-c", program, str(directory), *directives],
            user=ground.user, group=ground.user, extra_groups=[],
            env={**processes.environment(ground.user, TMPDIR=str(directory)), **ground.pool.env},
            cwd=directory, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

        def said() -> str:
            text = (directory / "log").read_text(errors="replace")
            if session.poll() is not None:
                raise RuntimeError(f"the session with dask-jobqueue ended with {session.returncode}: {text}")
            return text

        def scale(number: int) -> None:
            assert session.stdin is not None
            session.stdin.write(f"{number}\n")
            session.stdin.flush()

        try:
            eventually("dask-jobqueue ready", lambda: "ready" in said(), START_DEADLINE)
            yield scale
            said()
        finally:
            _end(session)


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """End it with all that it started; its jobs are cleared afterwards."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
