"""What commands have in common that ask a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import click
from click.shell_completion import CompletionItem
from dask_gateway import GatewayServerError

from htcdaskgateway.client.errors import NoAddressError, RefusedError
from htcdaskgateway.client.gateway import HTCGateway
from htcdaskgateway.client.site import SiteFacts
from htcdaskgateway.errors import HTCDaskError, InvalidRequestError, shown

COMPLETION_SECONDS = 3.0  # that a shell may wait for names
SITE_SECONDS = 3.0  # that a command waits for a gateway without which it works as well
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

address_option: Decorator = click.option(
    "--address", metavar="URL", help="Of the gateway. [default: gateway.address of Dask]"
)
json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")


@asynccontextmanager
async def gateway_at(address: str | None) -> AsyncIterator[HTCGateway]:
    """Give a client of this gateway, or of the one of Dask's configuration.

    Raises
    ------
    NoAddressError, InvalidRequestError
        There is no address, or it cannot be one.
    """
    async with HTCGateway(address, asynchronous=True) as gateway:
        try:
            yield gateway
        except (aiohttp.ClientError, GatewayServerError) as error:  # an error inside the gateway
            raise RefusedError(str(error)) from error


def site_if_told() -> tuple[SiteFacts, str]:
    """Ask the gateway of Dask's configuration for its site, if there is one.

    Returns
    -------
    SiteFacts
        Those of no site, if there is no such gateway or it does not answer at once.
    str
        Why not; empty if it has answered, or there is none.
    """

    async def ask() -> SiteFacts:
        async with gateway_at(None) as gateway:
            return await gateway._site()

    async def bounded() -> SiteFacts:
        return await asyncio.wait_for(ask(), SITE_SECONDS)

    try:
        return asyncio.run(bounded()), ""
    except NoAddressError:
        return SiteFacts(), ""
    except HTCDaskError as error:
        return SiteFacts(), error.sentence
    except asyncio.TimeoutError:
        return SiteFacts(), f"No answer within {SITE_SECONDS:g} s."
    except (OSError, ValueError, LookupError, TypeError) as error:  # of ways to authenticate, too
        return SiteFacts(), f"{type(error).__name__}: {error}."


async def cluster_names(gateway: HTCGateway) -> list[str]:
    """Names of the user's clusters that have not ended."""
    return [str(report.name) for report in await gateway._clusters()]


def pick(names: list[str], meant: str | None) -> str:
    """Find the cluster that is meant: by its name, by the beginning of it, or as the only one. Pure.

    Raises
    ------
    InvalidRequestError
    """
    if meant is None:
        found = names
        what = "You have no cluster." if not names else f"You have {len(names)} clusters: say which."
    else:
        found = [name for name in names if name == meant] or [
            name for name in names if meant and name.startswith(meant)
        ]
        which = "Several of your clusters begin" if found else "None of your clusters begins"
        what = f"{which} with {shown(meant)}."
    if len(found) == 1:
        return found[0]
    facts = {"clusters": "\n".join(names[:20])} if names else {}
    raise InvalidRequestError(what, facts, "`htcdask clusters` lists them.")


def complete_cluster(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of clusters for a shell; none, if the gateway does not answer at once."""

    async def ask() -> list[str]:
        async with gateway_at(ctx.params.get("address")) as gateway:
            return await cluster_names(gateway)

    async def bounded() -> list[str]:
        return await asyncio.wait_for(ask(), COMPLETION_SECONDS)

    try:
        names = asyncio.run(bounded())
    except (HTCDaskError, asyncio.TimeoutError, OSError, ValueError):
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
