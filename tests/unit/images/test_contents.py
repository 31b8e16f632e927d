"""A whole image is read: few calls, nothing outside of it, again only if it changed, and only our errors."""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.support.image_trees import (
    DOCKER_ENV,
    Fifo,
    Link,
    Program,
    as_nobody,
    conda_image,
    make,
    package,
    python,
    watched,
)

from htcdaskgateway.images import contents as module
from htcdaskgateway.images.contents import ImageContents, forget, read_image
from htcdaskgateway.images.errors import ImageUnreadableError, ImageUnusableError, run_instead

MUST = ("dask", "distributed", "dask-gateway")
CANARY = "666.canary"


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make(tmp_path / "coffea-dask:2024.4.0-py3.10", conda_image())


def test_an_image_is_read(image: Path) -> None:
    found = read_image(image, ["Dask", "distributed", "dask_gateway", "lz4", "numpy"])
    assert found == ImageContents(
        path=str(image),
        python="3.10.14",
        executable="/usr/local/bin/python3.10",
        versions={
            "python": "3.10.14",
            "dask": "2024.4.1",
            "dask-gateway": "2024.1.0",
            "distributed": "2024.4.1",
            "lz4": "4.3.3",
        },
        notes=(),
        runs_dask=True,
    )
    assert read_image(image) == found  # it has no more


def test_an_image_that_is_a_link(image: Path) -> None:
    """As each tag is in CVMFS."""
    link = image.with_name("worker:latest")
    link.symlink_to(image.name)
    assert read_image(link).versions == read_image(image).versions
    assert read_image(link).path == str(link)


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({}, "it has no Python in /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ({"usr/bin/python3": "not executable"}, "it has no Python"),
        ({"usr/bin/python3": Link("/usr/bin/python3")}, "it has no Python"),
        (
            {"usr/bin/python3": Program()},
            "the version of its Python, /usr/bin/python3, cannot be told from its files",
        ),
    ],
)
def test_what_cannot_be_read_is_said_with_a_way_out(tmp_path: Path, tree: dict[str, Any], why: str) -> None:
    root = make(tmp_path / "image", tree)
    with pytest.raises(ImageUnusableError) as caught:
        read_image(root)
    assert str(caught.value).startswith(f"The image {root} cannot be used: {why}")
    assert str(caught.value).endswith("\n" + run_instead(str(root)))
    assert isinstance(caught.value, ImageUnreadableError) == ("cannot be told" in why)


def test_a_directory_that_may_not_be_read(image: Path) -> None:
    site = image / "usr/local/lib/python3.10/site-packages"
    site.chmod(0o311)
    with as_nobody(image), pytest.raises(ImageUnusableError) as caught:
        read_image(image)
    assert caught.value.why == "/usr/local/lib/python3.10/site-packages: Permission denied"
    site.chmod(0o755)
    (image / "usr/local/bin").chmod(0o600)
    (image / "usr/bin").chmod(0o600)
    with (
        as_nobody(image),
        pytest.raises(ImageUnusableError, match="this account may not look into /usr/bin, /usr/local/bin"),
    ):
        read_image(image)


def test_what_python_would_import_first(tmp_path: Path) -> None:
    tree = conda_image()
    tree[".singularity.d/env/90-environment.sh"] = "export PYTHONPATH=/patches:$PYTHONPATH\n"
    tree |= package("patches", "dask", "2025.1.0")
    assert read_image(make(tmp_path / "image", tree), MUST).versions["dask"] == "2025.1.0"


def test_doubts_are_noted_and_can_be_printed(tmp_path: Path) -> None:
    tree = conda_image() | {".singularity.d/env/91-x.sh": b"PATH=/\x1b[31m\xff$(x):$PATH\n. /opt/x.sh\n"}
    found = read_image(make(tmp_path / "image", tree))
    assert len(found.notes) == 2
    assert all(note.isprintable() for note in found.notes)
    "".join(found.notes).encode()


def test_an_executable_with_an_odd_name(tmp_path: Path) -> None:
    tree = {
        DOCKER_ENV: "PATH=/o\x1bdd",
        **python("o\x1bdd", "3.11"),
        "o\x1bdd/dask": Program("#!/o\x1bdd/bin/python3.11"),
    }
    found = read_image(make(tmp_path / "image", tree))
    assert (found.python, found.executable) == ("3.11", "/o\N{REPLACEMENT CHARACTER}dd/bin/python3.11")


