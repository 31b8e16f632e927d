"""How many workers a user wants: the scheduler is told, and `scale` answers when their jobs are submitted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from logging import Logger, LoggerAdapter
from typing import Any

from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.backends.db_base import Cluster

from htcdaskgateway.errors import HTCDaskError, ScheddSilentError
from htcdaskgateway.server.keepers import Keepers
from htcdaskgateway.server.reasons import in_one_line
from htcdaskgateway.server.store import WorkerStore

SCHEDULER_WAIT = 10.0  # seconds that a scheduler may take to answer
HEARTBEAT_WAIT = 5.0  # seconds; a scheduler sends one at once when its count changes

Tell = Callable[[dict[str, Any]], Awaitable[None]]


def check_message(msg: Mapping[str, Any]) -> None:
    """Refuse what the scheduler could not make sense of: in JSON, and in Python, true is a number."""
    for name in ("count", "minimum", "maximum"):
        value = msg.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise PublicException(f"{name} must be a whole number of workers, not {value!r}.")


class Scaling:
    """Requests to scale or adapt, one at a time for a cluster."""

    def __init__(self, store: WorkerStore, keepers: Keepers, log: Logger | LoggerAdapter[Any]) -> None:
        self.store, self.keepers, self.log = store, keepers, log

    async def request(self, cluster: Cluster, msg: dict[str, Any], tell: Tell) -> None:
        """Do as the user asked. A scale request whose jobs are refused changes nothing.

        Parameters
        ----------
        cluster : Cluster
        msg : dict
            As `check_message` lets it pass.
        tell : callable
            ``async (msg)``, brings a message to the cluster's scheduler.

        Raises
        ------
        PublicException
            The jobs were refused, or the scheduler does not answer.
        """
        # One request at a time for a cluster; the others do not wait for its scheduler, which may hang.
        async with self.store.watch(cluster).scaling:
            before = cluster.count
            self.store.try_again(cluster)
            await _tell(cluster, msg, tell)  # first: it retires every worker above its count
            self._remember(cluster, msg)
            if msg["op"] == "scale":
                await self._follow_count(cluster, msg["count"])
                try:
                    keeper = self.keepers.of(cluster)
                    async with keeper.lock:
                        await keeper.submit(cluster)
                except ScheddSilentError as error:
                    self.log.warning("Cluster %s: %s", cluster.name, error)  # the keeper finds out
                except HTCDaskError as error:
                    await _tell(cluster, {"op": "scale", "count": before}, tell)
                    await self._follow_count(cluster, before)
                    raise PublicException(in_one_line(error)) from error
        self.keepers.kick(cluster)

    def _remember(self, cluster: Cluster, msg: Mapping[str, Any]) -> None:
        """Who decides on the count: the scheduler alone knows, and tells nobody."""
        adapts = msg["op"] == "adapt" and msg.get("active", True)
        bounds = [msg.get("minimum"), msg.get("maximum")] if adapts else None
        if cluster.state.get("adapts") != bounds:
            self.store.db.update_cluster(cluster, state={**cluster.state, "adapts": bounds})
            self.store.watch(cluster).touch()

    async def _follow_count(self, cluster: Cluster, count: int) -> None:
        """Wait for the heartbeat that has this count: the scheduler's word is the only one that counts."""
        deadline = time.monotonic() + HEARTBEAT_WAIT
        while cluster.count != count and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.store.watch(cluster).changed.wait(), left)
        self.store.match_count(cluster)


async def _tell(cluster: Cluster, msg: dict[str, Any], tell: Tell) -> None:
    try:
        await asyncio.wait_for(tell(msg), SCHEDULER_WAIT)
    except asyncio.TimeoutError as error:
        raise PublicException(
            f"The scheduler of cluster {cluster.name} did not answer in {SCHEDULER_WAIT:g} s."
        ) from error
