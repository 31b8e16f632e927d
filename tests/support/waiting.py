"""Waits with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(what: str, condition: Callable[[], T], deadline: float, period: float = 0.1) -> T:
    """Return the condition's first true value; TimeoutError with its last one after the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {deadline:g} s, last seen: {value!r}")
        time.sleep(period)
