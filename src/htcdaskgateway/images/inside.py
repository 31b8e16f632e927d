"""Finds names inside an image, and never outside.

An image's links are meant for a container: ``/lib`` in one is the image's own. So the kernel follows none.
Each name is looked up by itself, in a directory that was opened before it; links are read and followed
here, from the image's root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass, field

from htcdaskgateway.images.errors import ImageUnreadableError, ImageUnusableError
from htcdaskgateway.images.file_errors import error_at, is_absent, why, words

MAX_LINKS = 40  # in one path, as in Linux
MAX_DEPTH = 100  # of a directory without links
MAX_OPEN = 64  # directories that are kept open

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(eq=False)
class Entry:
    """What a name in a directory is; the names of a directory that were looked up are kept."""

    name: str
    parent: Entry | None
    status: os.stat_result
    target: str = ""
    depth: int = 0
    descriptor: int = -1
    inside: dict[str, Entry | int] = field(default_factory=dict)  # int: the number of an error

    @property
    def path(self) -> str:
        return f"{self.parent.path.rstrip('/')}/{self.name}" if self.parent else "/"

    def is_kind(self, kind: int) -> bool:
        return stat.S_IFMT(self.status.st_mode) == kind


class Inside:
    """The names below one directory, found from there.

    Parameters
    ----------
    root : str
        A directory of this machine; a link to one is followed.
    **bounds : int
        How often each thing may be done, in all: ``look`` is what this does.

    Attributes
    ----------
    denied : set of str
        Directories that this account may not look into, as far as they were met.

    Raises
    ------
    ImageUnusableError
        There is no such directory or it may not be entered; from any method: a bound was reached.
    """

    def __init__(self, root: str, **bounds: int) -> None:
        self.root = root
        self.left = bounds
        self.denied: set[str] = set()
        self._open: dict[Entry, None] = {}  # in the order in which they were opened
        try:
            descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                status = os.stat(".", dir_fd=descriptor)  # which needs the right to look into it
            except OSError:
                os.close(descriptor)
                raise
        except (OSError, ValueError) as error:
            reason = why(error, root) if isinstance(error, OSError) else words(error)
            raise ImageUnusableError(root, reason) from error
        self.top = Entry("", None, status, descriptor=descriptor)

    def close(self) -> None:
        while self._open:
            self._close_oldest()
        if self.top.descriptor >= 0:
            os.close(self.top.descriptor)
            self.top.descriptor = -1

    def spend(self, what: str, number: int) -> None:
        """Count what is done against its bound."""
        self.left[what] -= number
        if self.left[what] < 0:
            raise ImageUnreadableError(self.root, f"there is too much to {what} in it")

    def look_for(self, path: str) -> Entry | None:
        """Find it, or nothing where it is absent or out of reach, as a search through PATH does."""
        try:
            return self.find(path)
        except PermissionError:
            return None
        except OSError as error:
            if is_absent(error):
                return None
            raise

    def way(self, path: str) -> list[str]:
        """Give the names that are looked up on the way, without those of links, up to where it ends."""
        passed: list[str] = []
        with contextlib.suppress(OSError):
            self.find(path, passed)
        return passed

    def find(self, path: str, passed: list[str] | None = None) -> Entry:
        """Follow a path and its links; an OSError where the system would raise it."""
        here, links = self.top, 0
        ahead = _names(path)
        while ahead:
            name = ahead.pop()
            if not here.is_kind(stat.S_IFDIR):
                raise error_at(path, errno.ENOTDIR)
            if here.depth >= MAX_DEPTH:
                raise error_at(path, errno.ENAMETOOLONG)
            if name in (".", ".."):
                here = (here.parent or here) if name == ".." else here
                continue
            if passed is not None:
                passed.append(f"{here.path.rstrip('/')}/{name}")
            entry = self._look_up(here, name)
            if isinstance(entry, int):
                raise error_at(path, entry)
            if not entry.is_kind(stat.S_IFLNK):
                here = entry
                continue
            links += 1
            if links > MAX_LINKS:
                raise error_at(path, errno.ELOOP)
            if entry.target.startswith("/"):
                here = self.top
            ahead += _names(entry.target)
        return here

    def descriptor(self, directory: Entry) -> int:
        """Give a descriptor of the directory, opened from its parent's: no part of its path is a link."""
        if directory.descriptor < 0:
            if directory.parent is None:
                raise RuntimeError(f"the files of {self.root} are closed")
            if len(self._open) >= MAX_OPEN:
                self._close_oldest()
            self.spend("look", 1)
            parent = self.descriptor(directory.parent)
            directory.descriptor = os.open(directory.name, _DIRECTORY, dir_fd=parent)
            self._open[directory] = None
        return directory.descriptor

    def _look_up(self, directory: Entry, name: str) -> Entry | int:
        known = directory.inside.get(name)
        if known is None:
            self.spend("look", 1)
            known = directory.inside[name] = self._look(directory, name)
        return known

    def _look(self, directory: Entry, name: str) -> Entry | int:
        try:
            where = self.descriptor(directory)
            status = os.stat(name, dir_fd=where, follow_symlinks=False)
            target = os.readlink(name, dir_fd=where) if stat.S_ISLNK(status.st_mode) else ""
        except OSError as error:
            if isinstance(error, PermissionError):
                self.denied.add(directory.path)
            return error.errno or errno.EIO
        except ValueError:  # NUL, or a character that no file name has here
            return errno.ENOENT
        return Entry(name, directory, status, target, directory.depth + 1)

    def _close_oldest(self) -> None:
        oldest = next(iter(self._open))
        del self._open[oldest]
        os.close(oldest.descriptor)
        oldest.descriptor = -1


def _names(path: str) -> list[str]:
    """Give the components of a path, the last first."""
    names = [name for name in reversed(path.split("/")) if name]
    return [".", *names] if path.endswith("/") else names
