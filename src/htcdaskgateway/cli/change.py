"""``htcdask scale``, ``htcdask shutdown``."""

from __future__ import annotations

import asyncio
import json
import time

import click
from dask_gateway.client import ClusterStatus

from htcdaskgateway.cli.gateway import (
    address_option,
    cluster_names,
    complete_cluster,
    gateway_at,
    json_option,
    pick,
)
from htcdaskgateway.cli.remedies import about
from htcdaskgateway.client.gateway import HTCGateway
from htcdaskgateway.client.submitter import FINISH_SECONDS
from htcdaskgateway.client.views.model import ClusterView, look


@click.command()
@click.argument("cluster", shell_complete=complete_cluster)
@click.argument("n", type=click.IntRange(min=0), metavar="N")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for them so long.")
@address_option
@json_option
def scale(cluster: str, n: int, wait: float | None, address: str | None, as_json: bool) -> None:
    """Scale CLUSTER to N workers, and say why some do not come.

    CLUSTER is its name or the beginning of it. Returns when their jobs are in HTCondor's queue, or with
    --wait when they run. Where users' sessions submit, this command is one; a notebook that has the
    cluster goes on submitting for it.
    """
    with about(cluster):
        view = asyncio.run(scale_cluster(address, cluster, n, wait))
    if as_json:
        click.echo(json.dumps(view.to_json(), indent=2))
        return
    workers = f"{view.wanted} worker{'s' * (view.wanted != 1)}"
    click.echo(f"Cluster {view.name} is scaled to {workers}: {view.states}.")


@click.command()
@click.argument("clusters", nargs=-1, metavar="[CLUSTER]...", shell_complete=complete_cluster)
@click.option("--all", "every", is_flag=True, help="All of your clusters.")
@address_option
@json_option
def shutdown(clusters: tuple[str, ...], every: bool, address: str | None, as_json: bool) -> None:
    """Shut clusters down: their schedulers, their workers and the jobs that wait.

    CLUSTER is a cluster's name or the beginning of it.
    """
    if bool(clusters) == every:
        raise click.UsageError("Name the clusters, or give --all.")
    names = asyncio.run(stop_clusters(address, clusters, every))
    if as_json:
        click.echo(json.dumps({"shut_down": names}, indent=2))
        return
    click.echo("\n".join(f"Cluster {name} is shut down." for name in names) or "You have no cluster.")


async def scale_cluster(address: str | None, cluster: str, n: int, wait: float | None) -> ClusterView:
    """Scale, and say what there is then."""
    async with gateway_at(address) as gateway:
        name = pick(await cluster_names(gateway), cluster)
        async with gateway.connect(name) as control:
            await control.scale(n)
            if wait is not None:
                await control.wait_for_workers(n, timeout=wait)
            return look(name, await control.report(), time.time())


async def stop_clusters(address: str | None, meant: tuple[str, ...], every: bool) -> list[str]:
    """Stop, one after the other; the names of those that were stopped."""
    async with gateway_at(address) as gateway:
        known = await cluster_names(gateway)
        names = known if every else [pick(known, one) for one in dict.fromkeys(meant)]
        by_session = (await gateway._site()).submitter == "session"
        for name in names:
            status = (await gateway._cluster_report(name)).status
            if by_session and status is ClusterStatus.RUNNING:
                await _stop_by_session(gateway, name)
            else:
                await gateway._stop_cluster(name)
        return names


async def _stop_by_session(gateway: HTCGateway, name: str) -> None:
    """Be the session that removes the jobs, unless another one is there."""
    cluster = gateway.connect(name)
    async with cluster:
        await cluster.shutdown()
    if (submitter := cluster._submitter) is not None:
        await asyncio.to_thread(submitter.join, FINISH_SECONDS)
