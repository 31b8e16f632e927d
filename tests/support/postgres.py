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

from sqlalchemy import make_url
from tests.support import processes
from tests.support.ports import free_port
from tests.support.waiting import eventually


class NoPostgresError(Exception):
    """Its programs are not installed."""


@dataclass(frozen=True)
class Postgres:
    programs: Path
    directory: Path
    user: str
    host: str = ""
    port: int = 5432

    @property
    def _socket(self) -> list[str]:
        return ["-h", str(self.directory), "-p", str(self.port)]

    def create_database(self) -> str:
        """Make an empty database; its URL for SQLAlchemy. Only the account that owns it gets in."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        processes.run([str(self.programs / "createdb"), *self._socket, name], self.user)
        return f"postgresql+psycopg://{self.user}@/{name}?host={self.directory}"

    def listen_url(self, password: str) -> str:
        """Let the account in over the network too, with this password; the URL of an empty database."""
        statement = f"ALTER ROLE {self.user} PASSWORD '{password}'"
        psql = [str(self.programs / "psql"), *self._socket, "-d", "postgres", "-c", statement]
        processes.run(psql, self.user)
        database = make_url(self.create_database()).database
        return f"postgresql+psycopg://{self.user}:{password}@{self.host}:{self.port}/{database}"


def find_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if not found:
        raise NoPostgresError("PostgreSQL is not installed (Debian package postgresql)")
    return found[-1].parent


@contextmanager
def running_postgres(user: str, host: str = "") -> Iterator[Postgres]:
    """Run a server.

    Parameters
    ----------
    host : str, optional
        An address to listen at as well, for accounts with a password.
    """
    programs = find_programs()
    directory = Path(tempfile.mkdtemp(prefix="htcdask-postgres-"))
    shutil.chown(directory, user, user)
    data, log = directory / "data", directory / "log"
    try:
        # peer: the socket's other end must be a process of the same account
        options = ["-U", user, "-A", "peer", "-E", "UTF8", "--no-locale", "--no-sync"]
        processes.run([str(programs / "initdb"), "-D", str(data), *options], user)
        rules = data / "pg_hba.conf"
        rules.write_text(f"host all all all scram-sha-256\n{rules.read_text()}")  # the first that fits counts
        port = free_port() if host else Postgres.port
        options = ["-k", str(directory), "-c", f"listen_addresses={host}", "-c", "fsync=off"]
        options += ["-p", str(port)]
        command = [str(programs / "postgres"), "-D", str(data), *options]
        server = processes.spawn(command, user, processes.environment(user), directory, log)
        try:

            def ready() -> bool:
                if server.poll() is not None:
                    raise RuntimeError(f"PostgreSQL ended: {log.read_text()}")
                return "ready to accept connections" in log.read_text()

            eventually("PostgreSQL up", ready, 60)
            yield Postgres(programs, directory, user, host, port)
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown; clients are disconnected
            server.wait(30)
    finally:
        shutil.rmtree(directory)
