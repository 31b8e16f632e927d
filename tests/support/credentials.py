"""A person's X.509 proxies and bearer token, as files that a test renews."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.pool import Pool
from tests.unit.credentials import grid

HOUR = 3600.0


@contextmanager
def private_home(owner: str) -> Iterator[Path]:
    """A new directory that only this account can read."""
    directory = Path(tempfile.mkdtemp(prefix="htcdask-credentials-"))
    shutil.chown(directory, owner, owner)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def new_x509(pool: Pool, directory: Path, owner: str, seconds: float) -> Path:
    """Put a new X.509 proxy into a directory, which is made where it is missing; negative: it has ended."""
    if not directory.exists():
        directory.mkdir()
        shutil.chown(directory, owner, owner)
    pool.recipe("x509", str(directory), str(seconds / HOUR))
    return directory / "proxy.pem"


def new_token(directory: Path, owner: str, seconds: float) -> str:
    """Put a new bearer token into the file ``token`` of a directory; what it says."""
    token = directory / "token.new"
    token.write_bytes(grid.example_token(exp=time.time() + seconds, nbf=time.time() - 60) + b"\n")
    token.chmod(0o600)
    shutil.chown(token, owner, owner)
    token.replace(directory / "token")
    return (directory / "token").read_text()


def go(home: Path, word: str) -> None:
    """Let the session that waits for this word go on."""
    (home / f"go-{word}").touch()
