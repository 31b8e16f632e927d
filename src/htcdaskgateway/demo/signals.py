"""Signals that end the demo, so that its clean-up runs once and to its end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EndedBySignal(KeyboardInterrupt):
    """A signal asked the demo to end. No Exception: nothing on the way may mistake it for an error."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise EndedBySignal(number)


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only that one has handlers
        yield
        return
    before = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def ending_signals_raise() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP raise EndedBySignal in the block."""
    with _handled_by(_raise):
        yield


def ignore_signals() -> None:
    """From here on the process ends in its own way: everything is cleared away already."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_held(deliver: bool) -> Iterator[None]:
    """Ending signals do nothing in the block; the first of them is delivered after it, or dropped."""
    held: list[int] = []
    with _handled_by(lambda number, frame: held.append(number)):
        yield
    if held and deliver:
        os.kill(os.getpid(), held[0])
