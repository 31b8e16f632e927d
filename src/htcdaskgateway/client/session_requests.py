"""What a session asks the gateway for: its orders for a cluster, and which clusters its user has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp

from htcdaskgateway.client.answers import NO_ROUTE
from htcdaskgateway.client.conversation import TooLargeError
from htcdaskgateway.errors import GatewayUnreachableError, InvalidRequestError

if TYPE_CHECKING:
    from htcdaskgateway.client.gateway import HTCGateway


async def poll(gateway: HTCGateway, cluster: str, body: dict[str, Any]) -> object:
    """Say something to the gateway as a session of this cluster; its answer.

    Raises
    ------
    TooLargeError
        The gateway takes no body as large as that.
    AuthenticationError, InvalidRequestError, RefusedError
        The gateway itself refuses, or knows of no such cluster.
    GatewayUnreachableError
        It does not answer, or something else does.
    """
    url = f"{gateway.address}/api/v1/clusters/{cluster}/session"
    try:
        answer = await gateway._request("POST", url, json=body)
    except aiohttp.ClientResponseError as error:
        if error.status == 413:
            raise TooLargeError(error.message) from error
        raise
    except InvalidRequestError as error:
        if error.sentence == NO_ROUTE:  # of another gateway for a while: the cluster is not unknown
            raise GatewayUnreachableError(gateway.address, error.sentence) from error
        raise
    told: object = await answer.json()
    return told


async def ask_mine(gateway: HTCGateway) -> object:
    """Ask by what the jobs of this user are known, and which of their clusters there are."""
    told: object = await (await gateway._request("GET", f"{gateway.address}/api/v1/mine")).json()
    return told
