"""The accounts that the pool's recipe makes, and what the gateway's account may do in tests."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import processes

SUDOERS = Path("/etc/sudoers.d")


@dataclass(frozen=True)
class Accounts:
    """Two people, and the service account that the gateway runs as."""

    analyst: str = "analyst"
    other: str = "analyst2"
    service: str = "htcdask"


@contextmanager
def sudo_for(accounts: Accounts) -> Iterator[None]:
    """Let the gateway's account run commands as the two people, as a site would, while tests run."""
    if shutil.which("sudo") is None:
        raise RuntimeError("sudo is not installed: apt-get install sudo")
    for stale in SUDOERS.glob("htcdask-tests-*"):
        if not Path("/proc", stale.name.rpartition("-")[2]).exists():
            stale.unlink()
    # sudo ignores files with a dot in their name
    file = SUDOERS / f"htcdask-tests-{os.getpid()}"
    file.touch(0o440)
    try:
        file.write_text(f"{accounts.service} ALL=({accounts.analyst},{accounts.other}) NOPASSWD: ALL\n")
        yield
    finally:
        file.unlink()


def check_environment(accounts: Accounts) -> None:
    """Every account must be able to use the Python that runs the tests."""
    for user in (accounts.analyst, accounts.service):
        try:
            processes.run([sys.executable, "-c", "import htcdaskgateway"], user)
        except (RuntimeError, PermissionError) as error:
            raise RuntimeError(
                f"Account {user!r} cannot use {sys.executable}: run `make test`, or pytest from the "
                f"environment that `scripts/env` makes.\n{error}"
            ) from error
