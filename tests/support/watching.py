"""What tests look at while a cluster changes."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.gateway import GatewayServer
from tests.support.waiting import eventually

from htcdaskgateway import HTCGatewayCluster, WorkerRecord, WorkerState

IDLE, RUNNING = 1, 2  # HTCondor's JobStatus


def live(cluster: HTCGatewayCluster) -> list[WorkerRecord]:
    """Records of workers that have not ended."""
    ended = (WorkerState.FINISHED, WorkerState.FAILED)
    return [worker for worker in cluster.workers() if worker.state not in ended]


def in_state(cluster: HTCGatewayCluster, state: WorkerState) -> list[WorkerRecord]:
    return [worker for worker in cluster.workers() if worker.state is state]


def exactly(
    server: GatewayServer, cluster: HTCGatewayCluster, count: int, deadline: float = 60
) -> list[WorkerRecord]:
    """Wait until the records, the jobs in the queue and the scheduler's workers are just so many."""
    seen: list[tuple[int, int, int, int]] = []

    def agree() -> bool:
        workers = live(cluster)
        running = {worker.dask_name for worker in workers if worker.state is WorkerState.RUNNING}
        jobs = {f"{ad['ClusterId']}.{ad['ProcId']}" for ad in server.jobs()}
        connected = names(cluster)
        seen.append((len(workers), len(running), len(jobs), len(connected)))
        same = running == connected and jobs == {worker.job_id for worker in workers}
        return len(running) == len(workers) == count and same

    try:
        eventually(f"exactly {count} workers", agree, deadline, period=0.2)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; records, running, jobs, connected: {seen[-20:]}") from None
    return live(cluster)


def names(cluster: HTCGatewayCluster) -> set[str]:
    """Names in Dask of the workers that the scheduler has now."""

    async def ask() -> set[str]:
        identity = await cluster.scheduler_comm.identity(n_workers=-1)
        return {str(info["name"]) for info in identity["workers"].values()}

    found: set[str] = cluster.gateway.sync(ask)
    return found


def what_came_back(cluster: HTCGatewayCluster, worker: str, deadline: float = 60) -> str:
    """Wait for what a worker's job has written to its standard error; it comes when the job has ended."""

    def err() -> str:
        return str(cluster.logs(worker)[worker].streams.get("err", ""))

    return eventually(f"output of {worker}", err, deadline)


def no_jobs(server: GatewayServer, deadline: float = 20) -> None:
    eventually("no job in the queue", lambda: not server.jobs(), deadline, period=0.5)


def stays(what: str, condition: Callable[[], bool], seconds: float) -> None:
    """It is so, and remains so for this long."""
    try:
        eventually(f"no longer {what}", lambda: not condition(), seconds)
    except TimeoutError:
        return
    raise AssertionError(f"it did not stay so: {what}")
