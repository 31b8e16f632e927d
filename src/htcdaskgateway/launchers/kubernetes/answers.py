"""What comes back from the API server, or from whatever is before it: read, and told apart."""

from __future__ import annotations

import asyncio
import json
import re
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp

from htcdaskgateway.errors import shown
from htcdaskgateway.launchers.kubernetes.errors import (
    CredentialsRefusedError,
    KubernetesRefusedError,
    PermissionMissingError,
)

WORDS = 1000  # characters of foreign words that an error shows
LOG_KEPT = 64 * 1024  # bytes of a log's end
LOG_READ = 4 * 2**20  # bytes of it that are asked for: a line may be of any length
HOLDS = {"create": "metadata", "list": "items", "review": "status"}  # what the answers to these verbs have
# Quotas and admission rules refuse with the same status, and words of their own.
_NO_PERMISSION = re.compile(r" cannot [a-z]+ resource ")


class LogEnd(NamedTuple):
    """The last part of what came of a log, and whether that is where the log ends."""

    text: str
    whole: bool


async def text_of(answer: aiohttp.ClientResponse) -> str:
    """Whatever it is: not everybody who answers writes UTF-8, or says what else."""
    return (await answer.read()).decode(errors="replace")


async def object_of(answer: aiohttp.ClientResponse, holds: str = "") -> dict[str, Any]:
    """Read an object that has this key.

    Raises
    ------
    aiohttp.ClientPayloadError
        It is none, as from a proxy that says something itself.
    """
    said = await text_of(answer)
    try:
        found = json.loads(said)
    except ValueError:
        found = None
    if not isinstance(found, dict) or (holds and not isinstance(found.get(holds), (dict, list))):
        raise aiohttp.ClientPayloadError(f"no answer of an API server: {shown(said)}")
    return found


async def log_end_of(answer: aiohttp.ClientResponse) -> LogEnd:
    """Read it to its end and keep the last part, or the last part of what came in time.

    Raises
    ------
    aiohttp.ClientError, asyncio.TimeoutError
        Nothing came.
    """
    kept, length, ended = b"", 0, False
    try:
        async for chunk in answer.content.iter_any():
            kept, length = (kept + chunk)[-LOG_KEPT:], length + len(chunk)
        ended = True
    except (aiohttp.ClientError, asyncio.TimeoutError):
        if not kept:
            raise
    return LogEnd(kept.decode(errors="replace"), ended and length < LOG_READ)


def message(said: str) -> str:
    """What the API server says in words."""
    try:
        return str(json.loads(said)["message"])[:WORDS]
    except (ValueError, KeyError, TypeError):
        return said.strip()[:WORDS]


def is_race(verb: str, status: int, said: str) -> bool:
    """Whether a creation lost against another one, as with a quota that both are counted in: it passes."""
    try:
        reason = json.loads(said)["reason"]
    except (ValueError, KeyError, TypeError):
        return False
    return verb == "create" and status == HTTPStatus.CONFLICT and reason != "AlreadyExists"


def refusal(
    verb: str, resource: str, namespace: str, status: int, said: str
) -> KubernetesRefusedError | PermissionMissingError:
    """Tell a permission that lacks from everything else that is refused."""
    words = message(said)
    if status == HTTPStatus.FORBIDDEN and _NO_PERMISSION.search(words):
        return PermissionMissingError(verb, resource, namespace, words)
    if status == HTTPStatus.UNAUTHORIZED:
        return CredentialsRefusedError(verb, resource, namespace, status, words)
    return KubernetesRefusedError(verb, resource, namespace, status, words)
