"""Tests in several processes, each with a pool of its own: ``pytest -n 3``, which is pytest-xdist.

The process that a person starts hands out the tests and runs none; here it is the first process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

import psutil
import pytest

CLEAN_UP = 90.0  # seconds that an interrupted process may take to clear away


def are_there() -> bool:
    """Whether this process runs a share of the tests."""
    return "PYTEST_XDIST_WORKER" in os.environ


def number() -> int:
    """Which of the processes that run tests this is, from 0; 0 where it is the only one."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def share(items: list[pytest.Item]) -> None:
    """Prepare the tests for being handed out with ``--dist loadgroup``, in all processes alike.

    What is slow comes first, or all would wait at the end for the process that began with it last. Tests that
    have a fixture in common within their module go to the same process, which makes it once.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        fixtures: dict[str, Any] = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]  # pytest's own
        if any(definitions[-1].scope in ("module", "class") for definitions in fixtures.values()):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def end_in_order(config: pytest.Config) -> None:
    """Clean up after SIGTERM as after Ctrl-C: gateways and their jobs would live on."""
    if are_there():
        signal.signal(signal.SIGINT, _interrupt_once)
        signal.signal(signal.SIGTERM, _interrupt_once)
    else:
        first = _FirstProcess(config)
        config.pluginmanager.register(first)
        signal.signal(signal.SIGTERM, first.end)


def _interrupt_once(*_: Any) -> None:
    """Terminal, ``timeout``, first process and pytest-xdist: each sends a signal, and only one counts.

    The others would break off the cleaning up.
    """
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: None)
    raise KeyboardInterrupt


class _FirstProcess:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @property
    def _others(self) -> Any:
        """The part of pytest-xdist that knows them, or None."""
        return self._config.pluginmanager.get_plugin("dsession")

    def end(self, *_: Any) -> None:
        if self._others:
            for process in psutil.Process().children():
                process.terminate()
        raise KeyboardInterrupt

    def pytest_keyboard_interrupt(self) -> None:
        """Wait: pytest-xdist would kill the others after 15 s."""
        end = time.monotonic() + CLEAN_UP
        for other in list(self._others._active_nodes) if self._others else []:
            with contextlib.suppress(OSError, EOFError, other.channel.RemoteError):
                other.channel.waitclose(max(0.0, end - time.monotonic()))
