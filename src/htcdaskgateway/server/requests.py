"""Whose cluster a request is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from dask_gateway_server.backends.db_base import Cluster

if TYPE_CHECKING:
    from htcdaskgateway.server.backend import HTCondorBackend


def owned_cluster(request: web.Request) -> Cluster:
    """Give the cluster that the path names, for its owner only; refuses as dask-gateway's own routes do."""
    backend: HTCondorBackend = request.app["backend"]
    name = request.match_info["cluster_name"]
    cluster: Cluster | None = backend.db.get_cluster(name)
    if cluster is None:
        raise web.HTTPNotFound(reason=f"Cluster {_printable(name)} not found")
    user = request["user"]
    if not user.has_permissions(cluster.to_model()):
        raise web.HTTPForbidden(reason=f"User {user.name} lacks permissions to view cluster {name}")
    return cluster


def _printable(name: str) -> str:
    """As it is, unless it would break the line."""
    return ascii(name)[1:-1]
