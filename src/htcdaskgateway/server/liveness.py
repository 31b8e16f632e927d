"""Whether the schedulers live: a cluster whose scheduler does not has failed, and says why."""

from __future__ import annotations

import asyncio

from dask_gateway_server.backends.db_base import Cluster, JobStatus
from dask_gateway_server.utils import timestamp

from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.launchers.base import Launcher
from htcdaskgateway.server.settings import HTCondorSettings
from htcdaskgateway.server.store import WorkerStore

# A launcher's, and of those whose answers it reads: one scheduler's is no reason to leave the others alone.
TROUBLE = (HTCDaskError, OSError, ValueError, LookupError, TypeError)


class Liveness:
    """Looks at schedulers in two ways: whether their processes run, and when they were last heard of.

    Parameters
    ----------
    site : HTCondorSettings
        Its timeouts, and its queue of clusters that are to be reconciled.
    launcher : Launcher
    store : WorkerStore
    """

    def __init__(self, site: HTCondorSettings, launcher: Launcher, store: WorkerStore) -> None:
        self.site, self.launcher, self.store = site, launcher, store
        self.db, self.log = store.db, site.log

    async def watch_processes(self) -> None:
        """See whether the schedulers' processes live: sooner, and with a better reason, than heartbeats."""
        checks: dict[str, asyncio.Future[None]] = {}
        while True:
            await asyncio.sleep(self.site.cluster_status_period)
            checks = {name: check for name, check in checks.items() if not check.done()}
            for cluster in self.db.active_clusters():
                if cluster.name not in checks:  # one that hangs does not keep the others waiting
                    checks[cluster.name] = self.site.task_pool.spawn(self.check_process(cluster))

    async def check_process(self, cluster: Cluster) -> None:
        """Fail the cluster if the launcher knows that its scheduler runs no more."""
        try:
            reason = await self.launcher.failure(cluster.username, cluster.state)
        except TROUBLE as error:
            self._say("Cluster %s could not be checked: %s", cluster, error)
            return
        if reason:
            self.fail(cluster, reason)

    async def check_heartbeats(self) -> None:
        """Fail clusters whose schedulers did not start in time, or have been silent for too long."""
        now, late = timestamp(), []
        for cluster in list(self.db.active_clusters()):
            if cluster.status == JobStatus.SUBMITTED:
                if now - cluster.start_time > self.site.cluster_start_timeout * 1000:
                    late.append(self._fail_late(cluster))
            elif cluster.status == JobStatus.RUNNING:
                silent = (now - cluster.last_heartbeat) / 1000
                if silent > self.site.cluster_heartbeat_timeout:
                    self.fail(cluster, f"The scheduler has not been heard of for {silent:.0f} s.")
        await asyncio.gather(*late)  # each asks the launcher, which takes a while

    async def _fail_late(self, cluster: Cluster) -> None:
        reason = f"The scheduler did not start in {self.site.cluster_start_timeout:g} s."
        try:
            reason = f"{reason} {await self.launcher.delay(cluster.username, cluster.state)}".strip()
        except TROUBLE as error:
            self._say("What delays cluster %s is not known: %s", cluster, error)
        if cluster.status == JobStatus.SUBMITTED:
            self.fail(cluster, reason)

    def _say(self, words: str, cluster: Cluster, error: Exception) -> None:
        """Log it; what may be a mistake of a launcher's with where it happened."""
        self.log.warning(words, cluster.name, error, exc_info=not isinstance(error, (HTCDaskError, OSError)))

    def fail(self, cluster: Cluster, reason: str) -> None:
        """Let a cluster end as failed, unless it ends already."""
        if cluster.target > JobStatus.RUNNING:
            return
        self.log.info("Cluster %s failed: %s", cluster.name, reason)
        self.db.update_cluster(cluster, target=JobStatus.FAILED, state={**cluster.state, "reason": reason})
        self.site.queue.put(cluster)
        self.store.watch(cluster).touch()
