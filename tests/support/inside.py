"""Lets schedulers run where workers do: in the pool's root, which has Apptainer and ``/cvmfs``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.accounts import Accounts, sudo_rule
from tests.support.pool import Pool

# Mounts and processes of the pool are its own, the rest is this machine's.
ENTER = """#!/bin/sh
user=$1; shift
exec nsenter --target {master} --mount --pid -- setpriv --reuid="$user" --regid="$user" --init-groups -- "$@"
"""


@contextmanager
def way_into(pool: Pool, accounts: Accounts) -> Iterator[list[str]]:
    """Give a command prefix that runs commands as ``{user}`` in the pool's root."""
    directory = Path(tempfile.mkdtemp(prefix="htcdask-enter-"))
    try:
        directory.chmod(0o755)
        enter = directory / "enter"
        enter.write_text(ENTER.format(master=pool.master))
        enter.chmod(0o755)
        people = (accounts.analyst, accounts.other)
        with sudo_rule(
            "".join(f"{accounts.service} ALL=(root) NOPASSWD: {enter} {user} *\n" for user in people)
        ):
            yield ["sudo", "-n", str(enter), "{user}"]
    finally:
        shutil.rmtree(directory)
