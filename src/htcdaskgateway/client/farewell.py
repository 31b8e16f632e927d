"""The end of clients that nobody closed: found by the garbage collector, wherever it happens to run."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from distributed.utils import LoopRunner


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