@pytest.mark.parametrize(
    ("tree", "runs"),
    [
        ({DOCKER_ENV: 'export PATH="/usr/bin"\n'}, False),
        ({DOCKER_ENV: 'export PATH="/opt/conda/bin:/usr/bin"\n'}, True),
        ({DOCKER_ENV: 'export PATH="$(x):/usr/bin"\n'}, None),
        ({DOCKER_ENV: 'export PATH="/cvmfs/x/bin:/usr/bin"\n'}, None),
        (
            {DOCKER_ENV: "export PATH=/usr/bin\n", ".singularity.d/env/91-x.sh": ". /opt/conda/activate\n"},
            None,
        ),
        ({}, False),
    ],
    ids=["not in PATH", "in PATH", "PATH unknown", "mounted", "not followed", "no environment"],
)
def test_whether_dask_is_in_its_path(tmp_path: Path, tree: dict[str, Any], runs: bool | None) -> None:
    image = conda_image("opt/conda")
    del image[DOCKER_ENV]
    found = read_image(make(tmp_path / "image", {**image, **tree}))
    assert found.runs_dask is runs
    assert ("there is no dask in its PATH" in found.notes) == (runs is not True)


@pytest.mark.parametrize(
    ("changes", "command", "runs"),
    [
        ({"usr/local/bin/dask": Program("#!/usr/local/conda/bin/python\n")}, "dask", False),
        ({"usr/local/bin/dask": Program("#!/usr/local/bin/python3.10\r\n")}, "dask", False),
        ({"usr/local/bin/dask": Program("#!/home/x/python\n"), "usr/bin/python3": ""}, "dask", True),
        (
            {
                "usr/local/bin/dask": Program("#!/gone/python\n"),
                ".singularity.d/env/91-x.sh": ". /opt/x.sh\n",
            },
            "dask",
            None,
        ),
        ({"opt/x/dask": Program("#!/usr/local/bin/python3.10\n")}, "/opt/x/dask", True),
        ({}, "/opt/x/dask", False),
        ({}, "/cvmfs/x/dask", None),
    ],
    ids=["no interpreter", "CRLF", "mounted", "not followed", "by its path", "no such path", "mounted path"],
)
def test_whether_its_dask_can_start(
    tmp_path: Path, changes: dict[str, Any], command: str, runs: bool | None
) -> None:
    image = conda_image()
    del image["usr/bin/python3.6"]
    found = read_image(make(tmp_path / "image", {**image, **changes}), command=command)
    assert found.runs_dask is runs
    assert bool(found.notes) == (runs is not True or "usr/bin/python3" in changes)


def test_a_directory_of_path_that_is_closed_leaves_it_open_whether_dask_is_there(tmp_path: Path) -> None:
    image = conda_image("opt/conda") | {DOCKER_ENV: 'export PATH="/closed:/usr/bin"\n', "closed/x": ""}
    root = make(tmp_path / "image", image)
    (root / "closed").chmod(0o600)
    with as_nobody(root):
        assert read_image(root).runs_dask is None


def test_an_image_of_pypy_may_be_good(tmp_path: Path) -> None:
    tree = {"usr/bin/pypy3": Program(), "usr/bin/dask": Program("#!/usr/bin/pypy3\n")}
    with pytest.raises(ImageUnreadableError, match="it has no Python in"):
        read_image(make(tmp_path / "image", tree))


def test_a_python_is_not_guessed_where_there_are_several(tmp_path: Path) -> None:
    image = conda_image("opt/conda") | {"opt/conda/bin/dask": Program("#!/bin/sh\nconda run dask\n")}
    root = make(tmp_path / "an image", image)
    with pytest.raises(ImageUnreadableError) as caught:
        read_image(root)
    assert str(caught.value) == (
        f"The image {root} cannot be used: which Python runs its dask cannot be told from its files:"
        " how '/opt/conda/bin/dask' starts is not understood.\n"
        "Where Apptainer is installed, `htcdask images 'an image' --run` asks the image's own Python."
    )


