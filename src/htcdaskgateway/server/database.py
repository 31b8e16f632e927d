"""dask-gateway's database, with what its tables lack."""

from __future__ import annotations

import fcntl
import uuid
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa
from dask_gateway_server.backends import db_base

from htcdaskgateway.errors import ConfigurationError

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


def instance_id(engine: sa.Engine) -> str:
    """Id of this gateway that its jobs carry; made once per database."""
    with engine.begin() as connection:
        found = connection.execute(sa.select(identity.c.instance)).scalar()
        if found is None:
            found = uuid.uuid4().hex
            connection.execute(identity.insert().values(instance=found))
        return str(found)


def claim(url: str, state_directory: Path) -> ExitStack:
    """Make sure that no other gateway has this state; it would sweep the jobs of clusters it did not make.

    Returns
    -------
    ExitStack
        Holds the claim until it is closed, or the process ends, however it ends.

    Raises
    ------
    ConfigurationError
        Another gateway has it.
    """
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
        if url.startswith("postgresql"):
            engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
            connection = stack.enter_context(engine.connect())
            lock = sa.select(sa.func.pg_try_advisory_lock(sa.func.hashtext(identity.name)))
            if not connection.execute(lock).scalar():
                raise ConfigurationError(f"Another gateway uses the database {engine.url!r}.")
        return stack.pop_all()


def protect(url: str) -> None:
    """Make a new SQLite file readable by the gateway only, before SQLite makes it with the umask."""
    database = sa.make_url(url).database
    if url.startswith("sqlite") and database and database != ":memory:":
        path = Path(database)
        path.touch(mode=0o600)
        path.chmod(0o600)
