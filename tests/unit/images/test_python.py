"""Which Python a worker would run, and where that looks for packages: layouts of images, and real Pythons."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from tests.support.image_trees import Fifo, Link, Program, conda_image, make, python

from htcdaskgateway.images.environment import DEFAULT_PATH, container_environment
from htcdaskgateway.images.files import ImageFiles
from htcdaskgateway.images.packages import find_packages
from htcdaskgateway.images.python import find_python
from htcdaskgateway.images.sys_path import find_installation, search

CONDA = python("opt/conda", "3.11", python3="python3.11", python="python3.11")
SYSTEM = python("usr", "3.6", python3="python3.6")
PATH = ("/opt/conda/bin", *DEFAULT_PATH)
LONG = "/" + "x" * 150 + "/bin/python3.11"

# The first lines of /opt/conda/bin/dask, and the Python that runs it.
STARTS = [
    ("#!/opt/conda/bin/python3.11\nimport dask", "/opt/conda/bin/python3.11"),
    ("#! /opt/conda/bin/python3.11 -sE\n", "/opt/conda/bin/python3.11"),
    ("#!/usr/bin/env python3\n", "/opt/conda/bin/python3"),
    ("#!/usr/bin/env -S python3 -I\n", "/opt/conda/bin/python3"),
    ("#!/usr/bin/env -S PYTHONSAFEPATH=1 python3\n", "/opt/conda/bin/python3"),
    (f"#!/bin/sh\n'''exec' {LONG} \"$0\" \"$@\"\n' '''\nimport dask", LONG),
    ('#!/bin/sh\n"exec" "/opt/conda/bin/python" "$0" "$@"\n', "/opt/conda/bin/python"),
    ('#!/bin/sh\nset -e\nexec /opt/conda/bin/python3 -m dask "$@"\n', "/opt/conda/bin/python3"),
    ('#!/bin/bash\nexec python3 -m dask "$@"\n', "/opt/conda/bin/python3"),
    (
        '#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")"/\'python\' "$0" "$@"\n',
        "/opt/conda/bin/python",
    ),
    ('#!/bin/sh\n\'\'\'exec\' "$(dirname "$0")/python3" "$0" "$@"\n', "/opt/conda/bin/python3"),
    ("#!/opt/conda/bin/wrapper\n", None),
    ("#!python3\n", None),
    ("#!/usr/bin/env python3\r\n", None),
    ("#!\t/opt/conda/bin/python3.11\t-sE \n", "/opt/conda/bin/python3.11"),
    ("#!/bin/sh\nexec ./python3\n", None),
    ("#!/bin/sh\nexec conda run -n x dask\n", None),
    ("#!/bin/sh\npython3 -m dask\n", None),
    ("#!/usr/bin/perl\n", None),
    ("#!\n", None),
    ("", None),
    ("\x7fELF", None),
    ("#!/usr/bin/env 'python3\n", None),
]


@pytest.mark.parametrize(("text", "expected"), STARTS)
def test_the_python_of_a_script(tmp_path: Path, text: str, expected: str | None) -> None:
    tree = {**CONDA, **SYSTEM, LONG[1:]: Program(), "python3": Program(), "opt/conda/bin/dask": Program(text)}
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        found = find_python(files, PATH)
    assert found
    assert found.path == (expected or "/opt/conda/bin/python3")
    assert bool(found.notes) == (expected is None)
    assert all("'/opt/conda/bin/dask'" in note for note in found.notes)
    assert found.command == "/opt/conda/bin/dask"
    assert found.is_guess == (expected is None)  # for the system has another


# First lines of which the kernel says ENOENT, or perhaps not.
ABSENT = [
    ("#!/opt/gone/bin/python3\n", True),
    ("#!/opt/conda/bin/python3\r\n", True),
    ("#!/opt/conda/bin/python3.11\r -sE\n", True),
    ("#!/opt/link/bin/python3\n", True),
    ("#!/opt/conda/lib/python3\n", True),  # not executable
    ("#!/cvmfs/x/bin/python3\n", False),
    ("#!/opt/mounted/bin/python3\n", False),
    ("#!/opt/climbs/bin/python3\n", False),
    ("#!/bin/sh\nexec /opt/gone/bin/python3 -m dask\n", False),  # what comes before is not followed
]


@pytest.mark.parametrize(("text", "sure"), ABSENT)
def test_a_script_whose_python_is_not_there(tmp_path: Path, text: str, sure: bool) -> None:
    tree = {
        **CONDA,
        "opt/conda/bin/dask": Program(text),
        "opt/conda/lib/python3": "",
        "opt/link": Link("/nowhere"),
        "opt/mounted": Link("/cvmfs/x"),
        "opt/climbs": Link("../usr/../../home/x"),
        "usr": None,
    }
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        found = find_python(files, PATH)
    assert found
    assert found.cannot_start is sure
    assert "which is not there" in found.notes[0]
    assert found.notes[0].isprintable()


def test_a_program_that_is_named_by_its_path(tmp_path: Path) -> None:
    tree = {
        **CONDA,
        **python("opt/own", "3.12"),
        "opt/own/bin/dask": Program("#!/opt/own/bin/python3.12\n"),
        "opt/conda/bin/dask": Program("#!/opt/conda/bin/python3.11\n"),
    }
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        for command, expected in (
            ("dask", "/opt/conda/bin/python3.11"),
            ("/opt/own/bin/dask", "/opt/own/bin/python3.12"),
        ):
            found = find_python(files, PATH, command)
            assert found
            assert (found.path, found.notes) == (expected, ())
        for command in ("/opt/gone/dask", "opt/own/bin/dask"):
            found = find_python(files, PATH, command)
            assert found
            assert (found.command, found.notes) == ("", (f"there is no {command}",))


def test_the_only_python_is_no_guess(tmp_path: Path) -> None:
    tree = {**CONDA, "opt/conda/bin/dask": Program("#!/bin/sh\npython3 -m dask\n")}
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        found = find_python(files, PATH)
    assert found
    assert (found.path, found.is_guess) == ("/opt/conda/bin/python3", False)
    assert "is not understood" in found.notes[0]


# A script of the site's in front of the real one.
WRAPPERS = [
    ('exec /opt/conda/bin/dask "$@"', False),
    ('export X=1\nexec /opt/conda/bin/dask "$@"', False),
    ('exec dask "$@"', True),  # itself
    ('if [ -n "$X" ]; then\nexec /usr/bin/python3 -m dask\nfi\nexec /opt/conda/bin/dask "$@"', True),
    ('if [ -n "$X" ]; then exec /usr/bin/python3 -m dask; fi\nexec /opt/conda/bin/dask "$@"', True),
]


@pytest.mark.parametrize(("text", "is_guess"), WRAPPERS)
def test_a_script_that_executes_the_command(tmp_path: Path, text: str, is_guess: bool) -> None:
    tree = {
        **CONDA,
        **SYSTEM,
        "usr/bin/dask": Program(f"#!/bin/bash\n{text}\n"),
        "opt/conda/bin/dask": Program("#!/opt/conda/bin/python3.11\n"),
    }
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        found = find_python(files, DEFAULT_PATH)
    assert found
    assert found.is_guess is is_guess
    if not is_guess:
        assert (found.path, found.notes) == ("/opt/conda/bin/python3.11", ())


def test_a_script_that_is_a_link(tmp_path: Path) -> None:
    relocatable = Program('#!/bin/sh\n\'\'\'exec\' "$(dirname "$(readlink -f "$0")")/python3" "$0" "$@"\n')
    tree = {**CONDA, **SYSTEM, "opt/conda/bin/dask": relocatable, "usr/bin/dask": Link("/opt/conda/bin/dask")}
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        found = find_python(files, ["/usr/bin"])
    assert found
    assert found.path == "/opt/conda/bin/python3"


def test_a_python_that_is_a_script(tmp_path: Path) -> None:
    wrapper = Program('#!/bin/sh\nexec /opt/conda/bin/python3.11 "$@"\n')
    tree = {
        **CONDA,
        **SYSTEM,
        "usr/local/bin/python3": wrapper,
        "usr/local/bin/python": Program("#!/usr/local/bin/python\n"),
    }
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        found = find_python(files, ["/usr/local/bin"], command="dask-none")
        assert found
        assert (found.path, found.notes) == (
            "/opt/conda/bin/python3.11",
            ("there is no dask-none in its PATH",),
        )
        looped = find_python(files, ["/usr/local/bin"], command="python")
        assert looped
        assert "too many scripts" in looped.notes[0]


def test_only_programs_count(tmp_path: Path) -> None:
    tree = {
        **CONDA,
        "a/dask": "not executable",
        "b/dask": None,
        "c/dask": Fifo(),
        "d/dask": Link("nowhere"),
        "opt/conda/bin/dask": Program("#!/opt/conda/bin/python3.11\n"),
    }
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        found = find_python(files, ["/gone", "/a", "/b", "/c", "/d", "/opt/conda/bin"])
    assert found
    assert (found.path, found.notes) == ("/opt/conda/bin/python3.11", ())


def test_a_python_that_is_not_in_path_is_said(tmp_path: Path) -> None:
    with ImageFiles(make(tmp_path / "image", {**CONDA})) as files:
        found = find_python(files, DEFAULT_PATH)
    assert found
    assert found.path == "/opt/conda/bin/python3"
    assert found.notes == ("there is no dask in its PATH", "/opt/conda/bin/python3 is not in its PATH")


def test_no_python(tmp_path: Path) -> None:
    with ImageFiles(make(tmp_path / "image", {"usr/bin/dask": Program("#!/usr/bin/python3\n")})) as files:
        assert find_python(files, DEFAULT_PATH) is None


# What images hold besides the Python, its version, and the existing directories of its packages.
HEADER = '#define PY_VERSION_HEX 1\n#define PY_VERSION      "3.11.7"\n'
DEBIAN = {
    "etc/debian_version": "12",
    "usr/lib/python3/dist-packages": None,
    "usr/local/lib/python3.11/dist-packages": None,
    "usr/lib/python3.11/site-packages": None,  # not looked at there
    **python("usr", "3.11", python3="python3.11"),
}
LAYOUTS: list[tuple[str, dict[str, Any], str, str, list[str]]] = [
    (
        "conda",
        {
            **CONDA,
            "opt/conda/conda-meta/python-3.11.7-hab00c5b_0_cpython.json": "",
            "opt/conda/lib/python3.11/site-packages": None,
        },
        "/opt/conda/bin/python3",
        "3.11.7",
        ["/opt/conda/lib/python3.11/site-packages"],
    ),
    (
        "an environment of conda",
        {
            **CONDA,
            **python("opt/conda/envs/x", "3.12"),
            "opt/conda/conda-meta/python-3.11.7-0.json": "",
            "opt/conda/envs/x/conda-meta/python-3.12.1-0.json": "",
            "opt/conda/envs/x/lib/python3.12/site-packages": None,
        },
        "/opt/conda/envs/x/bin/python3.12",
        "3.12.1",
        ["/opt/conda/envs/x/lib/python3.12/site-packages"],
    ),
    (
        "Docker's official Python",
        {
            **python("usr/local", "3.11", python3="python3.11"),
            "usr/local/include/python3.11/patchlevel.h": HEADER,
            "usr/local/lib/python3.11/site-packages": None,
            "etc/debian_version": "12",
        },
        "/usr/local/bin/python3",
        "3.11.7",
        ["/usr/local/lib/python3.11/site-packages"],
    ),
    (
        "Debian",
        DEBIAN,
        "/usr/bin/python3",
        "3.11",
        ["/usr/local/lib/python3.11/dist-packages", "/usr/lib/python3/dist-packages"],
    ),
    (
        "Debian, through /bin",
        {**DEBIAN, "bin": Link("usr/bin")},
        "/bin/python3",
        "3.11",
        ["/usr/local/lib/python3.11/dist-packages", "/usr/lib/python3/dist-packages"],
    ),
    (
        "AlmaLinux 8",
        {
            "usr/libexec/platform-python3.6": Program(),
            "usr/bin/python3.6": Link("../libexec/platform-python3.6"),
            "etc/alternatives/python3": Link("/usr/bin/python3.6"),
            "usr/bin/python3": Link("/etc/alternatives/python3"),
            "usr/lib64/python3.6/os.py": "",
            "usr/lib64/python3.6/site-packages": None,
            "usr/lib/python3.6/site-packages": None,
            "usr/local/lib/python3.6/site-packages": None,
        },
        "/usr/bin/python3",
        "3.6",
        [
            "/usr/local/lib/python3.6/site-packages",
            "/usr/lib64/python3.6/site-packages",
            "/usr/lib/python3.6/site-packages",
        ],
    ),
    (
        "Alpine",
        {
            **python("usr", "3.12"),
            "usr/lib/python3.12/site-packages": None,
            "usr/local/lib/python3.12/site-packages": None,
        },
        "/usr/bin/python3.12",
        "3.12",
        ["/usr/lib/python3.12/site-packages"],
    ),
    (
        "a virtual environment",
        {
            **DEBIAN,
            "venv/bin/python": Link("/usr/bin/python3"),
            "venv/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n",
            "venv/lib/python3.11/site-packages": None,
            "venv/lib64": Link("lib"),
        },
        "/venv/bin/python",
        "3.11.2",
        ["/venv/lib/python3.11/site-packages"],
    ),
    (
        "one of uv that sees the system's packages",
        {
            **DEBIAN,
            "venv/bin/python": Link("/usr/bin/python3"),
            "venv/pyvenv.cfg": "home=/usr/bin\nuv = 0.5\nversion_info = 3.11.2.final.0\n"
            "Include-System-Site-Packages = True\n",
            "venv/lib/python3.11/site-packages": None,
        },
        "/venv/bin/python",
        "3.11.2",
        [
            "/venv/lib/python3.11/site-packages",
            "/usr/local/lib/python3.11/dist-packages",
            "/usr/lib/python3/dist-packages",
        ],
    ),
    (
        "a program without its version in the name",
        {
            "opt/p/bin/python3": Program(),
            "opt/p/lib/python3.9/os.py": "",
            "opt/p/lib/python3.9/site-packages": None,
        },
        "/opt/p/bin/python3",
        "3.9",
        ["/opt/p/lib/python3.9/site-packages"],
    ),
    (
        "a link into a prefix",
        {
            **CONDA,
            "usr/bin/python3": Link("../../opt/conda/bin/python3"),
            "opt/conda/lib/python3.11/site-packages": None,
        },
        "/usr/bin/python3",
        "3.11",
        ["/opt/conda/lib/python3.11/site-packages"],
    ),
    (
        "free-threaded",
        {**python("usr/local", "3.13t"), "usr/local/lib/python3.13t/site-packages": None},
        "/usr/local/bin/python3.13t",
        "3.13",
        ["/usr/local/lib/python3.13t/site-packages"],
    ),
    (
        "another version's header and record",
        {
            **CONDA,
            "opt/conda/include/python3.11/patchlevel.h": '#define PY_VERSION "3.12.1"\n',
            "opt/conda/conda-meta/python-3.1.1-0.json": "",
        },
        "/opt/conda/bin/python3.11",
        "3.11",
        [],
    ),
]


@pytest.mark.parametrize(
    ("tree", "executable", "version", "site"), [row[1:] for row in LAYOUTS], ids=[row[0] for row in LAYOUTS]
)
def test_layouts(
    tmp_path: Path, tree: dict[str, Any], executable: str, version: str, site: list[str]
) -> None:
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        found = find_installation(files, executable)
        assert found
        assert found.version == version
        assert [directory for directory, _ in search(files, (), found.site)] == site


@pytest.mark.parametrize(
    "tree",
    [
        {"opt/p/bin/python3": Program()},
        {"opt/p/bin/python3": Program(), "opt/p/lib/python3.9/os.py": "", "opt/p/lib/python3.10/os.py": ""},
        {"opt/p/bin/python3": Program(), "opt/p/pyvenv.cfg": "version = x\nhome = /\x00\n\xff"},
    ],
    ids=["no library", "two libraries", "settings that say nothing"],
)
def test_a_version_that_cannot_be_told(tmp_path: Path, tree: dict[str, Any]) -> None:
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        assert find_installation(files, "/opt/p/bin/python3") is None


def test_directories_that_pth_files_add(tmp_path: Path) -> None:
    tree = {
        "site/a.pth": "# note\n\n/absolute\nimport os; os.abort()\nbeside\n/gone\n../../../outside\n/file\n",
        "site/b.pth": "/absolute/.\n/last\n",
        "site/.hidden.pth": "/hidden\n",
        "site/fifo.pth": Fifo(),
        "site/binary.pth": b"\0\xff/last\n",
        "site/beside/x.pth": "/hidden\n",
        "first/c.pth": "/hidden\n",
        **dict.fromkeys(["absolute", "hidden", "last", "site2"]),
        "outside": None,
        "file": "",
    }
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        found = [name for name, _ in search(files, ["/first", "/gone"], ["/site", "/site2", "/site/."])]
    assert found == ["/first", "/site", "/absolute", "/site/beside", "/outside", "/last", "/site2"]


def test_an_image_as_the_coffea_team_builds_them(tmp_path: Path) -> None:
    for prefix in ("usr/local", "opt/conda"):
        with ImageFiles(make(tmp_path / prefix.replace("/", "-"), conda_image(prefix))) as files:
            environment = container_environment(files)
            program = find_python(files, environment.path)
            assert program
            assert (program.path, program.notes, environment.notes) == (f"/{prefix}/bin/python3.10", (), ())
            installation = find_installation(files, program.path)
            assert installation
            assert installation.version == "3.10.14"


ASK = """
import json, os, platform, site, sys
from importlib.metadata import distributions
found = {}
for one in distributions():
    found.setdefault(one.metadata["Name"], one.version)
