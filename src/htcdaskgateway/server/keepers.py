"""Which keeper has which cluster: that is, under whose identity its jobs are submitted, and where.

One keeper for all where the gateway submits under its own identity, one a user where it has a token of
each, one a cluster where the sessions of its owner submit; and of each one a schedd, where it chooses.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from logging import Logger, LoggerAdapter
from random import random
from typing import Any, NamedTuple

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


class Way(NamedTuple):
    """How the jobs of a cluster come to HTCondor: who submits them, and to which schedd.

    Attributes
    ----------
    identity : str
        A user where the gateway has tokens, a cluster where sessions submit, or ``SERVICE``.
    schedd : str
        The one that was chosen; empty: there is no choice.
    """

    identity: str
    schedd: str = ""


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
        self._keepers: dict[Way, tuple[Keeper, asyncio.Task[None]]] = {}

    def start(self) -> None:
        """Begin with the keepers that need no cluster: jobs that are left over may be in the queue."""
        if self._by_session:
            return
        if not self._access.token_directory:
            for schedd in self._access.schedd_names or ([] if self._access.chooses else [""]):
                self._own_keeper(Way(SERVICE, schedd))
        for cluster in list(self.store.db.active_clusters()):
            self.kick(cluster)

    async def choose(self, cluster: Cluster) -> dict[str, str]:
        """Find the way of a cluster that starts; what of it the cluster's state is to remember.

        Raises
        ------
        ConfigurationError
            There is no way to HTCondor for its owner.
        ScheddUnavailableError
            No schedd can take jobs, or the collector cannot be asked for them.
        """
        if self._by_session:
            return {}
        access = self._access.access(cluster.username)
        schedd = await access.choose_schedd(random) if access.chooses else ""
        self._own_keeper(self._way(cluster)._replace(schedd=schedd), cluster)
        return {"schedd": schedd} if schedd else {}

    def of(self, cluster: Cluster) -> Keeper:
        """Give the keeper of a cluster.

        Raises
        ------
        ConfigurationError
            There is no way to HTCondor for its owner.
        """
        way = self._way(cluster)
        if self._by_session:
            return self._keeper(way, lambda: self._session_schedd(cluster))
        if not way.schedd and self._access.chooses:
            raise ConfigurationError(f"No schedd was chosen for cluster {cluster.name}.")
        return self._own_keeper(way, cluster)

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
        if self._by_session and isinstance(schedd := self.of(cluster).schedd, SessionSchedd):
            return await schedd.logs(worker, tail)
        return await asyncio.to_thread(self.site.sandbox(cluster.name).logs, worker, tail)

    async def _last_words(self, cluster: Cluster, worker: str) -> str:
        try:
            streams = (await self.logs(cluster, worker, LAST_LINES)).get(worker, {})
        except HTCDaskError:  # they are only an addition
            return ""
        lines = [line.strip() for line in streams.get("err", "").splitlines() if line.strip()]
        return lines[-1][:LONGEST_LINE] if lines else ""

    def _way(self, cluster: Cluster) -> Way:
        if self._by_session:
            return Way(str(cluster.name))
        identity = str(cluster.username) if self._access.token_directory else SERVICE
        schedd = str(cluster.state.get("schedd", ""))
        if not schedd and self._access.chooses:  # it is older than the choice
            schedd = _schedd_of([cluster])
        return Way(identity, schedd)

    def _session_schedd(self, cluster: Cluster) -> SessionSchedd:
        # All sessions use the schedd that has the jobs already.
        orders, seconds = self.orders(cluster), self.site.session_timeout
        return SessionSchedd(cluster.name, cluster.username, orders, seconds, _schedd_of([cluster]))

    def _own_keeper(self, way: Way, cluster: Cluster | None = None) -> Keeper:
        """Give the keeper of a way on which the gateway itself submits; ``cluster`` goes it."""

        def schedd() -> Schedd:
            access = self._access.access(cluster.username if cluster else "")
            name = way.schedd
            if not (name or access.schedd_name) and "condor_submit" in access.programs:
                # A wrapper may have chosen it, and would choose another one now.
                name = _schedd_of([c for c in self.store.db.active_clusters() if self._way(c) == way])
            return access.schedd(name)

        return self._keeper(way, schedd)

    def _keeper(self, way: Way, schedd: Callable[[], Schedd]) -> Keeper:
        if way not in self._keepers:
            keeper = Keeper(
                schedd(),
                self.gateway,
                self.store,
                describe=lambda cluster, names: describe(self.site, self.gateway, cluster, names),
                last_words=self._last_words,
                limits=self.site.limits,
                log=self.log,
                clusters=lambda: list(self._that_go(way, self.store.running_clusters())),
                is_mine=lambda name: self._is_mine(way, name),
                sandbox=lambda name: str(self.site.sandbox(name).path),
            )
            self._keepers[way] = keeper, asyncio.ensure_future(keeper.run())
        return self._keepers[way][0]

    def _that_go(self, way: Way, clusters: list[Cluster]) -> Iterator[Cluster]:
        return (cluster for cluster in clusters if self._way(cluster) == way)

    def _is_mine(self, way: Way, cluster_name: str) -> bool:
        """Whether jobs of this cluster may be removed on this way, wanted or not."""
        if way.identity == SERVICE:
            return True
        cluster = self.store.db.get_cluster(cluster_name)
        return cluster is not None and self._way(cluster) == way

    async def forget(self, cluster_name: str) -> None:
        """End the keepers that no cluster needs, now that the database has forgotten this one."""
        self._orders.pop(cluster_name, None)
        needed = {self._way(cluster) for cluster in self.store.db.name_to_cluster.values()}
        for way in set(self._keepers) - needed:
            if way.identity != SERVICE:
                await self._end(*self._keepers.pop(way))

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


def _schedd_of(clusters: list[Cluster]) -> str:
    """Name of the schedd that has jobs of these clusters."""
    workers = (worker for cluster in clusters for worker in cluster.workers.values())
    return next((str(w.state["schedd"]) for w in workers if w.state.get("schedd")), "")
