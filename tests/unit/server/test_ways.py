"""The way of each cluster, as tables; how keepers go by them is in test_keepers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from dask_gateway_server.backends.db_base import DataManager

from htcdaskgateway.server.ways import SERVICE, Way, Ways


def ways(db: DataManager, by_session: bool = False, tokens: bool = False, chooses: bool = False) -> Ways:
    access: Any = SimpleNamespace(token_directory="/tokens" if tokens else "", chooses=chooses)
    return Ways(access, by_session, db)


@pytest.mark.parametrize(
    ("settings", "state", "way"),
    [
        ({}, {}, Way(SERVICE)),
        ({"tokens": True}, {}, Way("alice")),
        ({"chooses": True}, {"schedd": "a@h"}, Way(SERVICE, "a@h")),
        ({"chooses": True, "tokens": True}, {"schedd": "a@h"}, Way("alice", "a@h")),
        ({"chooses": True}, {}, Way(SERVICE)),
        # The choice was switched off: the cluster stays where its jobs are.
        ({}, {"schedd": "a@h"}, Way(SERVICE, "a@h")),
    ],
)
async def test_the_way_of_a_cluster(
    db: DataManager, settings: dict[str, bool], state: dict[str, str], way: Way
) -> None:
    cluster = db.create_cluster("alice", {}, {})
    db.update_cluster(cluster, state=state)
    assert ways(db, **settings).of(cluster) == way
    assert ways(db, by_session=True, **settings).of(cluster) == Way(cluster.name)


async def test_whose_jobs_may_be_removed(db: DataManager) -> None:
    mine, theirs = (db.create_cluster(user, {}, {}) for user in ("alice", "bob"))
    names = (mine.name, theirs.name, "unknown")
    assert [ways(db).may_remove(Way(SERVICE), name) for name in names] == [True, True, True]
    users = ways(db, tokens=True)
    assert [users.may_remove(Way("alice"), name) for name in names] == [True, False, False]
    assert [users.may_remove(Way("alice", "a@h"), name) for name in names] == [False, False, False]


async def test_what_no_cluster_goes_any_more(db: DataManager) -> None:
    db.create_cluster("alice", {}, {})
    known = [Way(SERVICE), Way(SERVICE, "a@h"), Way("alice"), Way("bob"), Way("alice", "a@h")]
    assert ways(db, tokens=True).not_needed(known) == {Way("bob"), Way("alice", "a@h")}
