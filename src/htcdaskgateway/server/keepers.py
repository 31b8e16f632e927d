"""Which keeper has which cluster: that is, under whose identity its jobs are submitted, and where.

One keeper for all where the gateway submits under its own identity, one a user where it has a token of
each, one a cluster where the sessions of its owner submit; and of each one a schedd, where it chooses.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from logging import Logger, LoggerAdapter
from random import random
from typing import Any

from dask_gateway_server.backends.db_base import Cluster

from htcdaskgateway.condor.schedd import Schedd
from htcdaskgateway.errors import CondorError, ConfigurationError
from htcdaskgateway.server.keeper import Keeper
from htcdaskgateway.server.reasons import in_one_line
from htcdaskgateway.server.sessions import Sessions
from htcdaskgateway.server.settings import HTCondorSettings
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.ways import SERVICE, Way, Ways, schedd_of
from htcdaskgateway.server.worker_logs import last_words, worker_logs
from htcdaskgateway.server.workers import describe


class Keepers:
    """Keepers, made when their first cluster needs one.

    Parameters
    ----------
    site : HTCondorSettings
    gateway : str
        Instance id that the jobs of this gateway carry.
    store : WorkerStore
    sessions : Sessions
        Who submits, where the gateway does not.
    """

    def __init__(
        self,
        site: HTCondorSettings,
        gateway: str,
        store: WorkerStore,
        sessions: Sessions,
        log: Logger | LoggerAdapter[Any],
    ) -> None:
        self.site, self.gateway, self.store, self.sessions, self.log = site, gateway, store, sessions, log
        self._access = site.condor_access
        self._by_session = site.submitter == "session"
        self._ways = Ways(self._access, self._by_session, store.db)
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
        self._own_keeper(self._ways.of(cluster)._replace(schedd=schedd), cluster)
        return {"schedd": schedd} if schedd else {}

    def of(self, cluster: Cluster) -> Keeper:
        """Give the keeper of a cluster.

        Raises
        ------
        ConfigurationError
            There is no way to HTCondor for its owner.
        """
        way = self._ways.of(cluster)
        if self._by_session:
            # All sessions use the schedd that has the jobs already.
            return self._keeper(way, lambda: self.sessions.schedd(cluster, schedd_of([cluster])))
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

    async def logs(self, cluster: Cluster, worker: str, tail: int | None) -> dict[str, dict[str, str]]:
        """What workers wrote, as `worker_logs`."""
        return await worker_logs(self.site, cluster, self._session_of(cluster), worker, tail)

    async def _last_words(self, cluster: Cluster, worker: str) -> str:
        return await last_words(self.site, cluster, self._session_of(cluster), worker)

    def _session_of(self, cluster: Cluster) -> Schedd | None:
        return self.of(cluster).schedd if self._by_session else None

    def _own_keeper(self, way: Way, cluster: Cluster | None = None) -> Keeper:
        """Give the keeper of a way on which the gateway itself submits; ``cluster`` goes it."""
        user = cluster.username if cluster else ""

        def schedd() -> Schedd:
            return self._access.access(user).schedd(self._ways.schedd_name(way, user))

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
                clusters=lambda: self._ways.that_go(way, self.store.running_clusters()),
                is_mine=lambda name: self._ways.may_remove(way, name),
                sandbox=lambda name: str(self.site.sandbox(name).path),
            )
            self._keepers[way] = keeper, asyncio.ensure_future(keeper.run())
        return self._keepers[way][0]

    async def forget(self, cluster_name: str) -> None:
        """End the keepers that no cluster needs, now that the database has forgotten this one."""
        self.sessions.forget(cluster_name)
        for way in self._ways.not_needed(self._keepers):
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
