"""The gateway's worker records in dask-gateway's database: every change of them, in bulk."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dask_gateway_server.backends.db_base import Cluster, DataManager, JobStatus, Worker
from dask_gateway_server.utils import timestamp

from htcdaskgateway.records import dask_name
from htcdaskgateway.server.database import worker_table
from htcdaskgateway.server.heartbeat import Heartbeat
from htcdaskgateway.server.verdicts import Facts, Link, Pending, pending_order, surplus
from htcdaskgateway.server.watch import Watch


class WorkerStore:
    """Every change of worker records goes through here: in bulk, one transaction each."""

    def __init__(self, db: DataManager, failure_limit: int) -> None:
        self.db = db
        self.failure_limit = failure_limit
        self._watches: dict[str, Watch] = {}

    def watch(self, cluster: Cluster) -> Watch:
        return self._watches.setdefault(cluster.name, Watch())

    def watches(self) -> list[Watch]:
        return list(self._watches.values())

    def forget(self, cluster_name: str) -> None:
        self._watches.pop(cluster_name, None)

    def running_clusters(self) -> list[Cluster]:
        return [c for c in self.db.active_clusters() if c.status == JobStatus.RUNNING]

    @staticmethod
    def wanted(cluster: Cluster) -> Iterator[Worker]:
        return (w for w in cluster.workers.values() if w.target == JobStatus.RUNNING)

    @staticmethod
    def names(cluster: Cluster) -> dict[str, str]:
        """Names of the cluster's workers by their names in Dask.

        Those show the job id, which may not be known yet; the next look at the queue finds it.
        """
        by_job = {
            dask_name(job_id): worker.name
            for worker in cluster.workers.values()
            if (job_id := worker.state.get("job_id"))
        }
        return {**{name: name for name in cluster.workers}, **by_job}

    def link(self, worker: Worker) -> tuple[Link, float]:
        """From the heartbeats; after a restart of the gateway, from the record."""
        before = Link.CONNECTED if worker.status == JobStatus.RUNNING else Link.NEVER
        return self.watch(worker.cluster).links.get(worker.name, (before, time.time()))

    def facts(self, worker: Worker) -> Facts:
        link, since = self.link(worker)
        state = worker.state
        return Facts(
            state.get("job_id", ""), bool(state.get("asked")), link, since, bool(worker.close_expected)
        )

    def save(self, changes: Iterable[tuple[Worker, Mapping[str, Any]]]) -> None:
        """Write changed columns of many workers. ``state`` is merged into what the record holds."""
        rows = []
        for worker, change in changes:
            row = {key: getattr(worker, key) for key in ("status", "target", "stop_time", "close_expected")}
            row.update(change, state={**worker.state, **change.get("state", {})})
            if row["status"] >= JobStatus.STOPPED and row["stop_time"] is None:
                row["stop_time"] = timestamp()
            rows.append((worker, row))
        self.db.update_workers(rows)
        for cluster in {worker.cluster for worker, _ in rows}:
            self.watch(cluster).touch()

    def fail(
        self, failures: Iterable[tuple[Worker, str]], one_try: bool = False, counts: bool = True
    ) -> None:
        """End records with a reason. Their jobs, where there are any, are unwanted from now on.

        Workers that never connected count as failed starts: each, or as one if it was one refusal. With
        ``counts=False`` they do not: their jobs had not started.
        """
        failures = list(failures)
        starts = [w.cluster for w, _ in failures if counts and self.link(w)[0] is Link.NEVER]
        for cluster in set(starts) if one_try else starts:
            cluster.worker_start_failure_count += 1
        change = {"status": JobStatus.FAILED, "target": JobStatus.FAILED}
        self.save(
            (w, {**change, "state": {"reason": reason, "since": time.time()}}) for w, reason in failures
        )
        for worker, reason in failures:
            cluster = worker.cluster
            if self.given_up(cluster):
                self.watch(cluster).problem = (
                    f"Gave up: {cluster.worker_start_failure_count} attempts in a row to start workers "
                    f"failed. The last: {reason}. scale() or adapt() tries again."
                )

    def finish(self, workers: Iterable[Worker]) -> None:
        """End records of workers that are not wanted any more."""
        change = {
            "status": JobStatus.STOPPED,
            "target": JobStatus.STOPPED,
            "state": {"since": time.time()},
        }
        self.save([(worker, change) for worker in workers])

    def follow(self, cluster: Cluster, beat: Heartbeat) -> bool:
        """Take over what a heartbeat says of the workers. True if any of it is new."""
        links, now = self.watch(cluster).links, time.time()
        changes: list[tuple[Worker, dict[str, Any]]] = []
        finished: list[Worker] = []
        news = False
        for worker in self.wanted(cluster):
            before, _ = self.link(worker)
            link = beat.link(worker.name, before)
            if link is not before or worker.name not in links:
                links[worker.name] = (link, now)
                news = True
            close_expected = link is Link.RETIRING or (bool(worker.close_expected) and link is Link.LOST)
            if link is Link.LOST and close_expected:
                finished.append(worker)
            elif link in (Link.CONNECTED, Link.RETIRING) and worker.status < JobStatus.RUNNING:
                changes.append((worker, {"status": JobStatus.RUNNING, "close_expected": close_expected}))
                self.try_again(cluster)
            elif close_expected != bool(worker.close_expected):
                changes.append((worker, {"close_expected": close_expected}))
        self.save(changes)
        self.finish(finished)
        return news

    def match_count(self, cluster: Cluster) -> bool:
        """Make as many wanted records as the scheduler's count says. True if there are new ones."""
        # One that the scheduler retires is on its way out, though its record still counts as wanted.
        present = [worker for worker in self.wanted(cluster) if not worker.close_expected]
        pending = [
            Pending(w.name, pending_order(w.state.get("job_id", ""), w.state.get("job_status")))
            for w in present
            if self.link(w)[0] is not Link.CONNECTED
        ]
        self.finish(
            cluster.workers[name] for name in surplus(cluster.count, len(present) - len(pending), pending)
        )
        missing = cluster.count - len(present)
        if missing <= 0 or self.given_up(cluster):
            return False
        self._create(cluster, missing)
        return True

    def given_up(self, cluster: Cluster) -> bool:
        return bool(cluster.worker_start_failure_count >= self.failure_limit)

    def try_again(self, cluster: Cluster) -> None:
        cluster.worker_start_failure_count = 0
        self.watch(cluster).problem = ""

    def _create(self, cluster: Cluster, number: int) -> None:
        common = {
            "status": JobStatus.CREATED,
            "target": JobStatus.RUNNING,
            "state": {"since": time.time()},
            "start_time": timestamp(),
            "close_expected": False,
        }
        names = [uuid.uuid4().hex for _ in range(number)]
        rows = [{"name": name, "cluster_id": cluster.id, **common} for name in names]
        with self.db.db.begin() as connection:
            connection.execute(worker_table.insert(), rows)
            found = connection.execute(
                worker_table.select().where(
                    worker_table.c.cluster_id == cluster.id, worker_table.c.status == JobStatus.CREATED
                )
            )
            ids = {row.name: row.id for row in found}
        for name in names:
            cluster.workers[name] = Worker(id=ids[name], name=name, cluster=cluster, **common)
        self.watch(cluster).touch()
