"""dask-gateway's database, with what its tables lack."""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dask_gateway_server.backends import db_base

from htcdaskgateway.errors import ConfigurationError

# How soon each side notices that the other's node is gone, in seconds; the system's 2 hours are too long for
# whoever wants to take a lost gateway's place. SILENCE: also where something sent was not acknowledged.
IDLE, INTERVAL, COUNT = 10, 5, 3
SILENCE = IDLE + INTERVAL * COUNT
OF_SERVER = {
    "tcp_keepalives_idle": IDLE,
    "tcp_keepalives_interval": INTERVAL,
    "tcp_keepalives_count": COUNT,
    "tcp_user_timeout": SILENCE * 1000,
}
OF_CLIENT = {
    "keepalives_idle": IDLE,
    "keepalives_interval": INTERVAL,
    "keepalives_count": COUNT,
    "tcp_user_timeout": SILENCE * 1000,
    "connect_timeout": SILENCE,
}

worker_table = db_base.workers
# Beside dask-gateway's own tables, so that the identity goes where the records go.
identity = sa.Table(
    "htcdaskgateway_identity", db_base.metadata, sa.Column("instance", sa.Unicode(64), primary_key=True)
)
# As declared upstream these do for SQLite only: PostgreSQL has no type BINARY(140), and milliseconds since
# the epoch are out of range for its INTEGER.
db_base.clusters.c.token.type = sa.LargeBinary()
for table in (db_base.clusters, db_base.workers):
    table.c.start_time.type = table.c.stop_time.type = sa.BigInteger()
# Their state is an enum class, or nothing. Unsaid, SQLAlchemy compiles every statement anew and warns.
db_base._IntEnum.cache_ok = db_base._JSON.cache_ok = True


class DataManager(db_base.DataManager):
    """With connections that are tried before each use: a server, or what is before it, may have cut them."""

    def __init__(
        self, url: str = "sqlite:///:memory:", encrypt_keys: Sequence[bytes] = (), **options: Any
    ) -> None:
        options = {"pool_pre_ping": True, **options}
        if url.startswith("postgresql"):
            options["connect_args"] = {**noticing(url), **options.get("connect_args", {})}
        super().__init__(url, encrypt_keys, **options)


def noticing(url: str) -> dict[str, int]:
    """Arguments of connections that notice when the server is gone, as far as the URL does not say."""
    said = sa.make_url(url).query
    return {name: value for name, value in OF_CLIENT.items() if name not in said}


db_base.DataManager = DataManager  # dask-gateway's backend makes it, by this name


def instance_id(engine: sa.Engine) -> str:
    """Id of this gateway that its jobs carry; made once per database."""
    with engine.begin() as connection:
        found = connection.execute(sa.select(identity.c.instance)).scalar()
        if found is None:
            found = uuid.uuid4().hex
            connection.execute(identity.insert().values(instance=found))
        return str(found)


class Claim:
    """One gateway's hold on its state; held until it is closed, or the process ends, however it ends.

    Parameters
    ----------
    url : str
        Of the database.
    state_directory : Path

    Raises
    ------
    ConfigurationError
        Another gateway has it: it would sweep the jobs of clusters that it did not make.
    """

    def __init__(self, url: str, state_directory: Path) -> None:
        self._connection: sa.Connection | None = None
        self._engine: sa.Engine | None = None
        with ExitStack() as stack:
            lock_file = state_directory / "lock"
            lock_file.touch(mode=0o600)
            file = stack.enter_context(lock_file.open("r+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigurationError(
                    f"Another gateway uses the state directory {state_directory}."
                ) from error
            stack.callback(self._disconnect)
            if url.startswith("postgresql"):
                # Not in a transaction: servers end those that stay open, and the lock with them.
                options: dict[str, Any] = {"poolclass": sa.pool.NullPool, "isolation_level": "AUTOCOMMIT"}
                self._engine = sa.create_engine(url, connect_args=noticing(url), **options)
                self._lock(self._engine)
            self._held = stack.pop_all()

    def check(self) -> None:
        """See whether it still holds, and claim again where the connection was lost, and the lock with it.

        Raises
        ------
        ConfigurationError
            Another gateway has it now.
        SQLAlchemyError
            The database cannot be asked.
        """
        if self._engine is None:
            return
        if self._connection is not None:
            try:
                self._connection.execute(sa.select(1))
                return
            except sa.exc.DBAPIError:
                self._disconnect()
        self._lock(self._engine)

    def close(self) -> None:
        self._held.close()

    def _lock(self, engine: sa.Engine) -> None:
        connection = engine.connect()
        # Not as options of the connection, which not everything before a server passes on.
        settings = sa.text("select set_config(name, :value, false) from pg_settings where name = :name")
        for name, value in OF_SERVER.items():
            connection.execute(settings, {"name": name, "value": str(value)})
        lock = sa.select(sa.func.pg_try_advisory_lock(sa.func.hashtext(identity.name)))
        if not connection.execute(lock).scalar():
            connection.close()
            raise ConfigurationError(f"Another gateway uses the database {engine.url!r}.")
        self._connection = connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def protect(url: str) -> None:
    """Make a new SQLite file readable by the gateway only, before SQLite makes it with the umask."""
    database = sa.make_url(url).database
    if url.startswith("sqlite") and database and database != ":memory:":
        path = Path(database)
        path.touch(mode=0o600)
        path.chmod(0o600)
