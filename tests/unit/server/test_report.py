"""What a cluster's owner is told of its workers."""

from __future__ import annotations

import pytest
from dask_gateway_server.backends.db_base import Cluster, JobStatus, Worker

from htcdaskgateway.records import WorkerState
from htcdaskgateway.server.report import ENDED_RECORDS, record, report
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.verdicts import Link


def scale(store: WorkerStore, cluster: Cluster, count: int) -> list[Worker]:
    store.db.update_cluster(cluster, count=count)
    store.match_count(cluster)
    return list(store.wanted(cluster))


@pytest.mark.parametrize(
    ("state", "link", "expected"),
    [
        ({}, Link.NEVER, WorkerState.WANTED),
        ({"job_id": "1.0", "job_status": 1}, Link.NEVER, WorkerState.IDLE),
        ({"job_id": "1.0", "job_status": 2}, Link.NEVER, WorkerState.STARTING),
        ({"job_id": "1.0", "job_status": 2}, Link.CONNECTED, WorkerState.RUNNING),
        ({"job_id": "1.0", "job_status": 2}, Link.RETIRING, WorkerState.LEAVING),
        ({"job_id": "1.0", "job_status": 1}, Link.LOST, WorkerState.IDLE),
        ({"job_id": "1.0", "job_status": 2}, Link.LOST, WorkerState.STARTING),
    ],
)
async def test_state_of_a_record(
    store: WorkerStore, cluster: Cluster, state: dict[str, object], link: Link, expected: WorkerState
) -> None:
    [worker] = scale(store, cluster, 1)
    store.save([(worker, {"state": state})])
    store.watch(cluster).links[worker.name] = (link, 0.0)
    assert record(store, worker).state is expected


async def test_a_report_lists_the_last_ended_workers_only(store: WorkerStore, cluster: Cluster) -> None:
    store.finish(scale(store, cluster, ENDED_RECORDS + 20))
    scale(store, cluster, 2)
    states = [one.state for one in report(store, cluster)]
    assert states.count(WorkerState.FINISHED) == ENDED_RECORDS
    assert states[-2:] == [WorkerState.WANTED] * 2


@pytest.mark.parametrize(
    ("status", "target", "expected"),
    [
        (JobStatus.SUBMITTED, JobStatus.STOPPED, WorkerState.LEAVING),
        (JobStatus.CLOSING, JobStatus.CLOSING, WorkerState.LEAVING),
        (JobStatus.STOPPED, JobStatus.STOPPED, WorkerState.FINISHED),
        (JobStatus.FAILED, JobStatus.FAILED, WorkerState.FAILED),
    ],
)
async def test_state_of_a_record_that_ends(
    store: WorkerStore, cluster: Cluster, status: JobStatus, target: JobStatus, expected: WorkerState
) -> None:
    [worker] = scale(store, cluster, 1)
    store.save([(worker, {"status": status, "target": target})])
    store.watch(cluster).links[worker.name] = (Link.CONNECTED, 0.0)
    assert record(store, worker).state is expected
