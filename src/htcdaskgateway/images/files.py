"""Reads an image's files, and no others: the only code that opens anything in an image.

Where a name leads is found by `images.inside`. What an image holds may be broken or made to harm: only
regular files are read, and everything is bounded.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType

from htcdaskgateway.images.file_errors import NO_FILE, error_at, errors_at
from htcdaskgateway.images.inside import Inside

# Should a file become a FIFO between the look and the opening, nothing waits for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_RECORDS = (".dist-info", ".egg-info", "EGG-INFO")  # an installer makes a new one

Identity = tuple[int, int, int, int]


class ImageFiles:
    """The files of one image, by the paths that they have in its container.

    A context manager. Methods that take a path follow its links within the image, and raise OSError as the
    system does: FileNotFoundError, PermissionError and so on.

    Parameters
    ----------
    root : str or Path
        The image's directory on this machine; a link to one is followed.
    max_steps, max_entries, max_bytes : int, optional
        How often this may look, how many names it may list, and how much it may read, in all.

    Attributes
    ----------
    identity : tuple of int
        Device, inode, and times of modification and change in ns of the image's directory.
    denied : set of str
        Directories that this account may not look into, as far as they were met.
    listed : dict of str to tuple of int
        The directories that were listed, as `resolve` gives them, with what `identify` gives of them.
    consulted : dict of str to tuple of int
        The same of files that were read, but for those below a directory of packages' records.

    Raises
    ------
    ImageUnusableError
        There is no such directory or it may not be entered; from any method: a bound was reached.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        max_steps: int = 20_000,
        max_entries: int = 200_000,
        max_bytes: int = 32 * 2**20,
    ) -> None:
        self.root = str(root)
        self._inside = Inside(self.root, look=max_steps, list=max_entries, read=max_bytes)
        self.denied = self._inside.denied
        self.listed: dict[str, Identity] = {}
        self.consulted: dict[str, Identity] = {}
        self.identity = _identity(self._inside.top.status)

    def close(self) -> None:
        self._inside.close()

    def __enter__(self) -> ImageFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def resolve(self, path: str) -> str:
        """Give the path without links that it leads to, as the container would see it."""
        return self._inside.find(path).path

    def way(self, path: str) -> list[str]:
        """Give the paths without links that are gone through to where it leads, also if it leads nowhere."""
        return self._inside.way(path)

    def exists(self, path: str) -> bool:
        return self._kind(path) is not None

    def is_file(self, path: str) -> bool:
        return self._kind(path) == stat.S_IFREG

    def is_directory(self, path: str) -> bool:
        return self._kind(path) == stat.S_IFDIR

    def is_program(self, path: str) -> bool:
        """Tell whether this is a file that somebody may execute."""
        entry = self._inside.look_for(path)
        return bool(entry and entry.is_kind(stat.S_IFREG) and entry.status.st_mode & 0o111)

    def identify(self, path: str) -> Identity:
        """Tell one state of a file or directory from another: see `identity`."""
        return _identity(self._inside.find(path).status)

    def names(self, path: str) -> list[str]:
        """List a directory, in no particular order."""
        inside = self._inside
        entry = inside.find(path)
        if not entry.is_kind(stat.S_IFDIR):
            raise error_at(path, errno.ENOTDIR)
        inside.spend("look", 1)
        with errors_at(path):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            descriptor = os.open(".", flags, dir_fd=inside.descriptor(entry))
            try:
                with os.scandir(descriptor) as found:
                    names = [one.name for one in islice(found, inside.left["list"] + 1)]
            finally:
                os.close(descriptor)
        inside.spend("list", len(names))
        self.listed[entry.path] = _identity(entry.status)
        return names

    def read(self, path: str, limit: int) -> bytes:
        """Read the first ``limit`` bytes of a file; anything but a regular file is an OSError."""
        inside = self._inside
        entry = inside.find(path)
        if entry.parent is None or entry.is_kind(stat.S_IFDIR):
            raise error_at(path, errno.EISDIR)
        if not entry.is_kind(stat.S_IFREG):
            raise error_at(path, NO_FILE)
        inside.spend("read", min(limit, entry.status.st_size))
        if not entry.parent.name.endswith(_RECORDS):
            self.consulted[entry.path] = _identity(entry.status)
        inside.spend("look", 1)
        with errors_at(path):
            descriptor = os.open(entry.name, _FILE, dir_fd=inside.descriptor(entry.parent))
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise error_at(path, NO_FILE)
                return b"".join(_chunks(descriptor, limit))
            finally:
                os.close(descriptor)

    def size(self, path: str) -> int:
        """Give the size of a file in bytes."""
        return self._inside.find(path).status.st_size

    def _kind(self, path: str) -> int | None:
        entry = self._inside.look_for(path)
        return stat.S_IFMT(entry.status.st_mode) if entry else None


def _chunks(descriptor: int, limit: int) -> Iterator[bytes]:
    while limit > 0 and (chunk := os.read(descriptor, limit)):
        limit -= len(chunk)
        yield chunk


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
