from __future__ import annotations

import time
from pathlib import Path

from cryptography.fernet import Fernet
from dask_gateway_server.backends.db_base import Cluster, DataManager, JobStatus

from htcdaskgateway.records import WorkerState
from htcdaskgateway.server.heartbeat import Heartbeat
from htcdaskgateway.server.report import record, report
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.verdicts import Link


def scale(store: WorkerStore, cluster: Cluster, count: int) -> bool:
    store.db.update_cluster(cluster, count=count)
    return store.match_count(cluster)


def connect(store: WorkerStore, cluster: Cluster, *names: str) -> None:
    for name in names:
        store.watch(cluster).links[name] = (Link.CONNECTED, time.time())
    store.save([(cluster.workers[name], {"status": JobStatus.RUNNING}) for name in names])


def wanted(store: WorkerStore, cluster: Cluster) -> list[str]:
    return [worker.name for worker in store.wanted(cluster)]


async def test_scale_up_makes_the_missing_records_only(store: WorkerStore, cluster: Cluster) -> None:
    assert scale(store, cluster, 3)
    first = set(wanted(store, cluster))
    assert not scale(store, cluster, 3)
    assert scale(store, cluster, 5)
    assert first < set(wanted(store, cluster))
    assert len(wanted(store, cluster)) == 5


async def test_a_thousand_records_are_made_in_one_transaction(store: WorkerStore, cluster: Cluster) -> None:
    revision = store.watch(cluster).revision
    scale(store, cluster, 1000)
    assert len(wanted(store, cluster)) == 1000
    assert store.watch(cluster).revision == revision + 1
    assert len({worker.id for worker in store.wanted(cluster)}) == 1000


async def test_scale_down_leaves_connected_workers_to_the_scheduler(
    store: WorkerStore, cluster: Cluster
) -> None:
    scale(store, cluster, 6)
    connect(store, cluster, *wanted(store, cluster)[:4])
    scale(store, cluster, 2)
    assert len(wanted(store, cluster)) == 4
    assert all(store.link(worker)[0] is Link.CONNECTED for worker in store.wanted(cluster))


async def test_a_worker_that_retires_is_replaced_when_the_count_rises(
    store: WorkerStore, cluster: Cluster
) -> None:
    scale(store, cluster, 3)
    names = wanted(store, cluster)
    connect(store, cluster, *names)
    store.watch(cluster).links[names[0]] = (Link.RETIRING, time.time())
    store.save([(cluster.workers[names[0]], {"close_expected": True})])
    assert not scale(store, cluster, 2)
    assert scale(store, cluster, 3)
    assert len(wanted(store, cluster)) == 4
    assert not scale(store, cluster, 3)
    assert len(wanted(store, cluster)) == 4


async def test_after_enough_failed_starts_no_more_are_made(store: WorkerStore, cluster: Cluster) -> None:
    for _ in range(3):
        scale(store, cluster, 1)
        store.fail([(worker, "held: [13/2] x") for worker in list(store.wanted(cluster))])
    assert not scale(store, cluster, 1)
    assert store.watch(cluster).problem == (
        "Gave up: 3 attempts in a row to start workers failed. The last: held: [13/2] x. "
        "scale() or adapt() tries again."
    )
    store.try_again(cluster)
    assert scale(store, cluster, 1)
    assert store.watch(cluster).problem == ""


async def test_one_refusal_of_many_workers_is_one_attempt(store: WorkerStore, cluster: Cluster) -> None:
    scale(store, cluster, 10)
    store.fail([(worker, "refused") for worker in list(store.wanted(cluster))], one_try=True)
    assert not store.given_up(cluster)
    assert store.watch(cluster).problem == ""


async def test_workers_that_were_connected_are_replaced_without_end(
    store: WorkerStore, cluster: Cluster
) -> None:
    for _ in range(10):
        assert scale(store, cluster, 1)
        connect(store, cluster, *wanted(store, cluster))
        store.fail([(worker, "signal 9") for worker in list(store.wanted(cluster))])


async def test_records_are_found_again_by_the_next_gateway(tmp_path: Path) -> None:
    settings = {"url": f"sqlite:///{tmp_path}/db", "encrypt_keys": [Fernet.generate_key()]}
    first = DataManager(**settings)
    cluster = first.create_cluster("analyst", {}, {})
    first.update_cluster(cluster, status=JobStatus.RUNNING)
    store = WorkerStore(first, 3)
    scale(store, cluster, 2)
    connect(store, cluster, wanted(store, cluster)[0])
    store.save([(worker, {"state": {"job_id": "4.0", "host": "h"}}) for worker in store.wanted(cluster)])
    before = report(store, cluster)
    first.db.dispose()

    second = DataManager(**settings)
    # Until a heartbeat says otherwise, who was connected is taken to be so.
    assert report(WorkerStore(second, 3), second.get_cluster(cluster.name)) == before
    second.db.dispose()


async def test_workers_are_known_by_their_jobs(store: WorkerStore, cluster: Cluster) -> None:
    scale(store, cluster, 2)
    first, second = wanted(store, cluster)
    assert store.names(cluster) == {first: first, second: second}
    store.save([(cluster.workers[first], {"state": {"job_id": "12.3"}})])
    assert store.names(cluster) == {first: first, second: second, "htcdask-worker_12_3": first}
    assert record(store, cluster.workers[first]).dask_name == "htcdask-worker_12_3"


def beat(count: int, active: str = "", closing: str = "", closed: str = "") -> Heartbeat:
    return Heartbeat(count, frozenset(active.split()), frozenset(closing.split()), frozenset(closed.split()))


async def test_a_worker_comes_retires_and_goes(store: WorkerStore, cluster: Cluster) -> None:
    scale(store, cluster, 2)
    first, second = wanted(store, cluster)
    cluster.worker_start_failure_count = 2
    assert store.follow(cluster, beat(2, active=f"{first} {second}"))
    assert cluster.worker_start_failure_count == 0  # whoever connects ends a row of failures
    assert not store.follow(cluster, beat(2, active=f"{first} {second}"))
    store.follow(cluster, beat(1, active=first, closing=second))
    assert not scale(store, cluster, 1)
    store.follow(cluster, beat(1, active=first, closed=second))
    assert wanted(store, cluster) == [first]
    assert record(store, cluster.workers[second]).state is WorkerState.FINISHED


async def test_a_worker_whose_retirement_failed_stays(store: WorkerStore, cluster: Cluster) -> None:
    scale(store, cluster, 1)
    [name] = wanted(store, cluster)
    store.follow(cluster, beat(0, closing=name))
    store.follow(cluster, beat(1, active=name))
    assert not cluster.workers[name].close_expected
    store.follow(cluster, beat(1, closed=name))  # it is lost now, and was not asked to go
    assert store.facts(cluster.workers[name]).link is Link.LOST
    assert wanted(store, cluster) == [name]
