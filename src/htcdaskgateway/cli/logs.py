"""``htcdask logs``."""

from __future__ import annotations

import asyncio
import json

import click

from htcdaskgateway.cli.gateway import cluster_names, complete_cluster, gateway_at, pick
from htcdaskgateway.cli.remedies import about
from htcdaskgateway.client.log_sources import collect
from htcdaskgateway.client.logs import Logs


@click.command()
@click.argument("cluster", shell_complete=complete_cluster)
@click.argument("worker", required=False)
@click.option("--tail", type=click.IntRange(min=1), metavar="N", help="Only the last N lines of each log.")
@click.option("--address", metavar="URL", help="Of the gateway. [default: gateway.address of Dask]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def logs(cluster: str, worker: str | None, tail: int | None, address: str | None, as_json: bool) -> None:
    """Show what the workers of CLUSTER wrote, or one of them.

    CLUSTER is its name, or the beginning of it while it runs; one that has ended has logs for a while.
    WORKER is a worker's name or the beginning of it, its name in Dask, or its job id.

    Of a worker whose job has ended this is its standard output and error, of one that runs what it has
    logged so far. The gateway and its authentication are those of Dask's configuration.
    """
    with about(cluster):
        found = asyncio.run(ask(cluster, worker, tail, address))
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else readable(str(found)))


def readable(text: str) -> str:
    """Give what others wrote without what a terminal would act on; ends of lines and tabs stay."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")  # a progress bar's
    unknown = "\N{REPLACEMENT CHARACTER}"
    return "".join(one if one.isprintable() or one in "\n\t" else unknown for one in lines)


async def ask(cluster: str, worker: str | None, tail: int | None, address: str | None) -> Logs:
    """Ask the gateway and the workers that run."""
    async with gateway_at(address) as gateway:
        known = await cluster_names(gateway)
        if any(name.startswith(cluster) for name in known):
            cluster = pick(known, cluster)
        return await collect(gateway, cluster, worker, tail)
