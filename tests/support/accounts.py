"""The accounts that the pool's recipe makes, and what the gateway's account may do in tests."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import sys
import uuid
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
    with sudo_rule(f"{accounts.service} ALL=({accounts.analyst},{accounts.other}) NOPASSWD: ALL\n"):
        yield


@contextmanager
def sudo_rule(text: str) -> Iterator[None]:
    """Have sudo obey a rule; remove those of test runs that are gone."""
    for stale in SUDOERS.glob("htcdask-tests-*"):
        _remove_unless_held(stale)
    file = SUDOERS / f"htcdask-tests-{uuid.uuid4().hex}"
    # With a dot in its name sudo ignores it: nobody sees it before it is complete, and held.
    new = file.with_suffix(".new")
    with new.open("x") as held:
        # Process numbers would not tell who is gone: tests also run in process namespaces.
        fcntl.flock(held, fcntl.LOCK_SH)
        new.chmod(0o440)
        held.write(text)
        held.flush()
        new.rename(file)
        try:
            yield
        finally:
            file.unlink()


def _remove_unless_held(file: Path) -> None:
    with contextlib.suppress(FileNotFoundError, BlockingIOError), file.open() as opened:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
