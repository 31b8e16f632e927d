"""What is installed in an image: read from its files, without starting it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from htcdaskgateway.images.environment import ContainerEnvironment, container_environment, is_mounted
from htcdaskgateway.images.errors import (
    ImageUnreadableError,
    ImageUnusableError,
    printable,
    run_instead,
)
from htcdaskgateway.images.file_errors import words
from htcdaskgateway.images.files import Identity, ImageFiles
from htcdaskgateway.images.packages import find_packages, normalized
from htcdaskgateway.images.python import find_python, which
from htcdaskgateway.images.sys_path import find_installation, search

__all__ = ["ImageContents", "forget", "printable", "read_image"]

_MAX_REMEMBERED = 2048


@dataclass(frozen=True)
class ImageContents:
    """What a worker in an image would have.

    Attributes
    ----------
    path : str
        The image path.
    python : str
        ``3.11.7``, or ``3.11`` where no more is known.
    executable : str
        The Python that runs ``dask``, as the container sees it.
    versions : mapping of str to str
        ``python``, and the packages by their normalized names.
    notes : tuple of str
        What is doubtful about it.
    runs_dask : bool or None
        Whether the image has the command ``dask`` and it could start; None where that cannot be known.
    """

    path: str
    python: str
    executable: str
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    runs_dask: bool | None = None


_Key = tuple[Identity, frozenset[str] | None, str]
_remembered: OrderedDict[_Key, tuple[ImageContents, dict[str, Identity]]] = OrderedDict()
_lock = threading.Lock()


def read_image(
    path: str | Path, packages: Collection[str] | None = None, *, command: str = "dask"
) -> ImageContents:
    """Read which Python an image would run, and the versions of the packages that it has.

    Nothing is run or written, and nothing outside the image's directory is read, whatever links it holds.
    An image that is the same as at the last look (its directory, and those of its packages) is not read
    again. May be called in threads.

    Parameters
    ----------
    path : str or Path
        The image path.
    packages : collection of str, optional
        The records of these are opened and checked. Without it all packages are given, by the names of
        their records, which is faster.
    command : str, optional
        The program of the image whose Python it is: a name, or an absolute path.

    Returns
    -------
    ImageContents

    Raises
    ------
    ImageUnusableError
        It is no directory, or has no Python.
    ImageUnreadableError
        It may be good, but what it has cannot be told from its files.
    """
    wanted = None if packages is None else frozenset(normalized(name) for name in packages)
    try:
        with ImageFiles(path) as files:
            key = (files.identity, wanted, command)
            with _lock:
                contents, seen = _remembered.get(key, (None, {}))
            if contents is None or not _is_same(files, seen):
                contents, seen = _read(files, wanted, command)
                with _lock:
                    _remembered[key] = (contents, seen)
                    while len(_remembered) > _MAX_REMEMBERED:
                        _remembered.popitem(last=False)
    except OSError as error:
        where = f"{printable(error.filename)}: " if isinstance(error.filename, str) else ""
        raise ImageUnreadableError(str(path), f"{where}{words(error)}", run_instead(str(path))) from error
    return replace(contents, path=str(path), versions=dict(contents.versions))


def forget() -> None:
    """Read every image anew from now on."""
    with _lock:
        _remembered.clear()


def _is_same(files: ImageFiles, seen: Mapping[str, Identity]) -> bool:
    try:
        return all(files.identify(path) == identity for path, identity in seen.items())
    except OSError:
        return False


def _read(
    files: ImageFiles, wanted: frozenset[str] | None, command: str
) -> tuple[ImageContents, dict[str, Identity]]:
    environment = container_environment(files)
    program = find_python(files, environment.path, command)
    if program is None:
        denied = f"; this account may not look into {', '.join(sorted(files.denied))}" if files.denied else ""
        why = printable(f"it has no Python in {':'.join(environment.path)}{denied}")
        if which(files, environment.path, command) or not _is_sure(files, environment, command):
            raise ImageUnreadableError(files.root, why, run_instead(files.root))
        raise ImageUnusableError(files.root, why, run_instead(files.root))
    if program.is_guess:
        why = f"which Python runs its {command} cannot be told from its files: {program.notes[0]}"
        raise ImageUnreadableError(files.root, printable(why), run_instead(files.root))
    installation = find_installation(files, program.path)
    if installation is None:
        why = f"the version of its Python, {program.path}, cannot be told from its files"
        raise ImageUnreadableError(files.root, printable(why), run_instead(files.root))
    directories = list(search(files, environment.pythonpath, installation.site))
    packages, doubts = find_packages(files, directories, installation.conda, wanted)
    notes = tuple(printable(note) for note in (*environment.notes, *program.notes, *doubts))
    versions = {"python": installation.version}
    versions.update((name, packages[name]) for name in sorted(packages) if name != "python")
    programs = files.resolve(program.path.rpartition("/")[0])
    seen = {**files.listed, **files.consulted, programs: files.identify(programs)}
    executable = printable(program.path)
    runs: bool | None = bool(program.command) and not program.cannot_start
    if not runs and not _is_sure(files, environment, command):
        runs = None
    return ImageContents(files.root, installation.version, executable, versions, notes, runs), seen


def _is_sure(files: ImageFiles, environment: ContainerEnvironment, command: str) -> bool:
    """Whether what was not found is not there: all of PATH is known, the image's, and in reach."""
    places = [command] if command.startswith("/") else environment.path
    mounted = any(is_mounted(place) for place in places)
    return not (environment.notes or files.denied or mounted)
