"""Who has answered: the gateway, or what stands in front of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import aiohttp

NO_ROUTE = "404: Not Found"  # aiohttp's words for a path that the gateway does not know
_UNKNOWN_CLUSTER = re.compile(r"Cluster .* not found", re.DOTALL)
_WRONG_OPTION = re.compile(  # in the words of dask-gateway's options
    r"Unknown fields |\S+ must be ([<>]=|an?) |.* is not a valid option for ", re.DOTALL
)


class NotTheGatewayError(Exception):
    """Something else has answered: a gateway proxy that has no routes yet, or a load balancer."""


async def only_the_gateway(answer: aiohttp.ClientResponse) -> None:
    """Let no other program say for the gateway that there is no such thing; for aiohttp's raise_for_status.

    A gateway proxy has no routes until the gateway has started: it answers 404 for every cluster.

    Raises
    ------
    NotTheGatewayError
        Says what was answered, in one line.
    """
    if answer.status in (404, 422):
        text = await answer.text(errors="replace")
        if not is_the_gateways(answer.status, text):
            raise NotTheGatewayError(" ".join(f"{answer.status} {text}".split())[:200])


def is_the_gateways(status: int, text: str) -> bool:
    """Whether a gateway answers in these words with 404 or 422: dask-gateway's JSON. Pure."""
    words = _error(text)
    if status == 422:
        return words is not None
    said = text.strip() if words is None else words
    return said == NO_ROUTE or (words is not None and _UNKNOWN_CLUSTER.fullmatch(words) is not None)


def remedy(words: str) -> str:
    """What to do about what the gateway has refused; empty if that is not known. Pure."""
    if _UNKNOWN_CLUSTER.fullmatch(words):
        return "gateway.list_clusters() lists the clusters that there are."
    if _WRONG_OPTION.match(words):
        return "gateway.cluster_options() shows the options and their limits."
    return ""


def _error(text: str) -> str | None:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    error = told.get("error") if isinstance(told, Mapping) else None
    return error if isinstance(error, str) else None