def test_few_calls_however_much_there_is(tmp_path: Path) -> None:
    """A network file system answers each in milliseconds: none of them may be for the rest of the image."""
    small = make(tmp_path / "small", conda_image())
    large = make(tmp_path / "large", conda_image())
    for n in range(300):
        make(large, package("usr/local/lib/python3.10/site-packages", f"package{n}", "1.0"))
        (large / f"usr/local/lib/python3.10/site-packages/package{n}/sub").mkdir(parents=True)
        (large / f"usr/local/conda-meta/package{n}-1.0-py310_0.json").touch()
        (large / f"usr/local/bin/tool{n}").touch()
    looks = {}
    for root, packages in ((small, None), (large, None), (small, MUST), (large, MUST)):
        forget()
        with watched() as watch:
            read_image(root, packages)
        looks[root.name, packages is None] = watch.looks
    assert looks["small", True] == looks["large", True] <= 60
    assert looks["small", False] == looks["large", False] <= 60 + 7 * len(MUST)


def test_the_second_look_is_short_and_lists_nothing(image: Path) -> None:
    first = read_image(image, MUST)
    with watched() as watch:
        assert read_image(image, MUST) == first
    assert watch.calls["scandir"] == watch.calls["read"] == 0
    assert watch.looks <= 30


def edit(path: Path, text: str) -> None:
    """As an editor that leaves the directory as it is."""
    with path.open("a") as file:
        file.write(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: make(root, package("usr/local/lib/python3.10/site-packages", "numpy", "1.0")),
        lambda root: make(
            root, {".singularity.d/env/20-path.sh": "export PYTHONPATH=/x\n", **package("x", "numpy", "1.0")}
        ),
        lambda root: (root / "usr/local/bin/dask").unlink(),
        lambda root: edit(root / DOCKER_ENV, "export PYTHONPATH=$(x)\n"),
        lambda root: edit(root / "usr/local/lib/python3.10/site-packages/x.pth", "/x\n"),
        lambda root: edit(root / "usr/local/pyvenv.cfg", "version = 3.10.99\n"),
        lambda root: (root / "usr/local/lib/python3.10/site-packages/dask-2024.4.1.dist-info").rename(
            root / "usr/local/lib/python3.10/site-packages/dask-2024.5.0.dist-info"
        ),
    ],
    ids=["installed", "environment", "command", "script", "pth", "venv", "upgraded"],
)
def test_an_image_that_changed_is_read_again(image: Path, change: Any) -> None:
    make(
        image, {"usr/local/lib/python3.10/site-packages/x.pth": "# nothing\n", **package("x", "numpy", "1.0")}
    )
    (image / "usr/local/pyvenv.cfg").write_text("version = 3.10.14\n")
    before = read_image(image)
    time.sleep(0.02)  # a tick of the file system's clock
    change(image)
    assert read_image(image) != before


def test_another_image_in_the_same_place_is_read(image: Path) -> None:
    assert read_image(image, MUST).versions["dask"] == "2024.4.1"
    image.rename(image.with_name("old"))
    make(image, conda_image(series="3.12"))
    assert read_image(image, MUST).python == "3.12.14"


def test_what_is_given_can_be_changed_without_harm(image: Path) -> None:
    versions = read_image(image).versions
    assert isinstance(versions, dict)
    versions["dask"] = "other"
    assert read_image(image).versions["dask"] == "2024.4.1"


