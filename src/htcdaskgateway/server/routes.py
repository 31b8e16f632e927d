"""What this gateway tells beside dask-gateway's own routes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiohttp import web
from dask_gateway_server.routes import api_handler

if TYPE_CHECKING:
    from htcdaskgateway.server.backend import HTCondorBackend

LONGEST_WAIT = 20.0  # seconds; dask-gateway's own `?wait` takes as long

routes = web.RouteTableDef()


@routes.get("/api/v1/clusters/{cluster_name}/workers")
@api_handler(user_authenticated=True)
async def get_workers(request: web.Request) -> web.Response:
    """Worker records of a cluster, for its owner.

    With ``?since=REVISION`` the answer comes when something has changed since that revision, after 20 s
    at the latest.
    """
    backend: HTCondorBackend = request.app["backend"]
    name = request.match_info["cluster_name"]
    cluster = backend.db.get_cluster(name)
    if cluster is None:
        raise web.HTTPNotFound(reason=f"Cluster {name!r} not found")
    user = request["user"]
    if not user.has_permissions(cluster.to_model()):
        raise web.HTTPForbidden(reason=f"User {user.name} lacks permissions to view cluster {name}")
    watch = backend.store.watch(cluster)
    if request.query.get("since") == str(watch.revision):
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(watch.changed.wait(), LONGEST_WAIT)
    return web.json_response(
        {
            "revision": watch.revision,
            "submitter": "gateway",
            "status": cluster.model_status.name.lower(),
            "count": cluster.count,
            "maximum": cluster.config.get("cluster_max_workers"),
            "gave_up": backend.store.given_up(cluster),
            "problem": backend.problem(cluster),
            "workers": [record.to_json() for record in backend.store.report(cluster)],
        }
    )
