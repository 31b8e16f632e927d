"""What a session does beside the gateway's orders: sandboxes, what is left over, renewed credentials."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

from htcdaskgateway.client.credential_delivery import Delivery
from htcdaskgateway.client.leftovers import TROUBLE, Ask, Leftovers, Mine
from htcdaskgateway.client.session_credentials import LOOK_PERIOD, SessionCredentials
from htcdaskgateway.client.session_place import FILES_TIMEOUT
from htcdaskgateway.client.session_sandbox import SessionSandbox
from htcdaskgateway.threads import in_thread

CLEAN_SECONDS = 120.0
KEEP_PERIOD = 3600.0  # seconds between two marks that the sandbox is in use
FIRST_LOOK = 2.0  # seconds after which what is left over is looked for: orders go first


async def keep_files(sandbox: SessionSandbox, ask: Ask) -> None:
    """Keep this sandbox from being taken for one of the past, and remove those; now and every hour.

    What the gateway does not say to have ended is not of the past: without its answer none is removed.
    """
    while True:
        with contextlib.suppress(asyncio.TimeoutError):
            await in_thread(sandbox.keep, CLEAN_SECONDS)
        with contextlib.suppress(*TROUBLE):
            live = Mine.from_json(await ask()).clusters
            await in_thread(partial(sandbox.clean, live), CLEAN_SECONDS)
        await asyncio.sleep(KEEP_PERIOD)


async def keep_clean(leftovers: Leftovers) -> None:
    """Remove what clusters without a session have left, now and every hour."""
    await asyncio.sleep(FIRST_LOOK)
    while True:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(leftovers.clean(), CLEAN_SECONDS)
        await asyncio.sleep(KEEP_PERIOD)


async def keep_credentials(
    credentials: SessionCredentials, sandbox: SessionSandbox, delivery: Delivery, submits: Callable[[], bool]
) -> None:
    """Give jobs and workers what the user renews, while this session is the one that submits."""
    while True:
        await asyncio.sleep(LOOK_PERIOD)
        if submits():
            with contextlib.suppress(asyncio.TimeoutError):
                look = partial(credentials.renew, sandbox.path)
                await delivery.deliver(await in_thread(look, FILES_TIMEOUT))


async def remove_secrets(sandbox: SessionSandbox, seconds: float) -> None:
    """Remove them, if the file system answers in this time."""
    try:
        await in_thread(sandbox.remove_secrets, seconds)
    except asyncio.TimeoutError:
        return
    except RuntimeError:  # Python ends, and starts no more threads
        sandbox.remove_secrets()
