"""Directories that look like unpacked images, and a watch over what is opened while they are read."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Link:
    """To this target, as written."""

    target: str


@dataclass(frozen=True)
class Program:
    """A file that may be executed."""

    text: str = "\x7fELF"


class Fifo:
    """Whoever opens it without care waits for ever."""


Tree = Mapping[str, Any]

DOCKER_ENV = ".singularity.d/env/10-docker2singularity.sh"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make(root: Path, tree: Tree) -> Path:
    """Write a tree: text, bytes, `Link`, `Program`, `Fifo`, or None for a directory, by relative path."""
    root.mkdir(exist_ok=True)
    for name, what in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            path.mkdir(exist_ok=True)
        elif isinstance(what, Link):
            path.symlink_to(what.target)
        elif isinstance(what, Fifo):
            os.mkfifo(path)
        elif isinstance(what, bytes):
            path.write_bytes(what)
        else:
            path.write_text(what.text if isinstance(what, Program) else what)
            path.chmod(0o755 if isinstance(what, Program) else 0o644)
    return root


def package(site: str, name: str, version: str) -> dict[str, str]:
    """What pip leaves of a package in a directory."""
    folder = f"{site}/{name.replace('-', '_')}-{version}.dist-info"
    return {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: 0\n",
        f"{folder}/RECORD": "",
    }


def python(prefix: str, series: str, **links: str) -> dict[str, str | Link | Program]:
    """What an interpreter's own files are, and links beside it: ``python3="python3.11"``."""
    found: dict[str, str | Link | Program] = {
        f"{prefix}/bin/python{series}": Program(),
        f"{prefix}/lib/python{series}/os.py": "",
    }
    found.update((f"{prefix}/bin/{name}", Link(target)) for name, target in links.items())
    return found


def conda_image(prefix: str = "usr/local", series: str = "3.10") -> dict[str, Any]:
    """As images of the coffea team are: conda under /usr/local or /opt/conda, and the system's Python."""
    site = f"{prefix}/lib/python{series}/site-packages"
    path = SYSTEM_PATH if prefix == "usr/local" else f"/{prefix}/bin:{SYSTEM_PATH}"
    return {
        DOCKER_ENV: f'#!/bin/sh\nexport PATH="{path}"\nexport X="${{X:-"{series}"}}"\n',
        ".singularity.d/env/90-environment.sh": "#!/bin/sh\n# Custom environment shell code should follow\n",
        ".singularity.d/env/99-base.sh": 'if [ -z "$LD_LIBRARY_PATH" ]; then\n    LD_LIBRARY_PATH="/x"\nfi\n',
        "bin": Link("usr/bin"),
        "sbin": Link("usr/sbin"),
        "usr/sbin": None,
        "usr/local/sbin": None,
        **python("usr", "3.6", python3="../../etc/alternatives/python3"),
        "etc/alternatives/python3": Link("/usr/bin/python3.6"),
        **python(prefix, series, python3=f"python{series}", python=f"python{series}"),
        f"{prefix}/bin/dask": Program(f"#!/{prefix}/bin/python{series}\nimport dask\n"),
        f"{prefix}/conda-meta/python-{series}.14-hd12c33a_0_cpython.json": "{}",
        f"{prefix}/conda-meta/dask-core-2024.4.0-pyhd8ed1ab_0.json": "{}",
        f"{prefix}/conda-meta/blosc-1.21.5-hc2324a3_1.json": "{}",
        f"{prefix}/conda-meta/lz4-4.3.3-py310h350c4a5_0.json": "{}",
        f"{site}/dask/__init__.py": "",
        **package(site, "dask", "2024.4.1"),
        **package(site, "distributed", "2024.4.1"),
        **package(site, "dask-gateway", "2024.1.0"),
    }


@dataclass
class Watch:
    """What was opened, by the kernel's own account, and how often the system was called."""

    opened: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    @property
    def looks(self) -> int:
        """Calls that may have to ask a server."""
        return sum(number for name, number in self.calls.items() if name not in ("close", "fstat"))


_listening: list[Counter[str]] = []
_hooked: list[bool] = []


def _listen(event: str, _: Any) -> None:
    for heard in _listening:
        heard[event] += 1


@contextmanager
def watched() -> Iterator[Watch]:
    """Watch this process. Fails if a file is opened in another way than by ``os.open``."""
    if not _hooked:
        sys.addaudithook(_listen)  # which cannot be taken back
        _hooked.append(True)
    watch, heard = Watch(), Counter[str]()
    with pytest.MonkeyPatch.context() as patch:

        def counted(name: str) -> Callable[..., Any]:
            call = getattr(os, name)

            def replacement(*arguments: Any, **options: Any) -> Any:
                watch.calls[name] += 1
                result = call(*arguments, **options)
                if name == "open":
                    watch.opened.append(readlink(f"/proc/self/fd/{result}"))
                return result

            return replacement

        readlink = os.readlink
        for name in ("open", "close", "stat", "lstat", "fstat", "readlink", "scandir", "listdir", "read"):
            patch.setattr(os, name, counted(name))
        _listening.append(heard)
        try:
            yield watch
        finally:
            _listening.remove(heard)
    assert heard["open"] == watch.calls["open"]
    assert not {
        event for event in heard if event.startswith(("subprocess", "os.exec", "os.fork", "os.posix"))
    }
    changes = (
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.chmod",
        "os.utime",
    )
    assert not set(changes) & set(heard)


@contextmanager
def as_nobody(path: Path) -> Iterator[None]:
    """Without root's rights, for which all is readable."""
    if os.geteuid() != 0:
        yield
        return
    for parent in (path, *path.parents):
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(stat.S_IMODE(parent.stat().st_mode) | 0o011)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
