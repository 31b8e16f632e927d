"""The sandbox of a cluster on the session's side, where the jobs' owner submits them."""

from __future__ import annotations

import contextlib
import getpass
import grp
import os
import posixpath
import pwd
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from htcdaskgateway.client.settings import number
from htcdaskgateway.condor.quoting import attribute_value, submit_value
from htcdaskgateway.config import NAMESPACE, setting
from htcdaskgateway.errors import ConfigurationError, HTCDaskError, InvalidRequestError, SandboxError
from htcdaskgateway.sandbox import (
    SECRETS,
    SUBMIT_DESCRIPTION,
    Sandbox,
    end_of,
    private_directory,
    write_private,
)

TEMPLATE = "~/.local/state/htcdaskgateway/sandboxes/{cluster}"
DAYS = 14.0
LEAST_DAYS = 1.0
MARKER = ".htcdask-sandbox"  # only a directory with this file in it is ever removed
MOST_ENTRIES = 10_000  # of the root, which others may use as well
MOST_TEXT = 2**22  # bytes of a submit description: names of workers, a few hundred bytes besides
UID_MAP, OVERFLOW_UID = Path("/proc/self/uid_map"), Path("/proc/sys/kernel/overflowuid")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")


def user_name() -> str:
    """Name of the account; its number, where it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container whose accounts are made when it starts
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return str(os.geteuid())


def sandbox_path(template: str, user: str, cluster: str) -> Path:
    """Where the sandbox of a cluster is. Pure, but for the home directory.

    Parameters
    ----------
    template : str
        Absolute, or below ``~``; its last part holds ``{cluster}``, any part ``{user}``.
    user, cluster : str

    Raises
    ------
    ConfigurationError
        There can be no such directory, or HTCondor cannot be told of it.
    """
    what = f"{NAMESPACE}.sandbox = {template!r}"
    for name in (user, cluster):
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{what} cannot be used: {name[:100]!r} is no part of a path.")
    if "{cluster}" not in template.rstrip("/").rpartition("/")[2]:
        raise ConfigurationError(
            f"{what} has no {{cluster}} in its last part: each cluster needs a directory of its own.",
            remedy=f"Such as {TEMPLATE}",
        )
    path = posixpath.expanduser(template.replace("{user}", user).replace("{cluster}", cluster))
    if not path.startswith("/") or '"' in path or "{" in path or ".." in path.split("/"):
        raise ConfigurationError(f"{what} is no absolute path, or holds '..', a quotation mark or a brace.")
    path = posixpath.normpath("/" + path.lstrip("/"))
    try:
        submit_value(path, "The sandbox path")
    except HTCDaskError as error:
        raise ConfigurationError(error.sentence) from error
    return Path(path)


class SessionSandbox(Sandbox):
    """A cluster's directory of the user's own.

    Parameters
    ----------
    path : Path
    cluster : str
    days : float
        Other sandboxes beside this one are removed when nothing in them has changed for so long; 0: never.
    """

    def __init__(self, path: Path, cluster: str, days: float = DAYS) -> None:
        super().__init__(path.parent, path.name)
        self.cluster, self.days = cluster, days

    @classmethod
    def configured(cls, cluster: str) -> SessionSandbox:
        """Where Dask's configuration wants it.

        Raises
        ------
        ConfigurationError
        """
        path = sandbox_path(setting("sandbox", TEMPLATE), user_name(), cluster)
        days = number("sandbox-days", DAYS, 0)
        if 0 < days < LEAST_DAYS:  # one in use is marked every hour, and its files are not
            raise ConfigurationError(
                f"{NAMESPACE}.sandbox-days in Dask's configuration must be 0, which is never,"
                f" or at least {LEAST_DAYS:g}, not {days:g}."
            )
        return cls(path, cluster, days)

    def prepare(self, contents: Mapping[str, str]) -> None:
        """Write these files, in the directory as it should be, whatever happened to it since.

        Raises
        ------
        SandboxError
            It is full, read-only, not ours or open to others.
        InvalidRequestError
            A file's name is none.
        """
        if bad := [name for name in contents if not _FILE.fullmatch(name)]:
            raise InvalidRequestError(f"{bad[0][:100]!r} is no name of a file in a sandbox.")
        with self._trouble():
            if self.path.is_symlink():
                raise SandboxError(str(self.path), "it is a link")
            check_parents(self.path)
            private_directory(self.path, "the sandbox")
            write_private(self.path / MARKER, f"{self.cluster}\n")
            super().prepare(contents)

    def write(self, name: str, content: str) -> None:
        """Write a file into the directory, which `prepare` has made.

        Raises
        ------
        SandboxError
        """
        with self._trouble():
            write_private(self.path / name, content)

    @contextlib.contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SandboxError(str(self.path), error.strerror or str(error)) from error
        except ConfigurationError as error:
            raise SandboxError(str(self.path), _why(error)) from error

    def keep(self) -> None:
        """Say that it is in use: a cluster may run longer than sandboxes are kept. Never fails."""
        try:
            os.utime(self.path / MARKER, follow_symlinks=False)
        except OSError:  # deleted meanwhile: made again when it is needed
            return

    def remove_secrets(self) -> None:
        """Never fails: what cannot be removed cannot be helped, and is private."""
        try:
            super().remove_secrets()
        except OSError:
            return

    def clean(self, live: Collection[str], now: float | None = None) -> list[Path]:
        """Remove old sandboxes beside this one, which are ours by their marker; never fails.

        Parameters
        ----------
        live : collection of str
            Clusters that there are: no session may have been there for long, and their jobs need the files.
        now : float, optional
            Seconds since the epoch.

        Returns
        -------
        list of Path
            Those that are gone.
        """
        if not self.days:
            return []
        oldest = (time.time() if now is None else now) - self.days * 86400
        removed = []
        for path in _sandboxes(self.path.parent):
            if path == self.path or _cluster_of(path) in live:
                continue
            if (newest := _newest(path)) is not None and newest < oldest:
                shutil.rmtree(path, ignore_errors=True)  # follows no links
                removed.append(path)
        return [path for path in removed if not path.exists()]


class PastSandbox(NamedTuple):
    """A sandbox with secrets in it; of which cluster."""

    path: Path
    cluster: str

    def remove_secrets(self) -> None:
        """Never fails."""
        SessionSandbox(self.path, self.cluster).remove_secrets()


def past_sandboxes(root: Path, gateway: str, user: str) -> list[PastSandbox]:
    """Sandboxes in this directory that hold secrets of clusters of one gateway and one user; never fails.

    Whose they are is what the submit description in them says: jobs of it were submitted, or were to be.
    """
    names = {
        f"+HTCDaskGateway = {attribute_value(gateway, 'The instance id')}",
        f"+HTCDaskUser = {attribute_value(user, 'The user name')}",
    }
    found = []
    for path in _sandboxes(root):
        if any(os.path.lexists(path / name) for name in SECRETS):
            cluster = _cluster_of(path)
            if cluster and names <= set((end_of(path / SUBMIT_DESCRIPTION, MOST_TEXT) or "").splitlines()):
                found.append(PastSandbox(path, cluster))
    return found


def sandboxes_by_cluster(root: Path) -> dict[str, Path]:
    """Sandboxes of the user's in this directory; never fails."""
    return {cluster: path for path in _sandboxes(root) if (cluster := _cluster_of(path))}


