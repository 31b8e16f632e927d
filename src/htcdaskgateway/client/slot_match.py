"""How many slots match a worker's job: told by the gateway, or asked of HTCondor where sessions submit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from dask_gateway import GatewayServerError

from htcdaskgateway.client.condor_access import configured_access
from htcdaskgateway.condor.need import Need
from htcdaskgateway.condor.slot_query import ask_slots
from htcdaskgateway.condor.slots import SlotMatch
from htcdaskgateway.errors import HTCDaskError

if TYPE_CHECKING:
    from htcdaskgateway.client.gateway import HTCGateway

SECONDS = 30.0  # that all of it may take


@dataclass(frozen=True)
class Found:
    """What a worker needs, how many slots match it, and why that is not known."""

    need: Need | None = None
    match: SlotMatch | None = None
    problem: str = ""


async def slot_match(gateway: HTCGateway, cluster: str = "", *, submits: bool) -> Found:
    """Find out how many slots match; that it cannot be found out is no error.

    Parameters
    ----------
    gateway : HTCGateway
    cluster : str, optional
        Without one, for workers as they are where nothing is asked for.
    submits : bool
        Whether this session submits jobs, and so can ask HTCondor.
    """
    path = f"clusters/{cluster}/match" if cluster else "match"
    try:
        return await asyncio.wait_for(_ask(gateway, path, submits), SECONDS)
    except asyncio.TimeoutError:
        return Found(problem=f"no answer within {SECONDS:g} s")
    except HTCDaskError as error:
        return Found(problem=" ".join(f"{error.sentence} {getattr(error, 'words', '')}".split()))
    except (GatewayServerError, aiohttp.ClientError, ValueError, LookupError, TypeError) as error:
        return Found(problem=f"the answer of the gateway is not understood: {error}")


async def _ask(gateway: HTCGateway, path: str, submits: bool) -> Found:
    answer = await gateway._request("GET", f"{gateway.address}/api/v1/{path}")
    told: Mapping[str, Any] = await answer.json()
    need = Need.from_json(told["need"])
    if told["match"] is not None:
        return Found(need, SlotMatch.from_json(told["match"]))
    if submits:
        access = configured_access()
        if access.interface != "processes":
            return Found(need, await ask_slots(access, need))
    return Found(need, problem=str(told["problem"]))
