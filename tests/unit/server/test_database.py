from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dask_gateway_server.backends import db_base
from dask_gateway_server.backends.db_base import DataManager
from tests.support.postgres import NoPostgresError, Postgres, running_postgres

from htcdaskgateway.errors import ConfigurationError
from htcdaskgateway.server import database
from htcdaskgateway.server.traits import LARGEST_CLUSTER, HTCondorClusterConfig


def test_a_state_directory_has_one_gateway_at_a_time(tmp_path: Path) -> None:
    first = database.Claim("sqlite://", tmp_path)
    first.check()
    with pytest.raises(ConfigurationError) as caught:
        database.Claim("sqlite://", tmp_path)
    first.close()
    assert str(caught.value) == f"Another gateway uses the state directory {tmp_path}."
    database.Claim("sqlite://", tmp_path).close()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    if os.geteuid() or "postgres" not in {account.pw_name for account in pwd.getpwall()}:
        pytest.skip("a PostgreSQL of Debian's is run as its account, by root")
    try:
        with running_postgres("postgres", "127.0.0.1") as found:
            yield found
    except NoPostgresError as error:
        pytest.skip(str(error))


def cut(url: str) -> None:
    """End all connections to a database but this one."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        others = sa.text(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        assert connection.execute(others).scalars().all()


def test_the_lock_of_a_connection_that_was_cut_is_taken_again(server: Postgres, tmp_path: Path) -> None:
    url = server.listen_url("secret")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    mine = database.Claim(url, tmp_path / "one")
    cut(url)
    mine.check()
    with pytest.raises(ConfigurationError, match="Another gateway uses the database") as caught:
        database.Claim(url, tmp_path / "two")
    assert "secret" not in str(caught.value)
    cut(url)
    other = database.Claim(url, tmp_path / "two")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="Another gateway uses the database"):
            mine.check()
    other.close()
    mine.check()
    mine.close()
    database.Claim(url, tmp_path / "two").close()


def options_of(connection: sa.Connection) -> list[int]:
    """How the kernel minds this end of a connection."""
    driver: Any = connection.connection.driver_connection
    names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    with socket.socket(fileno=os.dup(driver.fileno())) as way:
        return [way.getsockopt(socket.IPPROTO_TCP, name) for name in names]


def test_each_side_notices_soon_that_the_other_is_lost(server: Postgres, tmp_path: Path) -> None:
    """Else the lock of a lost gateway, whose place another one is to take, stays for hours."""
    with closing(database.Claim(server.listen_url("secret"), tmp_path)) as claim:
        connection = claim._connection
        assert connection is not None
        for name, value in database.OF_SERVER.items():
            assert connection.exec_driver_sql(f"show {name}").scalar() == str(value)
        found = options_of(connection)
    assert found == [database.IDLE, database.INTERVAL, database.COUNT, database.SILENCE * 1000]


def test_what_the_url_says_of_that_stays(server: Postgres) -> None:
    url = f"{server.listen_url('secret')}?keepalives_idle=77"
    assert "keepalives_idle" not in database.noticing(url)
    manager = db_base.DataManager(url=url, echo=False, encrypt_keys=[b"x" * 43 + b"="])
    with manager.db.connect() as connection:
        idle, _, count, _ = options_of(connection)
    manager.db.dispose()
    assert (idle, count) == (77, database.COUNT)


def test_records_are_written_after_connections_were_cut(server: Postgres) -> None:
    url = server.listen_url("secret")
    manager = db_base.DataManager(url=url, echo=False, encrypt_keys=[b"x" * 43 + b"="])
    found = database.instance_id(manager.db)
    cut(url)
    assert database.instance_id(manager.db) == found
    manager.db.dispose()


def test_the_identity_is_made_once_and_stays_with_the_database(tmp_path: Path) -> None:
    ids = set()
    for _ in range(2):
        manager = DataManager(f"sqlite:///{tmp_path}/db", encrypt_keys=[b"x" * 43 + b"="])
        ids.add(database.instance_id(manager.db))
        manager.db.dispose()
    assert len(ids) == 1


def test_the_database_file_is_private_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sqlite"
    database.protect(f"sqlite:///{path}")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    database.protect(f"sqlite:///{path}")
    assert path.stat().st_mode & 0o777 == 0o600
    database.protect("sqlite:///:memory:")
    database.protect("postgresql+psycopg://user@/db")
    assert [file.name for file in tmp_path.iterdir()] == ["gateway.sqlite"]


@pytest.mark.parametrize(
    ("traits", "limit"),
    [
        ({}, LARGEST_CLUSTER),
        ({"cluster_max_workers": 5}, 5),
        ({"cluster_max_cores": 9, "worker_cores": 2}, 4),
    ],
)
def test_no_cluster_is_without_limit(traits: dict[str, int], limit: int) -> None:
    assert HTCondorClusterConfig(**traits).cluster_max_workers == limit
