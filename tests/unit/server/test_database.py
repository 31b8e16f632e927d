from __future__ import annotations

from pathlib import Path

import pytest
from dask_gateway_server.backends.db_base import DataManager

from htcdaskgateway.errors import ConfigurationError
from htcdaskgateway.server import database
from htcdaskgateway.server.traits import LARGEST_CLUSTER, HTCondorClusterConfig


def test_a_state_directory_has_one_gateway_at_a_time(tmp_path: Path) -> None:
    with database.claim("sqlite://", tmp_path), pytest.raises(ConfigurationError) as caught:
        database.claim("sqlite://", tmp_path)
    assert str(caught.value) == f"Another gateway uses the state directory {tmp_path}."
    database.claim("sqlite://", tmp_path).close()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


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
