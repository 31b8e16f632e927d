"""Which keeper has which cluster: that is, under whose identity its jobs are submitted.

One keeper for all where the gateway submits under its own identity, one a user where it has a token of
each, one a cluster where the sessions of its owner submit.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from logging import Logger, LoggerAdapter
from typing import Any

from dask_gateway_server.backends.db_base import Cluster

from htcdaskgateway.condor.schedd import Schedd
from htcdaskgateway.errors import CondorError, ConfigurationError, HTCDaskError
from htcdaskgateway.server.keeper import Keeper, in_one_line
from htcdaskgateway.server.orders import Orders
from htcdaskgateway.server.session_schedd import SessionSchedd
from htcdaskgateway.server.settings import HTCondorSettings
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.workers import describe

LAST_LINES = 5  # of a log, in which its last words are
LONGEST_LINE = 300
SERVICE = ""  # the identity of the gateway's own account


class Keepers:
    """Keepers, made when their first cluster needs one.

    Parameters
    ----------
    site : HTCondorSettings
    gateway : str
        Instance id that the jobs of this gateway carry.
    store : WorkerStore
    """

    def __init__(
        self, site: HTCondorSettings, gateway: str, store: WorkerStore, log: Logger | LoggerAdapter[Any]
    ) -> None:
        self.site, self.gateway, self.store, self.log = site, gateway, store, log
        self._access = site.condor_access
        self._by_session = site.submitter == "session"
        self._orders: dict[str, Orders] = {}
        self._keepers: dict[str, tuple[Keeper, asyncio.Task[None]]] = {}

    def start(self) -> None:
        """Begin with the keepers that need no cluster: jobs that are left over may be in the queue."""
        if not (self._by_session or self._access.token_directory):
            self._keeper(SERVICE, lambda: self._access.access().schedd())

    def of(self, cluster: Cluster) -> Keeper:
        """Give the keeper of a cluster.

        Raises
        ------
        ConfigurationError
            There is no way to HTCondor for its owner.
        """
        return self._keeper(self._identity(cluster), lambda: self._schedd(cluster))

    def kick(self, cluster: Cluster) -> None:
        """Something changed with a cluster: its keeper does not wait for its next look."""
        with contextlib.suppress(ConfigurationError):  # said where it is asked for workers
            self.of(cluster).kick()

    def trouble(self, cluster: Cluster) -> str:
        """Why its queue was not seen the last time; empty if it was."""
        try:
            return self.of(cluster).trouble
        except ConfigurationError as error:
            return in_one_line(error)

    def orders(self, cluster: Cluster) -> Orders:
        """Give what sessions of a cluster's owner are asked."""
        return self._orders.setdefault(cluster.name, Orders(self.site.session_lease))

    def dismiss_sessions(self) -> None:
        """Answer the sessions that wait for orders, and wait for no answer of theirs: the gateway ends."""
        for orders in self._orders.values():
            orders.close()

    async def logs(self, cluster: Cluster, worker: str, tail: int | None) -> dict[str, dict[str, str]]:
        """What workers wrote, by worker and stream, from the sandbox that it came back to.

        Raises
        ------
        InvalidRequestError
            No worker has such a name.
        CondorError
            The session that has the sandbox cannot be asked.
        """
        schedd = self.of(cluster).schedd
        if isinstance(schedd, SessionSchedd):
            return await schedd.logs(worker, tail)
        return await asyncio.to_thread(self.site.sandbox(cluster.name).logs, worker, tail)

    async def _last_words(self, cluster: Cluster, worker: str) -> str:
        try:
            streams = (await self.logs(cluster, worker, LAST_LINES)).get(worker, {})
        except HTCDaskError:  # they are only an addition
            return ""
        lines = [line.strip() for line in streams.get("err", "").splitlines() if line.strip()]
        return lines[-1][:LONGEST_LINE] if lines else ""

    def _identity(self, cluster: Cluster) -> str:
        if self._by_session:
            return str(cluster.name)
        return str(cluster.username) if self._access.token_directory else SERVICE

    def _schedd(self, cluster: Cluster) -> Schedd:
        if not self._by_session:
            return self._access.access(cluster.username).schedd()
        # All sessions use the schedd that has the jobs already.
        schedd = next((w.state["schedd"] for w in cluster.workers.values() if w.state.get("schedd")), "")
        return SessionSchedd(
            cluster.name, cluster.username, self.orders(cluster), self.site.session_timeout, schedd
        )

    def _keeper(self, identity: str, schedd: Callable[[], Schedd]) -> Keeper:
        if identity not in self._keepers:
            keeper = Keeper(
                schedd(),
                self.gateway,
                self.store,
                describe=lambda cluster, names: describe(self.site, self.gateway, cluster, names),
                last_words=self._last_words,
                limits=self.site.limits,
                log=self.log,
                clusters=lambda: list(self._of_identity(identity, self.store.running_clusters())),
                is_mine=lambda name: self._is_mine(identity, name),
                sandbox=lambda name: str(self.site.sandbox(name).path),
            )
            self._keepers[identity] = keeper, asyncio.ensure_future(keeper.run())
        return self._keepers[identity][0]

    def _of_identity(self, identity: str, clusters: list[Cluster]) -> Iterator[Cluster]:
        return (cluster for cluster in clusters if self._identity(cluster) == identity)

    def _is_mine(self, identity: str, cluster_name: str) -> bool:
        """Whether jobs of this cluster may be removed under this identity, wanted or not."""
        if identity == SERVICE:
            return True
        cluster = self.store.db.get_cluster(cluster_name)
        return cluster is not None and self._identity(cluster) == identity

    async def forget(self, cluster_name: str) -> None:
        """End the keeper of a cluster that the database has forgotten, where it has one of its own."""
        self._orders.pop(cluster_name, None)
        if self._by_session and cluster_name in self._keepers:
            await self._end(*self._keepers.pop(cluster_name))

    async def clear(self, seconds: float) -> None:
        """Until no job is left in any queue, or the time is over."""
        deadline = time.time() + seconds

        async def clear(keeper: Keeper) -> None:
            with contextlib.suppress(CondorError):
                await keeper.clear(deadline)

        await asyncio.gather(*(clear(keeper) for keeper, _ in self._keepers.values()))

    def stop(self) -> None:
        """Let every keeper end after its present round."""
        for keeper, _ in self._keepers.values():
            keeper.stop()

    async def close(self) -> None:
        pairs, self._keepers = list(self._keepers.values()), {}
        await asyncio.gather(*(self._end(*pair) for pair in pairs))

    @staticmethod
    async def _end(keeper: Keeper, task: asyncio.Task[None]) -> None:
        keeper.stop()
        task.cancel()
        await asyncio.wait([task])
        await keeper.schedd.close()
