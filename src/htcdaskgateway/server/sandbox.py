"""Files that hold state and secrets on the gateway's side: all 0600 in 0700."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from htcdaskgateway.errors import ConfigurationError

SECRETS = ("dask.crt", "dask.pem", "worker.env")


def private_directory(path: Path, setting: str = "the directory") -> Path:
    """Make the directory; one that is there must be ours and closed to others.

    Raises
    ------
    ConfigurationError
        It cannot be made, or is open to others: to close it might lock others out of what is theirs.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(f"{setting} = {str(path)!r} cannot be used: {error.strerror}.") from error
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"{setting} = {str(path)!r} belongs to others or is open to them.",
            {"owner": f"uid {found.st_uid}", "mode": f"{found.st_mode & 0o7777:04o}"},
            f"Give the gateway a directory of its own: chown it to uid {os.geteuid()}, and chmod 0700.",
        )
    return path


def write_private(path: Path, content: str, mode: int = 0o600) -> None:
    """Write the file so that a reader finds either the old content or the new, never a part."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as stream:
        stream.write(content)
    beside.replace(path)


def encryption_keys(path: Path) -> list[str]:
    """Keys for the database, one a line, newest first; made when there are none.

    Returns
    -------
    list of str
        32 bytes each, base64.
    """
    if not path.exists():
        write_private(path, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
    return path.read_text().split()


class Sandbox:
    """The directory of one cluster: credentials, submit description, event log, the workers' output."""

    def __init__(self, root: Path, cluster: str) -> None:
        self.path = root / cluster

    def prepare(self, contents: Mapping[str, str]) -> None:
        """Write these files, and the program that the jobs start."""
        private_directory(self.path)
        program = files("htcdaskgateway.worker").joinpath("start_worker.sh").read_text()
        for name, content in contents.items():
            write_private(self.path / name, content)
        write_private(self.path / "start_worker.sh", program, 0o700)

    def write(self, name: str, content: str) -> None:
        if self.path.is_dir():
            write_private(self.path / name, content)

    def last_words(self, worker: str, limit: int = 300) -> str:
        """Last line of what a worker wrote to standard error, empty if none came back."""
        try:
            with (self.path / f"worker-{worker}.err").open("rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - 4096))
                text = stream.read(4096).decode(errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:limit] if lines else ""

    def remove_secrets(self) -> None:
        for name in SECRETS:
            (self.path / name).unlink(missing_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
