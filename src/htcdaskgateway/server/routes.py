"""What this gateway tells beside dask-gateway's own routes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiohttp import web
from dask_gateway_server.models import ClusterStatus
from dask_gateway_server.routes import api_handler

from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.server.reasons import in_one_line
from htcdaskgateway.server.report import report
from htcdaskgateway.server.requests import owned_cluster

if TYPE_CHECKING:
    from htcdaskgateway.server.backend import HTCondorBackend

LONGEST_WAIT = 20.0  # seconds; dask-gateway's own `?wait` takes as long

routes = web.RouteTableDef()


@routes.get("/api/v1/site")
@api_handler(user_authenticated=True)
async def get_site(request: web.Request) -> web.Response:
    """What a session needs to know before it asks for a cluster."""
    return web.json_response(request.app["backend"].site_facts())


@routes.get("/api/v1/mine")
@api_handler(user_authenticated=True)
async def get_mine(request: web.Request) -> web.Response:
    """By what the jobs of who asks are known, and which of their clusters there are.

    Jobs that carry both names and belong to no such cluster are left over.
    """
    backend: HTCondorBackend = request.app["backend"]
    user = request["user"].name
    clusters = backend.db.list_clusters(username=user, statuses=set(ClusterStatus))
    ended = (ClusterStatus.STOPPED, ClusterStatus.FAILED)
    running = [cluster.name for cluster in clusters if cluster.model_status not in ended]
    return web.json_response({"gateway": backend.keepers.gateway, "user": user, "clusters": running})


@routes.get("/api/v1/clusters/{cluster_name}/workers")
@api_handler(user_authenticated=True)
async def get_workers(request: web.Request) -> web.Response:
    """Worker records of a cluster, for its owner.

    With ``?since=REVISION`` the answer comes when something has changed since that revision, after 20 s
    at the latest.
    """
    backend: HTCondorBackend = request.app["backend"]
    cluster = owned_cluster(request)
    watch = backend.store.watch(cluster)
    if request.query.get("since") == str(watch.revision):
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(watch.changed.wait(), LONGEST_WAIT)
    return web.json_response(
        {
            "revision": watch.revision,
            "submitter": backend.submitter,
            "session": backend.sessions.about(cluster),
            "status": cluster.model_status.name.lower(),
            "count": cluster.count,
            "adapts": cluster.state.get("adapts"),
            "maximum": cluster.config.get("cluster_max_workers"),
            "gave_up": backend.store.given_up(cluster),
            "problem": backend.problem(cluster),
            "cores": cluster.config.get("worker_cores"),
            "memory": cluster.config.get("worker_memory"),
            "image": cluster.config.get("image", ""),
            "workers": [record.to_json() for record in report(backend.store, cluster)],
        }
    )


@routes.get("/api/v1/clusters/{cluster_name}/logs")
@api_handler(user_authenticated=True)
async def get_logs(request: web.Request) -> web.Response:
    """What workers wrote, for the cluster's owner: of ``?worker=NAME`` or of all, ``?tail=LINES`` of each."""
    backend: HTCondorBackend = request.app["backend"]
    cluster = owned_cluster(request)
    tail = request.query.get("tail", "")
    if tail and not (tail.isdecimal() and len(tail) < 8):
        raise web.HTTPUnprocessableEntity(reason=f"tail is no number of lines: {tail[:40]!r}")
    try:
        logs = await backend.keepers.logs(
            cluster, request.query.get("worker", ""), int(tail) if tail else None
        )
    except HTCDaskError as error:
        raise web.HTTPUnprocessableEntity(reason=in_one_line(error)) from error
    return web.json_response({"logs": logs})
