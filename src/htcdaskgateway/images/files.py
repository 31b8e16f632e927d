"""Reads an image's files, and no others: the only code that opens anything in an image.

An image's links are meant for a container: ``/lib`` in one is the image's own. So the kernel follows none.
Each name is looked up by itself, in a directory that was opened before it; links are read and followed
here, from the image's root. What an image holds may be broken or made to harm: everything is bounded.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType

from htcdaskgateway.images.errors import ImageUnreadableError, ImageUnusableError, shown

MAX_LINKS = 40  # in one path, as in Linux
MAX_DEPTH = 100  # of a directory without links
MAX_OPEN = 64  # directories that are kept open

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Should a file become a FIFO between the look and the opening, nothing waits for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
NO_FILE = errno.EINVAL  # of something that is neither a file nor a directory, or has become so
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}

_RECORDS = (".dist-info", ".egg-info", "EGG-INFO")  # an installer makes a new one

Identity = tuple[int, int, int, int]


def is_absent(error: OSError) -> bool:
    """Tell whether this error says that there is no such file: a dangling link, for example."""
    return error.errno in _ABSENT


def words(error: Exception) -> str:
    """Give what the system says, without the number and the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def why(error: OSError, path: str) -> str:
    """Give the end of a sentence on an image at this path that cannot be entered."""
    if isinstance(error, FileNotFoundError):
        with suppress(OSError):
            return f"it is a link to {shown(str(Path(path).readlink()), 200)}, which is not there"
    if isinstance(error, NotADirectoryError):
        return "it is not a directory"
    if isinstance(error, PermissionError):
        return f"this account may not read it ({words(error)})"
    if error.errno == errno.ELOOP:
        return f"its links form a loop ({words(error)})"
    return words(error)


