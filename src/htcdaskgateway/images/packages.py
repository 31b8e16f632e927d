"""Versions of Python packages by what their installers left: ``dist-info``, ``egg-info``, conda's records."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from htcdaskgateway.images.file_errors import NO_FILE, is_absent, words
from htcdaskgateway.images.files import ImageFiles

_DIST = re.compile(r"(?P<name>[a-z0-9][\w.-]*?)(?:-(?P<version>\d[^-]*))?\.dist-info", re.ASCII | re.I)
_EGG = re.compile(
    r"(?P<name>[a-z0-9][\w.-]*?)(?:-(?P<version>\d[^-]*)(?:-py\d[\w.-]*)?)?\.(?:egg-info|egg)",
    re.ASCII | re.I,
)
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_]{0,99}")
_HEADER = re.compile(r"^Version:[ \t]*(\S+)[ \t\r]*$", re.MULTILINE | re.I)
_MAX_HEADER = 16384  # bytes: the version is at the top, the description after it may be long
_CONDA = re.compile(r"(?P<name>[a-z0-9_][a-z0-9_.-]*)-(?P<version>[^-]+)-(?P<build>[^-]+)\.json")
_OF_PYTHON = re.compile(r"pyh|.*py[0-9]")  # in the build string: `blosc` of conda is a library in C
_CONDA_NAMES = {
    "dask-core": "dask",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "pyarrow-core": "pyarrow",
    "python-blosc": "blosc",
}
_NOT_READABLE = {errno.EACCES, errno.EPERM, errno.EISDIR, NO_FILE}


@dataclass(frozen=True)
class _Record:
    path: str
    version: str  # by the name of the record; may be empty


def normalized(name: str) -> str:
    """Give the one spelling of a package's name: ``Dask_Gateway`` is ``dask-gateway``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def find_packages(
    files: ImageFiles,
    directories: Iterable[tuple[str, Sequence[str]]],
    conda: Sequence[str] = (),
    wanted: Collection[str] | None = None,
) -> tuple[dict[str, str], list[str]]:
    """Find installed packages.

    Parameters
    ----------
    files : ImageFiles
    directories : iterable of (str, sequence of str)
        Those of ``sys.path`` with the names in them; the first that has a package counts.
    conda : sequence of str, optional
        The names in ``conda-meta``, for what has no other record.
    wanted : collection of str, optional
        Normalized names. The records of these are opened; without it, all packages are given by the names
        of their records alone.

    Returns
    -------
    dict of str to str
        Versions by normalized name.
    list of str
        What is doubtful.

    Raises
    ------
    OSError
        The file system fails.
    ImageUnusableError
    """
    versions: dict[str, str] = {}
    notes: list[str] = []
    for directory, names in directories:
        for package, records in sorted(_records(directory, names, wanted).items()):
            if package in versions:
                continue
            if version := _version(files, package, records, notes, check=wanted is not None):
                versions[package] = version
    for name in conda:
        found = _CONDA.fullmatch(name)
        if found and _OF_PYTHON.match(found["build"]) and VERSION.fullmatch(found["version"]):
            package = normalized(_CONDA_NAMES.get(found["name"], found["name"]))
            if wanted is None or package in wanted:
                versions.setdefault(package, found["version"])
    return versions, notes


def _records(
    directory: str, names: Sequence[str], wanted: Collection[str] | None
) -> dict[str, list[_Record]]:
    found: dict[str, list[_Record]] = {}
    _, _, own = directory.rpartition("/")
    for name in names:
        if name.endswith((".dist-info", ".egg-info")):
            match = (_DIST if name.endswith(".dist-info") else _EGG).fullmatch(name)
            path = f"{directory}/{name}"
        elif name == "EGG-INFO" and own.endswith(".egg"):
            match, path = _EGG.fullmatch(own), f"{directory}/{name}"
        else:
            continue
        package = normalized(match["name"]) if match else ""
        if match and (wanted is None or package in wanted):
            version = match["version"] or ""
            record = _Record(path, version if VERSION.fullmatch(version) else "")
            found.setdefault(package, []).append(record)
    return found


def _version(
    files: ImageFiles, package: str, records: list[_Record], notes: list[str], *, check: bool
) -> str:
    if len(records) == 1 and records[0].version and not check:
        return records[0].version
    good: list[str] = []
    bad: list[tuple[str, str]] = []
    for record in sorted(records, key=lambda one: one.path):
        version, problem = _read(files, record.path)
        if version:
            good.append(version)
        else:
            bad.append((record.version, problem))
    if len(set(good)) > 1:
        good.sort(key=_order)
        notes.append(f"{package} is there in versions {' and '.join(good)}; which one counts is not known")
    if good:
        return good[-1]
    version, problem = max(bad, key=lambda one: _order(one[0]))
    notes.append(f"{package}: {problem}{'; its version is that of the directory' if version else ''}")
    return version


def _read(files: ImageFiles, path: str) -> tuple[str, str]:
    """Give the version that a record's file holds, or what is wrong with it."""
    file = f"{path}/METADATA" if path.endswith(".dist-info") else f"{path}/PKG-INFO"
    if path.endswith(".egg-info") and files.is_file(path):
        file = path
    try:
        text = files.read(file, _MAX_HEADER).decode("utf-8", "replace")
    except OSError as error:
        if not is_absent(error) and error.errno not in _NOT_READABLE:
            raise
        return "", f"{file} cannot be read ({words(error)})"
    header = text.partition("\n\n")[0]
    found = _HEADER.search(header)
    if not text or "\0" in header:
        return "", f"{file} {'is no text' if text else 'is empty'}"
    if not found or not VERSION.fullmatch(found.group(1)):
        return "", f"{file} names no version"
    return found.group(1), ""


def _order(version: str) -> Version:
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0")
