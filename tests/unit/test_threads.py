from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from htcdaskgateway.threads import in_thread

BLOCKED = """
import asyncio, sys, time
from htcdaskgateway.threads import in_thread
try:
    asyncio.run(in_thread(lambda: time.sleep(100), 0.2))
except asyncio.TimeoutError:
    print("in time")
"""


async def test_the_value_and_the_error_come_through() -> None:
    assert await in_thread(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0, 5)


async def test_the_event_loop_goes_on_meanwhile() -> None:
    event = threading.Event()
    waiting = asyncio.ensure_future(in_thread(lambda: event.wait(5), 10))
    await asyncio.sleep(0)
    event.set()
    assert await waiting


def test_neither_loop_nor_python_waits_for_what_is_blocked() -> None:
    start = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.stdout.strip(), ran.returncode) == ("in time", 0), ran.stderr
    assert time.monotonic() - start < 30