own = [os.path.realpath(p) for p in sys.path if os.path.isdir(p) and "packages" in p]
print(json.dumps([platform.python_version(), own, found]))
"""


def compare(executable: str) -> None:
    """Read this machine as an image, beside what the Python says itself."""
    done = subprocess.run(
        [executable, "-c", ASK],
        cwd="/",
        env={"PYTHONNOUSERSITE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    version, directories, found = json.loads(done.stdout)
    with ImageFiles("/") as files:
        installation = find_installation(files, executable)
        assert installation
        assert version == installation.version or version.startswith(f"{installation.version}.")
        listed = list(search(files, (), installation.site))
        assert [name for name, _ in listed] == directories
        for wanted in (None, [name.lower().replace("_", "-").replace(".", "-") for name in found]):
            versions, _ = find_packages(files, listed, installation.conda, wanted)
            assert versions == {
                name.lower().replace("_", "-").replace(".", "-"): v for name, v in found.items()
            }
    assert found


def test_this_python_says_the_same() -> None:
    compare(sys.executable)


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no Python of the system's")
def test_the_system_s_python_says_the_same() -> None:
    compare("/usr/bin/python3")


@pytest.mark.parametrize("system", [False, True])
def test_a_new_virtual_environment_says_the_same(tmp_path: Path, system: bool) -> None:
    venv.create(tmp_path / "venv", system_site_packages=system, symlinks=True)
    site = next((tmp_path / "venv").glob("lib/python3.*/site-packages"))
    make(
        site,
        {
            "One_Package-1.5.dist-info/METADATA": "Name: One_Package\nVersion: 1.5\n",
            "x.pth": f"{tmp_path}/packages\n",
        },
    )
    make(tmp_path / "packages", {"two-2.0-py3.11.egg-info/PKG-INFO": "Name: two\nVersion: 2.0\n"})
    compare(str(tmp_path / "venv/bin/python"))