def test_no_more_images_are_remembered_than_is_sensible(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_REMEMBERED", 3)
    for n in range(10):
        read_image(image, [f"package{n}"])
    assert len(module._remembered) == 3


def test_threads(tmp_path: Path) -> None:
    roots = [make(tmp_path / f"{n}", conda_image(series=f"3.{n}")) for n in range(8, 14)]
    wrong: list[Any] = []

    def read() -> None:
        for root in random.sample(roots * 10, 60):
            try:
                if read_image(root, MUST).python != f"3.{root.name}.14":
                    wrong.append(root)
            except Exception as error:  # noqa: BLE001 - of a thread
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def test_no_descriptor_is_left(image: Path, tmp_path: Path) -> None:
    def descriptors() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path's opens one

    make(tmp_path / "empty", {})
    before = descriptors()
    for root in (image, tmp_path / "empty", tmp_path / "gone"):
        for _ in range(3):
            with contextlib.suppress(ImageUnusableError):
                read_image(root, MUST)
    assert descriptors() == before


# Images that somebody took care to break.

SITE = "opt/conda/lib/python3.11/site-packages"
PLACES = [
    DOCKER_ENV, ".singularity.d/env/90-environment.sh", ".singularity.d/env", ".singularity.d", "environment",
    "opt", "opt/conda", "opt/conda/bin", "opt/conda/bin/dask", "opt/conda/bin/python3",
    "opt/conda/bin/python3.11", "opt/conda/lib", "opt/conda/lib/python3.11", "opt/conda/lib/python3.11/os.py",
    SITE, f"{SITE}/x.pth", f"{SITE}/dask-1.0.dist-info", f"{SITE}/dask-1.0.dist-info/METADATA",
    f"{SITE}/dask.egg-info", f"{SITE}/distributed-1.0-py3.11.egg-info", "opt/conda/conda-meta",
    "opt/conda/pyvenv.cfg", "opt/conda/include/python3.11/patchlevel.h", "usr/bin", "usr/bin/python3",
    "usr/lib", "bin",
]  # fmt: skip
TARGETS = [
    "/", "..", ".", "x", "{outside}", "{outside}/bin", "{outside}/canary", "{outside}/site",
    "../../outside/site", "/proc/self/root{outside}", "/proc/self/cwd", "/etc/passwd", "/opt/conda",
    "/dev/zero", "../../../../../..",
]  # fmt: skip
TEXTS = [
    'export PATH="/opt/conda/bin:/usr/bin"\n',
    "export PATH={outside}/bin\nexport PYTHONPATH={outside}/site:/proc/self/root\n",
    "#!{outside}/bin/python3.11\n",
    "#!/opt/conda/bin/python3.11\n",
    "#!/usr/bin/env python3\n",
    "#!/bin/sh\nexec {outside}/bin/python3.11\n",
    "{outside}/site\n../../../../../../../../../../{outside}/site\n",
    "home = {outside}/bin\nversion = 3.11.1\ninclude-system-site-packages = true\n",
    "Version: 1.0\n",
    "\0",
    "",
    "x" * 70000,
    '#define PY_VERSION "3.11.7"\n',
]
THINGS = st.one_of(
    st.sampled_from(TARGETS).map(Link),
    st.sampled_from(TEXTS),
    st.sampled_from(TEXTS).map(Program),
    st.binary(max_size=50),
    st.just(Fifo()),
    st.none(),
)


def put(path: Path, what: Any, outside: Path) -> None:
    for parent in reversed(path.parents):
        if parent.is_symlink() or (parent.exists() and not parent.is_dir()):
            return
        parent.mkdir(exist_ok=True)
    if os.path.lexists(path):
        return
    if isinstance(what, Link):
        what = Link(what.target.format(outside=outside))
    elif isinstance(what, Program):
        what = Program(what.text.format(outside=outside))
    elif isinstance(what, str):
        what = what.format(outside=outside)
    make(path.parent, {path.name: what})


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(PLACES), THINGS), min_size=1, max_size=6),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([None, MUST]),
)
def test_any_image_is_read_or_refused_and_nothing_outside_it(
    broken: list[tuple[str, Any]], sound: bool, packages: Any
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory).resolve()
        outside = make(top / "outside", {"canary": CANARY, **python(".", "3.11", python3="python3.11")})
        for site in ("site", "lib/python3.11/site-packages"):
            make(outside, package(site, "dask", CANARY))
        make(
            outside,
            {"bin/dask": Program(f"#!{outside}/bin/python3.11\n"), "pyvenv.cfg": f"version = {CANARY}\n"},
        )
        root = make(top / "image", {})
        for name, what in broken:
            put(root / name, what, outside)
        if sound:  # the rest is as it should be
            rest = {**python("opt/conda", "3.11", python3="python3.11"), **package(SITE, "dask", "1.0")}
            for name, what in rest.items():
                put(root / name, what, outside)
            put(root / "opt/conda/bin/dask", Program("#!/opt/conda/bin/python3.11\n"), outside)
            put(root / DOCKER_ENV, 'export PATH="/opt/conda/bin"', outside)
        forget()
        with watched() as watch:
            for _ in range(2):
                try:
                    found = read_image(root, packages)
                except ImageUnusableError as error:
                    event("refused")
                    said = str(error)
                else:
                    event("dask found" if "dask" in found.versions else "no dask")
                    said = repr(found)
                assert CANARY not in said
                assert said.replace("\n", "").isprintable()
        assert all(path == str(root) or path.startswith(f"{root}/") for path in watch.opened)
        assert watch.looks < 1000
