"""Reading a user's credential and keeping a private copy: the only code here that touches files.

Links are followed to the file that is read, as the grid tools do; what counts is the opened file's type,
owner and mode. Nothing is followed where a copy is written.
"""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from htcdaskgateway.credentials.errors import (
    CredentialForeignError,
    CredentialGarbledError,
    CredentialNotPrivateError,
    CredentialUnreadableError,
)
from htcdaskgateway.credentials.frames import drop_frames
from htcdaskgateway.errors import SandboxError

# X.509 proxies with many VOMS attributes have some 20 kB.
MOST_BYTES = 2**20


@dataclass(frozen=True)
class FileIdentity:
    """Which file it was, and its last change in nanoseconds since the epoch."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileIdentity:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def identify(path: str) -> FileIdentity | None:
    """Say which file is there now; None if there is none that can be seen."""
    try:
        return FileIdentity.of(os.stat(path))  # noqa: PTH116 - Path refuses what the kernel would
    except (OSError, ValueError):
        return None


@drop_frames
def read_private(kind: str, path: str, uid: int, command: str) -> tuple[bytes, FileIdentity] | None:
    """Read a file that holds a secret.

    Parameters
    ----------
    kind, command : str
        What it should be and what makes a new one, for messages.
    path : str
    uid : int
        Whose file it must be.

    Returns
    -------
    tuple of bytes and FileIdentity, or None
        None if there is no such file.

    Raises
    ------
    CredentialError
        It cannot be read, belongs to another account, is not private, no regular file or too large.
    """
    try:
        # a FIFO would block
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CredentialUnreadableError(kind, path, _words(error)) from None
    try:
        status = os.fstat(fd)
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):
            raise CredentialGarbledError(kind, path, "it is no regular file", command)
        if status.st_uid != uid:
            raise CredentialForeignError(kind, path, status.st_uid, uid, command)
        if mode & 0o077:
            raise CredentialNotPrivateError(kind, path, mode)
        with open(fd, "rb", closefd=False) as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CredentialUnreadableError(kind, path, _words(error)) from None
    finally:
        os.close(fd)
    if len(content) > MOST_BYTES:
        raise CredentialGarbledError(kind, path, f"it is larger than {MOST_BYTES} bytes", command)
    return content, FileIdentity.of(status)


@drop_frames
def write_private(content: bytes, directory: Path, name: str) -> Path:
    """Put a secret into a private directory, in one step for whoever reads it there.

    Parameters
    ----------
    content : bytes
    directory : Path
        Of mode 0700 and our own; no link.
    name : str
        File name without a directory; what is there is replaced.

    Raises
    ------
    SandboxError
        The directory is not private or cannot be written.
    """
    if not name or "/" in name or "\0" in name or name in {".", ".."}:
        raise SandboxError(str(directory), f"{name!r} is no file name")
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxError(str(directory), _words(error)) from None
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            words = f"owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}: it is not private"
            raise SandboxError(str(directory), words)
        _replace(content, fd, name)
    except OSError as error:
        raise SandboxError(str(directory), _words(error)) from None
    finally:
        os.close(fd)
    return directory / name


def _replace(content: bytes, directory: int, name: str) -> None:
    temporary = f".{name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=directory)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, 0o600)
            file.write(content)
        os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(temporary, dir_fd=directory)
        raise


def _words(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
