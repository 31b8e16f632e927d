"""A gateway's records, without its processes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from dask_gateway_server.backends.db_base import Cluster, DataManager, JobStatus

from htcdaskgateway.server.store import WorkerStore

KEYS = [b"x7C9yf9qWQhH0nYdLJ3F2vS1b3cYt0lq7J6k5m4n3o8="]


def records(url: str = "sqlite:///:memory:") -> DataManager:
    return DataManager(url, encrypt_keys=KEYS)


@pytest.fixture
async def db() -> AsyncIterator[DataManager]:
    made = records()
    yield made
    made.db.dispose()


@pytest.fixture
def store(db: DataManager) -> WorkerStore:
    return WorkerStore(db, failure_limit=3)


@pytest.fixture
async def cluster(db: DataManager) -> Cluster:
    """One that runs; its waiting places belong to the test's event loop."""
    made = db.create_cluster("analyst", {}, {})
    db.update_cluster(made, status=JobStatus.RUNNING)
    return made
