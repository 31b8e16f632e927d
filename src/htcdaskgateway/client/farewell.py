"""The end of clients that nobody closed: found by the garbage collector, or there when the process ends."""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from typing import Any
from weakref import WeakSet

from dask_gateway import Gateway
from distributed.utils import LoopRunner

EXIT_SECONDS = 2.0  # that the end of the process waits for connections to be closed

_open: WeakSet[Gateway] = WeakSet()


def close_at_exit(client: Gateway) -> None:
    """Close a client at the end of the process, if nobody did: aiohttp would complain of its connections."""
    _open.add(client)


@atexit.register
def _close_all() -> None:
    """Without stopping event loops: a cluster may share one, and dask-gateway ends clusters after this."""
    loops = {client: client._loop_runner._loop.asyncio_loop for client in list(_open)}
    closing = [
        asyncio.run_coroutine_threadsafe(client._cleanup(), loop)
        for client, loop in loops.items()
        if client._session is not None and loop.is_running()
    ]
    wait(closing, EXIT_SECONDS)


def close_later(runner: LoopRunner, closing: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``closing`` in the runner's event loop and then stop the runner, without waiting for either.

    A finalizer must not wait. The collector may run in the event loop's own thread, which the wait would
    block, or while distributed holds the one lock of all its event loops (it did, while the next client
    was made), on which ``LoopRunner.stop`` would wait for ever.
    """
    if sys.is_finalizing() or not runner.is_started() or not runner._loop.asyncio_loop.is_running():
        return

    async def close() -> None:
        try:
            await closing()
        finally:
            threading.Thread(target=runner.stop, daemon=True, name="end of a client").start()

    asyncio.run_coroutine_threadsafe(close(), runner._loop.asyncio_loop)