@dataclass(eq=False)
class _Entry:
    """What a name in a directory is; the names of a directory that were looked up are kept."""

    name: str
    parent: _Entry | None
    status: os.stat_result
    target: str = ""
    depth: int = 0
    descriptor: int = -1
    inside: dict[str, _Entry | int] = field(default_factory=dict)  # int: the number of an error

    @property
    def path(self) -> str:
        return f"{self.parent.path.rstrip('/')}/{self.name}" if self.parent else "/"

    def is_kind(self, kind: int) -> bool:
        return stat.S_IFMT(self.status.st_mode) == kind


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
        self._left = {"look": max_steps, "list": max_entries, "read": max_bytes}
        self._open: dict[_Entry, None] = {}  # in the order in which they were opened
        self.denied: set[str] = set()
        self.listed: dict[str, Identity] = {}
        self.consulted: dict[str, Identity] = {}
        try:
            descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                status = os.stat(".", dir_fd=descriptor)  # which needs the right to look into it
            except OSError:
                os.close(descriptor)
                raise
        except (OSError, ValueError) as error:
            reason = why(error, self.root) if isinstance(error, OSError) else words(error)
            raise ImageUnusableError(self.root, reason) from error
        self._top = _Entry("", None, status, descriptor=descriptor)
        self.identity = _identity(status)

    def close(self) -> None:
        while self._open:
            self._close_oldest()
        if self._top.descriptor >= 0:
            os.close(self._top.descriptor)
            self._top.descriptor = -1

    def __enter__(self) -> ImageFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def resolve(self, path: str) -> str:
        """Give the path without links that it leads to, as the container would see it."""
        return self._find(path).path

    def exists(self, path: str) -> bool:
        return self._kind(path) is not None

    def is_file(self, path: str) -> bool:
        return self._kind(path) == stat.S_IFREG

    def is_directory(self, path: str) -> bool:
        return self._kind(path) == stat.S_IFDIR

    def is_program(self, path: str) -> bool:
        """Tell whether this is a file that somebody may execute."""
        entry = self._look_for(path)
        return bool(entry and entry.is_kind(stat.S_IFREG) and entry.status.st_mode & 0o111)

    def identify(self, path: str) -> Identity:
        """Tell one state of a file or directory from another: see `identity`."""
        return _identity(self._find(path).status)

    def names(self, path: str) -> list[str]:
        """List a directory, in no particular order."""
        entry = self._find(path)
        if not entry.is_kind(stat.S_IFDIR):
            raise _error(errno.ENOTDIR, path)
        self._spend("look", 1)
        with _errors_of(path):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            descriptor = os.open(".", flags, dir_fd=self._descriptor(entry))
            try:
                with os.scandir(descriptor) as found:
                    names = [one.name for one in islice(found, self._left["list"] + 1)]
            finally:
                os.close(descriptor)
        self._spend("list", len(names))
        self.listed[entry.path] = _identity(entry.status)
        return names

    def read(self, path: str, limit: int) -> bytes:
        """Read the first ``limit`` bytes of a file; anything but a regular file is an OSError."""
        entry = self._find(path)
        if entry.parent is None or entry.is_kind(stat.S_IFDIR):
            raise _error(errno.EISDIR, path)
        if not entry.is_kind(stat.S_IFREG):
            raise _error(NO_FILE, path)
        self._spend("read", min(limit, entry.status.st_size))
        if not entry.parent.name.endswith(_RECORDS):
            self.consulted[entry.path] = _identity(entry.status)
        self._spend("look", 1)
        with _errors_of(path):
            descriptor = os.open(entry.name, _FILE, dir_fd=self._descriptor(entry.parent))
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise _error(NO_FILE, path)
                return b"".join(_chunks(descriptor, limit))
            finally:
                os.close(descriptor)

    def size(self, path: str) -> int:
        """Give the size of a file in bytes."""
        return self._find(path).status.st_size

    def _kind(self, path: str) -> int | None:
        entry = self._look_for(path)
        return stat.S_IFMT(entry.status.st_mode) if entry else None

    def _look_for(self, path: str) -> _Entry | None:
        """Find it, or nothing where it is absent or out of reach, as a search through PATH does."""
        try:
            return self._find(path)
        except PermissionError:
            return None
        except OSError as error:
            if is_absent(error):
                return None
            raise

    def _find(self, path: str) -> _Entry:
        here, links = self._top, 0
        ahead = _names(path)
        while ahead:
            name = ahead.pop()
            if not here.is_kind(stat.S_IFDIR):
                raise _error(errno.ENOTDIR, path)
            if here.depth >= MAX_DEPTH:
                raise _error(errno.ENAMETOOLONG, path)
            if name in (".", ".."):
                here = (here.parent or here) if name == ".." else here
                continue
            entry = self._look_up(here, name)
            if isinstance(entry, int):
                raise _error(entry, path)
            if not entry.is_kind(stat.S_IFLNK):
                here = entry
                continue
            links += 1
            if links > MAX_LINKS:
                raise _error(errno.ELOOP, path)
            if entry.target.startswith("/"):
                here = self._top
            ahead += _names(entry.target)
        return here

    def _look_up(self, directory: _Entry, name: str) -> _Entry | int:
        known = directory.inside.get(name)
        if known is None:
            self._spend("look", 1)
            known = directory.inside[name] = self._look(directory, name)
        return known

    def _look(self, directory: _Entry, name: str) -> _Entry | int:
        try:
            where = self._descriptor(directory)
            status = os.stat(name, dir_fd=where, follow_symlinks=False)
            target = os.readlink(name, dir_fd=where) if stat.S_ISLNK(status.st_mode) else ""
        except OSError as error:
            if isinstance(error, PermissionError):
                self.denied.add(directory.path)
            return error.errno or errno.EIO
        except ValueError:  # NUL, or a character that no file name has here
            return errno.ENOENT
        return _Entry(name, directory, status, target, directory.depth + 1)

    def _descriptor(self, directory: _Entry) -> int:
        """Give a descriptor of the directory, opened from its parent's: no part of its path is a link."""
        if directory.descriptor < 0:
            if directory.parent is None:
                raise RuntimeError(f"the files of {self.root} are closed")
            if len(self._open) >= MAX_OPEN:
                self._close_oldest()
            self._spend("look", 1)
            parent = self._descriptor(directory.parent)
            directory.descriptor = os.open(directory.name, _DIRECTORY, dir_fd=parent)
            self._open[directory] = None
        return directory.descriptor

    def _close_oldest(self) -> None:
        oldest = next(iter(self._open))
        del self._open[oldest]
        os.close(oldest.descriptor)
        oldest.descriptor = -1

    def _spend(self, what: str, number: int) -> None:
        self._left[what] -= number
        if self._left[what] < 0:
            raise ImageUnreadableError(self.root, f"there is too much to {what} in it")


def _names(path: str) -> list[str]:
    """Give the components of a path, the last first."""
    names = [name for name in reversed(path.split("/")) if name]
    return [".", *names] if path.endswith("/") else names


def _error(number: int, path: str) -> OSError:
    return OSError(number, "Not a regular file" if number == NO_FILE else os.strerror(number), path)


@contextmanager
def _errors_of(path: str) -> Iterator[None]:
    """Name the path as the container sees it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _chunks(descriptor: int, limit: int) -> Iterator[bytes]:
    while limit > 0 and (chunk := os.read(descriptor, limit)):
        limit -= len(chunk)
        yield chunk


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
