"""Tells users how many slots of the pool match their workers' jobs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web
from dask_gateway_server.routes import api_handler

from htcdaskgateway.condor.need import Need
from htcdaskgateway.condor.slot_query import ask_slots
from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.server.reasons import in_one_line
from htcdaskgateway.server.requests import owned_cluster
from htcdaskgateway.server.settings import HTCondorSettings
from htcdaskgateway.server.workers import jobs

if TYPE_CHECKING:
    from htcdaskgateway.server.backend import HTCondorBackend

FRESH = 15.0  # seconds; a collector's own news of its slots is older
MOST_KEPT = 200

routes = web.RouteTableDef()


class SlotMatches:
    """What the collector was asked lately: one query at a time, however many users look.

    Parameters
    ----------
    site : HTCondorSettings
    """

    def __init__(self, site: HTCondorSettings) -> None:
        self._site = site
        self._known: dict[tuple[str, Need], tuple[float, dict[str, Any]]] = {}
        self._lock = asyncio.Lock()

    async def of(self, user: str, cluster: str, config: Any) -> dict[str, Any]:
        """What a worker needs, and the slots for it; where sessions submit, they ask for these themselves."""
        need = Need.of_commands(jobs(self._site, "gateway", cluster, user, config, ["worker"]).commands)
        access = self._site.condor_access
        if self._site.submitter == "session" or access.interface == "processes":
            return {"need": vars(need), "match": None, "problem": ""}
        key = (user if access.token_directory else "", need)
        async with self._lock:
            now = time.monotonic()
            fresh = {asked: (at, told) for asked, (at, told) in self._known.items() if now - at < FRESH}
            self._known = dict(list(fresh.items())[-MOST_KEPT:])
            if key not in self._known:
                self._known[key] = now, await self._ask(user, need)
            return {"need": vars(need), **self._known[key][1]}

    async def _ask(self, user: str, need: Need) -> dict[str, Any]:
        try:
            match = await ask_slots(self._site.condor_access.access(user), need)
        except HTCDaskError as error:
            return {"match": None, "problem": in_one_line(error)}
        return {"match": match.to_json(), "problem": ""}


@routes.get("/api/v1/match")
@api_handler(user_authenticated=True)
async def get_default_match(request: web.Request) -> web.Response:
    """For workers as they are where the user asks for nothing else."""
    backend: HTCondorBackend = request.app["backend"]
    config = backend.cluster_config_class(parent=backend)
    return web.json_response(await backend.slot_matches.of(request["user"].name, "cluster", config))


@routes.get("/api/v1/clusters/{cluster_name}/match")
@api_handler(user_authenticated=True)
async def get_match(request: web.Request) -> web.Response:
    """For the workers of a cluster, for its owner."""
    backend: HTCondorBackend = request.app["backend"]
    cluster = owned_cluster(request)
    return web.json_response(await backend.slot_matches.of(cluster.username, cluster.name, cluster.config))
