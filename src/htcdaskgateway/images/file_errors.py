"""Errors of the file system in an image: which of them say that nothing is there, and their words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from htcdaskgateway.errors import shown

NO_FILE = errno.EINVAL  # of something that is neither a file nor a directory, or has become so
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


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
            return f"it is a link to {shown(str(Path(path).readlink()))}, which is not there"
    if isinstance(error, NotADirectoryError):
        return "it is not a directory"
    if isinstance(error, PermissionError):
        return f"this account may not read it ({words(error)})"
    if error.errno == errno.ELOOP:
        return f"its links form a loop ({words(error)})"
    return words(error)


def error_at(path: str, number: int) -> OSError:
    """Make the error that the system would raise there."""
    return OSError(number, "Not a regular file" if number == NO_FILE else os.strerror(number), path)


@contextmanager
def errors_at(path: str) -> Iterator[None]:
    """Name the path in errors as the container sees it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
