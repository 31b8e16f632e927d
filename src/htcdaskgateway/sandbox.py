"""A cluster's directory, private to who submits its jobs: all 0600 in 0700.

On the gateway's side and on a session's alike. In it: credentials, submit description, event log, and
what the workers wrote.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from htcdaskgateway.errors import ConfigurationError, InvalidRequestError

EXECUTABLE = "start_worker.sh"
SUBMIT_DESCRIPTION = "workers.sub"
SECRETS = ("dask.crt", "dask.pem", "worker.env", "x509.pem", "bearer.token")
MOST_BYTES = 2**20  # of one log
MOST_WORKERS = 1000  # whose logs are told at a time
MOST_LOGS = 8 * 2**20  # bytes of all of them
_WORKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOG = re.compile(r"worker-(.+)\.(?:out|err)")


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
            f"It must be a directory of its own: owned by uid {os.geteuid()}, of mode 0700.",
        )
    return path


def write_private(path: Path, content: str, mode: int = 0o600) -> None:
    """Write the file so that a reader finds either the old content or the new, never a part."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(beside, flags, mode), "w", encoding="utf-8") as stream:
            stream.write(content)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


class Sandbox:
    """The directory of one cluster."""

    def __init__(self, root: Path, cluster: str) -> None:
        self.path = root / cluster

    def prepare(self, contents: Mapping[str, str]) -> None:
        """Write these files, and the program that the jobs start, if it is not one of them.

        Raises
        ------
        ConfigurationError
            As `private_directory`.
        OSError
        """
        private_directory(self.path)
        program = {EXECUTABLE: files("htcdaskgateway.worker").joinpath(EXECUTABLE).read_text("utf-8")}
        for name, content in {**program, **contents}.items():
            write_private(self.path / name, content, 0o700 if name == EXECUTABLE else 0o600)

    def write(self, name: str, content: str) -> None:
        if self.path.is_dir():
            write_private(self.path / name, content)

    def workers(self) -> list[str]:
        """Names of the workers whose logs came back."""
        try:
            found = {match[1] for path in self.path.iterdir() if (match := _LOG.fullmatch(path.name))}
        except OSError:
            return []
        return sorted(name for name in found if _WORKER.fullmatch(name))

    def log(self, worker: str, tail: int | None = None, most: int = MOST_BYTES) -> dict[str, str]:
        """What a worker wrote: its standard output and its standard error.

        Parameters
        ----------
        worker : str
        tail : int, optional
            Only so many lines from the end.
        most : int
            Bytes of each file that are read at most.

        Returns
        -------
        dict of str to str
            ``out`` and ``err``; a file that did not come back is left out.

        Raises
        ------
        InvalidRequestError
            No worker has such a name.
        """
        if not _WORKER.fullmatch(worker):
            raise InvalidRequestError(f"{worker[:100]!r} is not the name of a worker.")
        found = {}
        for stream in ("out", "err"):
            text = end_of(self.path / f"worker-{worker}.{stream}", most)
            if text is not None:
                lines = text.splitlines(keepends=True)
                found[stream] = "".join(lines if tail is None else lines[max(0, len(lines) - tail) :])
        return found

    def logs(self, worker: str = "", tail: int | None = None) -> dict[str, dict[str, str]]:
        """What workers wrote, by their names; of all whose output came back, if none is named.

        Raises
        ------
        InvalidRequestError
            No worker has such a name.
        """
        if worker:
            return {worker: self.log(worker, tail)}
        names = self.workers()[-MOST_WORKERS:]
        share = MOST_LOGS // (2 * max(1, len(names)))
        return {name: self.log(name, tail, min(share, MOST_BYTES)) for name in names}

    def remove_secrets(self) -> None:
        for name in SECRETS:
            (self.path / name).unlink(missing_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def end_of(path: Path, most: int) -> str | None:
    """Give the end of a file; jobs write it, so it may be anything: nothing is followed or waited for."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                return None
            stream.seek(max(0, found.st_size - most))
            return stream.read(most).decode(errors="replace")
    except OSError:
        return None