def _cluster_of(path: Path) -> str:
    return (end_of(path / MARKER, 200) or "").strip()


def check_parents(path: Path) -> None:
    """See that nobody else could put another directory in the sandbox's place.

    Raises
    ------
    SandboxError
        One of its parents belongs to somebody else, or others may write to it and it is not sticky.
    """
    trusted = {0, os.geteuid(), *_strangers()}
    for parent in path.resolve().parents:
        try:
            found = parent.stat()
        except FileNotFoundError:  # to be made
            continue
        if found.st_uid not in trusted or _open_to_others(found):
            whose = f"{parent} is uid {found.st_uid}'s and gid {found.st_gid}'s"
            wanted = "yours or root's, and writable by nobody else unless sticky"
            words = f"{whose}, of mode {found.st_mode & 0o7777:04o}, and it has to be {wanted}"
            raise SandboxError(str(path), f"others could replace it: {words}")


def _open_to_others(found: os.stat_result) -> bool:
    if found.st_mode & stat.S_ISVTX:
        return False
    by_group = bool(found.st_mode & stat.S_IWGRP) and not is_private_group(found.st_gid)
    return by_group or bool(found.st_mode & stat.S_IWOTH)


def is_private_group(gid: int) -> bool:
    """Whether nobody but this account and root is in a group: many systems make one for each account."""
    try:
        members = {*grp.getgrgid(gid).gr_mem, *(one.pw_name for one in pwd.getpwall() if one.pw_gid == gid)}
    except KeyError:  # a group without a name: nobody knows who is in it
        return False
    return members <= {user_name(), "root"}


def _strangers() -> set[int]:
    """As whose a container shows the directories of the machine's root, if it does not know of that."""
    try:
        whole = UID_MAP.read_text().split() == ["0", "0", "4294967295"]
        return set() if whole else {int(OVERFLOW_UID.read_text())}
    except (OSError, ValueError):
        return set()


def _why(error: ConfigurationError) -> str:
    if isinstance(error.__cause__, OSError):
        return error.__cause__.strerror or str(error.__cause__)
    facts = ", ".join(f"{name} {value}" for name, value in error.facts.items())
    return f"it belongs to others or is open to them ({facts})"


def _sandboxes(root: Path) -> list[Path]:
    """Directories of ours with the marker: no links, and nothing of anybody else."""
    try:
        with os.scandir(root) as entries:
            return [Path(entry) for entry in islice(entries, MOST_ENTRIES) if _is_sandbox(entry)]
    except OSError:
        return []


def _is_sandbox(entry: os.DirEntry[str]) -> bool:
    try:
        directory, marker = entry.stat(follow_symlinks=False), os.lstat(Path(entry, MARKER))
    except OSError:
        return False
    ours = directory.st_uid == marker.st_uid == os.geteuid()
    return ours and stat.S_ISDIR(directory.st_mode) and stat.S_ISREG(marker.st_mode)


def _newest(path: Path) -> float | None:
    """When anything in the directory changed last; None if it cannot be said."""
    try:
        with os.scandir(path) as entries:
            times = [entry.stat(follow_symlinks=False).st_mtime for entry in entries]
        return max([path.lstat().st_mtime, *times])
    except OSError:
        return None
