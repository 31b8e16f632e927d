"""Run a program that may write in one directory only: ``confined DIRECTORY PROGRAM ARGUMENTS…``.

Where the output of a spooled job is written to stands in its job ad, which the job's owner can change at any
time. So where jobs belong to somebody else than this account, HTCondor's clients write whatever they are told
to, wherever they are told to. The kernel (Landlock, Linux 5.13) holds them to this directory.

Nothing of this package is imported: the program starts quickly.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

# Source: Linux, include/uapi/linux/landlock.h; the numbers of the calls are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1  # flag of _CREATE_RULESET
_PATH_BENEATH = 1
_WRITE_FILE, _REMOVE_FILE, _MAKE_REGULAR, _TRUNCATE = 1 << 1, 1 << 5, 1 << 8, 1 << 14
# remove a directory; make a device, a directory, a socket, a pipe, a symbolic link
_NEVER = 1 << 4 | 1 << 6 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12
_NO_NEW_PRIVILEGES = 38  # of prctl


class _Ruleset(ctypes.Structure):
    _fields_ = [("handled", ctypes.c_uint64)]  # ctypes wants a list


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def confine(directory: Path) -> None:
    """Let this process, and all that it starts, write files in this directory only. Without return."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long

    def call(number: int, *arguments: object) -> int:
        result = int(libc.syscall(ctypes.c_long(number), *arguments))
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    version = call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    in_it = _WRITE_FILE | _REMOVE_FILE | _MAKE_REGULAR | (_TRUNCATE if version >= 3 else 0)
    ruleset = _Ruleset(in_it | _NEVER)
    rules = call(
        _CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(ctypes.sizeof(ruleset)), ctypes.c_uint32(0)
    )
    for path, allowed in ((directory, in_it), (Path(os.devnull), _WRITE_FILE)):
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = _Beneath(allowed, parent)
        call(
            _ADD_RULE,
            ctypes.c_int(rules),
            ctypes.c_int(_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
        os.close(parent)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)


def main(directory: str, program: str, *arguments: str) -> str:
    """Return only if it fails, and then why."""
    try:
        confine(Path(directory))
    except OSError as error:
        return f"What is written cannot be confined to {directory}: {error.strerror}"
    try:
        os.execvp(program, [program, *arguments])  # noqa: S606  # no shell is what we want
    except OSError as error:
        return f"{program} cannot be started: {error.strerror}"


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
