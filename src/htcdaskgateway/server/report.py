"""Worker records as their owner sees them."""

from __future__ import annotations

from dask_gateway_server.backends.db_base import Cluster, JobStatus, Worker

from htcdaskgateway.condor.schedd import JobStatus as QueueStatus
from htcdaskgateway.records import WorkerRecord, WorkerState
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.verdicts import Link

ENDED_RECORDS = 100  # how many workers that are gone a report still lists


def report(store: WorkerStore, cluster: Cluster) -> list[WorkerRecord]:
    """Records of all workers that are wanted or leaving, and of the last ones that are gone."""
    workers = sorted(cluster.workers.values(), key=lambda worker: worker.id)
    live = [worker for worker in workers if worker.status < JobStatus.STOPPED]
    ended = [worker for worker in workers if worker.status >= JobStatus.STOPPED]
    return [record(store, worker) for worker in ended[-ENDED_RECORDS:] + live]


def record(store: WorkerStore, worker: Worker) -> WorkerRecord:
    """What is told of one worker."""
    state = worker.state
    shown = {key: state[key] for key in ("job_id", "schedd", "host", "reason", "since") if key in state}
    return WorkerRecord(name=worker.name, state=_state(store, worker), **shown)


def _state(store: WorkerStore, worker: Worker) -> WorkerState:
    if worker.target >= JobStatus.CLOSING:
        final = WorkerState.FAILED if worker.target == JobStatus.FAILED else WorkerState.FINISHED
        return final if worker.status >= JobStatus.STOPPED else WorkerState.LEAVING
    link, _ = store.link(worker)
    if link is Link.CONNECTED:
        return WorkerState.RUNNING
    if link is Link.RETIRING:
        return WorkerState.LEAVING
    if "job_id" not in worker.state:
        return WorkerState.WANTED
    starting = worker.state.get("job_status") == QueueStatus.RUNNING
    return WorkerState.STARTING if starting else WorkerState.IDLE
