"""Sessions of people in the tests' own process: the thread that submits for one is its user's."""

from __future__ import annotations

import ctypes
import os
import platform
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import dask.config
import pytest
from tests.support.pool import Pool

from htcdaskgateway.client.submitter import Submitter, _running

SESSIONS = 'c.HTCondorBackend.submitter = "session"\n'  # configuration of a gateway that leaves it to them
# setgroups, setresgid, setresuid. The system calls are a thread's; what libc makes of them is the process's.
CALLS = {"x86_64": (116, 119, 117), "aarch64": (159, 149, 147)}


def become(user: str) -> None:
    """Make this thread, with what it starts, the account's.

    Raises
    ------
    OSError
        This process is not root.
    """
    account = pwd.getpwnam(user)
    uid, gid = account.pw_uid, account.pw_gid
    set_groups, set_gid, set_uid = CALLS[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    for call, arguments in ((set_groups, (0, 0)), (set_gid, (gid, gid, gid)), (set_uid, (uid, uid, uid))):
        if libc.syscall(call, *arguments):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


@contextmanager
def people_submit(pool: Pool, interface: str = "bindings") -> Iterator[None]:
    """Let each session submit as its user, with a sandbox of its own."""
    main: Callable[[Submitter], None] = Submitter._main
    directory = Path(mkdtemp(prefix="htcdask-sandboxes-"))
    directory.chmod(0o1777)

    def as_user(self: Submitter) -> None:
        become(self._settings["auth"].username)
        main(self)

    settings = {"sandbox": f"{directory}/{{cluster}}", "condor": {"interface": interface}}
    try:
        with pytest.MonkeyPatch.context() as patch, dask.config.set({"htcdaskgateway": settings}):
            patch.setattr(Submitter, "_main", as_user)
            for name, value in pool.env.items():
                patch.setenv(name, value)
            yield
            for submitter in list(_running):
                if submitter._leave_after is not None:  # it ends the jobs of a cluster that was shut down
                    submitter.join(15)
    finally:
        rmtree(directory)
