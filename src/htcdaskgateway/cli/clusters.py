"""``htcdask clusters``, ``htcdask workers``: what there is."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
import click
from dask_gateway.client import ClusterReport

from htcdaskgateway.cli.gateway import (
    address_option,
    cluster_names,
    complete_cluster,
    gateway_at,
    json_option,
    pick,
)
from htcdaskgateway.client.gateway import HTCGateway
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.slot_match import Found, slot_match
from htcdaskgateway.client.views.model import ClusterView, Surroundings, look
from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.records import WorkerState

AT_ONCE = 8  # clusters that are asked for


@click.command()
@address_option
@json_option
def clusters(address: str | None, as_json: bool) -> None:
    """List your clusters, with their workers."""
    views = asyncio.run(ask_clusters(address))
    if as_json:
        click.echo(json.dumps([view.to_json() for view in views], indent=2))
        return
    from htcdaskgateway.cli.views_show import ViewsShow

    ViewsShow().clusters(views)


@click.command()
@click.argument("cluster", required=False, shell_complete=complete_cluster)
@click.option("--all", "with_ended", is_flag=True, help="Those too that have finished as they were asked to.")
@address_option
@json_option
def workers(cluster: str | None, with_ended: bool, address: str | None, as_json: bool) -> None:
    """List the workers of CLUSTER: where each is, and why one does not come.

    CLUSTER is its name or the beginning of it; your only cluster needs no name.
    """
    view, report = asyncio.run(ask_workers(address, cluster))
    records = [one for one in report.workers if with_ended or one.state is not WorkerState.FINISHED]
    if as_json:
        listed = [{**one.to_json(), "dask_name": one.dask_name} for one in records]
        click.echo(json.dumps({**view.to_json(), "workers": listed}, indent=2))
        return
    from htcdaskgateway.cli.views_show import ViewsShow

    ViewsShow().workers(view, records)


async def ask_clusters(address: str | None) -> list[ClusterView]:
    """Views of the user's clusters."""
    turns = asyncio.Semaphore(AT_ONCE)
    async with gateway_at(address) as gateway:

        async def one(known: ClusterReport) -> ClusterView:
            async with turns:
                return await _view(gateway, known)

        return await asyncio.gather(*(one(known) for known in await gateway._clusters()))


async def _view(gateway: HTCGateway, known: ClusterReport) -> ClusterView:
    name, status, around = str(known.name), known.status.name.lower(), _around(known)
    try:
        return look(name, await gateway._workers(name), time.time(), around=around)
    except (
        InvalidRequestError,
        aiohttp.ContentTypeError,
    ):  # it has just ended, or the gateway is none of ours
        return ClusterView(name, status, around=around, now=time.time())


async def ask_workers(address: str | None, cluster: str | None) -> tuple[ClusterView, WorkersReport]:
    """View and report of one cluster; where jobs are idle, with the slots for them."""
    async with gateway_at(address) as gateway:
        name = pick(await cluster_names(gateway), cluster)
        known, report = await asyncio.gather(gateway._cluster_report(name), gateway._workers(name))
        slots: Found | None = None
        if any(worker.state is WorkerState.IDLE for worker in report.workers):
            by_session = (await gateway._site()).submitter == "session"
            slots = await slot_match(gateway, name, submits=by_session)
        return look(name, report, time.time(), slots, _around(known)), report


def _around(known: Any) -> Surroundings:
    return Surroundings(dashboard=str(known.dashboard_link or ""))
