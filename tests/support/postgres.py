"""A private PostgreSQL from Debian's packages: socket only, no fsync, gone with the tests."""

from __future__ import annotations

import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import processes
from tests.support.waiting import eventually


class NoPostgresError(Exception):
    """Its programs are not installed."""


@dataclass(frozen=True)
class Postgres:
    programs: Path
    directory: Path
    user: str

    def create_database(self) -> str:
        """Make an empty database; its URL for SQLAlchemy. Only the account that owns it gets in."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        processes.run([str(self.programs / "createdb"), "-h", str(self.directory), name], self.user)
        return f"postgresql+psycopg://{self.user}@/{name}?host={self.directory}"


def find_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if not found:
        raise NoPostgresError("PostgreSQL is not installed (Debian package postgresql)")
    return found[-1].parent


@contextmanager
def running_postgres(user: str) -> Iterator[Postgres]:
    programs = find_programs()
    directory = Path(tempfile.mkdtemp(prefix="htcdask-postgres-"))
    shutil.chown(directory, user, user)
    data, log = directory / "data", directory / "log"
    try:
        # peer: the socket's other end must be a process of the same account
        options = ["-U", user, "-A", "peer", "-E", "UTF8", "--no-locale", "--no-sync"]
        processes.run([str(programs / "initdb"), "-D", str(data), *options], user)
        options = ["-k", str(directory), "-c", "listen_addresses=", "-c", "fsync=off"]
        command = [str(programs / "postgres"), "-D", str(data), *options]
        server = processes.spawn(command, user, processes.environment(user), directory, log)
        try:

            def ready() -> bool:
                if server.poll() is not None:
                    raise RuntimeError(f"PostgreSQL ended: {log.read_text()}")
                return "ready to accept connections" in log.read_text()

            eventually("PostgreSQL up", ready, 60)
            yield Postgres(programs, directory, user)
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown; clients are disconnected
            server.wait(30)
    finally:
        shutil.rmtree(directory)
