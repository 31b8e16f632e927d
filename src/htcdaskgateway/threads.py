"""Calls that a slow file system may block for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from distributed.threadpoolexecutor import ThreadPoolExecutor

T = TypeVar("T")


async def in_thread(call: Callable[[], T], seconds: float) -> T:
    """Run ``call`` in a thread of its own.

    Neither the end of the event loop nor that of Python waits for a thread that is blocked: it is a
    daemon, which those of `asyncio.to_thread` are not.

    Raises
    ------
    asyncio.TimeoutError
        It has not returned after so many seconds.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="htcdask-files")
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(executor, call), seconds)
    finally:
        executor.shutdown(wait=False)
