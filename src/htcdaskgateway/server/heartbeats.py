"""What a scheduler's heartbeat changes: the count, its addresses, and what is known of the workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.backends.db_base import Cluster, JobStatus
from dask_gateway_server.utils import timestamp

from htcdaskgateway.launchers.base import Launcher
from htcdaskgateway.server.heartbeat import Heartbeat
from htcdaskgateway.server.keepers import Keepers
from htcdaskgateway.server.settings import HTCondorSettings
from htcdaskgateway.server.store import WorkerStore


class Heartbeats:
    """Takes heartbeats over into the records.

    Parameters
    ----------
    site : HTCondorSettings
        Its queue of clusters that are to be reconciled.
    launcher : Launcher
        It may know the addresses better than the scheduler.
    store : WorkerStore
    keepers : Keepers
    """

    def __init__(
        self, site: HTCondorSettings, launcher: Launcher, store: WorkerStore, keepers: Keepers
    ) -> None:
        self.site, self.launcher, self.store, self.keepers = site, launcher, store, keepers

    def hear(self, cluster: Cluster, msg: Mapping[str, Any]) -> None:
        """Take one over.

        Raises
        ------
        PublicException
            It is none, or leads elsewhere than to a scheduler of the launcher.
        """
        try:
            beat = self._read(cluster, msg)
        except (ValueError, KeyError, TypeError) as error:
            raise PublicException(f"This is no heartbeat: {error}") from error
        cluster.last_heartbeat = timestamp()
        update: dict[str, Any] = {} if beat.count == cluster.count else {"count": beat.count}
        if cluster.status != JobStatus.RUNNING:
            update.update(beat.addresses)
        if update:
            self.store.db.update_cluster(cluster, **update)
            self.site.queue.put(cluster)
        news = self.store.follow(cluster, beat)
        if cluster.status == JobStatus.RUNNING and self.store.match_count(cluster):
            self.keepers.kick(cluster)
        if news or update:
            self.store.watch(cluster).touch()

    def _read(self, cluster: Cluster, msg: Mapping[str, Any]) -> Heartbeat:
        most = cluster.config.get("cluster_max_workers")
        beat = Heartbeat.from_json(msg, self.store.names(cluster), most)
        if addresses := self.launcher.addresses(cluster.state):
            return beat.at(addresses)
        beat.check_addresses(self.launcher.host)
        return beat
