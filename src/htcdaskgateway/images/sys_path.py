"""Where a Python would look for packages, and which version it is, by the files around it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from htcdaskgateway.images.file_errors import is_absent
from htcdaskgateway.images.files import ImageFiles

_EXECUTABLE = re.compile(r"(?:platform-)?python([0-9]+\.[0-9]+t?)[dm]*")
_LIBRARY = re.compile(r"python[0-9]+\.[0-9]+t?")
_CONDA_PYTHON = re.compile(r"python-([0-9.]+[a-z0-9]*)-[^-]+\.json")
_FULL = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[a-z0-9]*")
_PATCH_LEVEL = re.compile(rb'^#define\s+PY_VERSION\s+"([0-9][0-9a-z.+]*)"', re.MULTILINE)
_MAX_SETTINGS, _MAX_HEADER, _MAX_LINKS_FILE = 16384, 8192, 65536
_MAX_LINKS_FILES, _MAX_ADDED = 50, 100


@dataclass(frozen=True)
class Installation:
    """A Python with its packages.

    Attributes
    ----------
    version : str
        ``3.11.7``, or ``3.11`` where no more is known.
    site : tuple of str
        Directories of packages, the first that is asked first; some may not exist.
    conda : tuple of str
        The names in its ``conda-meta``.
    """

    version: str
    site: tuple[str, ...]
    conda: tuple[str, ...] = ()


def find_installation(files: ImageFiles, executable: str) -> Installation | None:
    """Find what belongs to a Python; None where its version cannot be told.

    Raises
    ------
    OSError
        A file is there and cannot be read.
    ImageUnusableError
    """
    settings, environment = _venv(files, executable)
    real = files.resolve(executable)
    series = _series(settings, real)
    places = list(_above(real.rpartition("/")[0]))
    if home := settings.get("home", ""):
        places = [*_above(home), *places]
    prefix, series = _prefix(files, [*places, "/usr/local", "/usr"], series)
    if not series:
        return None
    system = () if environment and not _is_true(settings) else tuple(_system_site(files, prefix, series))
    site = tuple(_site(environment, series)) if environment else ()
    conda = () if environment else tuple(_names(files, f"{prefix.rstrip('/')}/conda-meta"))
    version = _full_version(files, prefix, series, settings, conda)
    return Installation(version, (*site, *system), conda)


def search(
    files: ImageFiles, pythonpath: Sequence[str], site: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """List all directories of ``sys.path`` that exist, each once, with those that ``.pth`` files add."""
    seen: set[str] = set()
    for directory in pythonpath:
        yield from _list(files, directory, seen)
    for directory in site:
        for found, names in _list(files, directory, seen):
            yield found, names
            for added in _added(files, found, names):
                yield from _list(files, added, seen)


def _list(files: ImageFiles, directory: str, seen: set[str]) -> Iterator[tuple[str, list[str]]]:
    try:
        real = files.resolve(directory)
        if real not in seen:
            seen.add(real)
            yield real, files.names(real)
    except OSError as error:
        if not is_absent(error):
            raise


def _names(files: ImageFiles, directory: str) -> list[str]:
    return next((names for _, names in _list(files, directory, set())), [])


def _added(files: ImageFiles, site: str, names: list[str]) -> list[str]:
    """Give the directories that the ``.pth`` files of a directory name; code in them is not run."""
    found: dict[str, None] = {}
    for name in sorted(name for name in names if name.endswith(".pth") and name[0] != ".")[:_MAX_LINKS_FILES]:
        if not files.is_file(f"{site}/{name}"):
            continue
        text = files.read(f"{site}/{name}", _MAX_LINKS_FILE).decode("utf-8", "surrogateescape")
        for line in text.splitlines():
            path = line.strip()
            if path and "\0" not in path and not path.startswith(("#", "import ", "import\t")):
                found[path if path.startswith("/") else f"{site}/{path}"] = None
            if len(found) >= _MAX_ADDED:
                return list(found)
    return list(found)


def _venv(files: ImageFiles, executable: str) -> tuple[dict[str, str], str]:
    """Give the settings and the directory of the virtual environment; both empty if it is none."""
    beside = executable.rpartition("/")[0]
    for place in (beside, beside.rpartition("/")[0]):
        path = f"{place}/pyvenv.cfg"
        if files.is_file(path):
            text = files.read(path, _MAX_SETTINGS).decode("utf-8", "surrogateescape")
            pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
            return {name.strip().lower(): value.strip() for name, _, value in pairs}, place
    return {}, ""


def _is_true(settings: dict[str, str]) -> bool:
    return settings.get("include-system-site-packages", "").lower() == "true"


def _series(settings: dict[str, str], real: str) -> str:
    """Give ``3.11`` (``3.13t`` where it is built without the lock) by names alone, or nothing."""
    if found := _EXECUTABLE.fullmatch(real.rpartition("/")[2]):
        return found.group(1)
    version = settings.get("version", "") or settings.get("version_info", "")
    found = re.match(r"[0-9]+\.[0-9]+", version)
    return found.group() if found else ""


def _above(directory: str) -> Iterator[str]:
    while directory:
        yield directory
        directory = directory.rpartition("/")[0]
    yield "/"


def _prefix(files: ImageFiles, places: Sequence[str], series: str) -> tuple[str, str]:
    """Give the first of these directories below which Python's own library is, and its series."""
    for place in dict.fromkeys(places):
        for library in (f"{place.rstrip('/')}/lib", f"{place.rstrip('/')}/lib64"):
            if not files.is_directory(library):
                continue
            names = [f"python{series}"] if series else _names(files, library)
            found = [
                name for name in names if _LIBRARY.fullmatch(name) and files.exists(f"{library}/{name}/os.py")
            ]
            if len(found) == 1:
                return place, found[0].removeprefix("python")
            if found:
                return place, ""
    return (places[1] if len(places) > 1 else "/usr"), series


def _site(prefix: str, series: str) -> Iterator[str]:
    for library in ("lib64", "lib"):
        yield f"{prefix.rstrip('/')}/{library}/python{series}/site-packages"


def _system_site(files: ImageFiles, prefix: str, series: str) -> Iterator[str]:
    if prefix != "/usr":
        yield from _site(prefix, series)
    elif files.is_file("/etc/debian_version"):
        yield f"/usr/local/lib/python{series}/dist-packages"
        yield f"/usr/lib/python{series[0]}/dist-packages"
        yield f"/usr/lib/python{series}/dist-packages"
    else:
        if files.is_directory(f"/usr/lib64/python{series}"):  # Fedora and its kin add /usr/local
            yield from _site("/usr/local", series)
        yield from _site("/usr", series)


def _full_version(
    files: ImageFiles, prefix: str, series: str, settings: dict[str, str], conda: Sequence[str]
) -> str:
    short = series.rstrip("t")
    known = [settings.get("version", ""), settings.get("version_info", "").partition(".final")[0]]
    known += [found.group(1) for name in conda if (found := _CONDA_PYTHON.fullmatch(name))]
    for version in known:
        if _FULL.fullmatch(version) and version.startswith(f"{short}."):
            return version
    header = f"{prefix.rstrip('/')}/include/python{series}/patchlevel.h"
    if files.is_file(header) and (defined := _PATCH_LEVEL.search(files.read(header, _MAX_HEADER))):
        version = defined.group(1).decode("ascii")
        if version.startswith(f"{short}."):
            return version
    return short
