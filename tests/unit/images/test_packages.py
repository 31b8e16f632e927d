"""Versions by the records of installers, also where these are broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.image_trees import Fifo, Link, make, package

from htcdaskgateway.images.files import ImageFiles
from htcdaskgateway.images.packages import find_packages, normalized

GOOD = "Metadata-Version: 2.1\nName: dask\nVersion: 1.0\n\nVersion: 9\n"


def versions_in(root: Path, *sites: str, conda: tuple[str, ...] = (), wanted: Any = None) -> tuple[Any, Any]:
    with ImageFiles(root) as files:
        return find_packages(files, [(site, files.names(site)) for site in sites], conda, wanted)


@pytest.mark.parametrize("name", ["Dask_Gateway", "dask-gateway", "dask.gateway", "DASK-_.gateway"])
def test_one_spelling(name: str) -> None:
    assert normalized(name) == "dask-gateway"


@pytest.mark.parametrize(
    ("record", "package", "version"),
    [
        ("dask-2026.8.0.dist-info", "dask", "2026.8.0"),
        ("dask_gateway-2026.3.0.dist-info", "dask-gateway", "2026.3.0"),
        ("dask-2024.4.0+5.g1a2b3c4.dist-info", "dask", "2024.4.0+5.g1a2b3c4"),
        ("dask-1!2.0rc1.dist-info", "dask", "1!2.0rc1"),
        ("python-dateutil-2.8.2.dist-info", "python-dateutil", "2.8.2"),
        ("backports.zoneinfo-0.2.1.dist-info", "backports-zoneinfo", "0.2.1"),
        ("dask-2023.3.1.egg-info", "dask", "2023.3.1"),
        ("dask-2023.3.1-py3.10.egg-info", "dask", "2023.3.1"),
        ("numpy-1.24.2-py3.11-linux-x86_64.egg-info", "numpy", "1.24.2"),
        ("PyYAML-6.0.dist-info", "pyyaml", "6.0"),
    ],
)
def test_names_of_records(tmp_path: Path, record: str, package: str, version: str) -> None:
    make(tmp_path / "image", {f"site/{record}": None, "site/dask": None, "site/other.py": ""})
    assert versions_in(tmp_path / "image", "/site") == ({package: version}, [])


@pytest.mark.parametrize(
    "record",
    [
        "dask.txt",
        ".dist-info",
        "-1.0.dist-info",
        "dask-1.0.dist-info.bak",
        "~ask-1.0.dist-info",
        "dásk-1.0.dist-info",
        "dask-1.0\x1b[31m.dist-info",
        "EGG-INFO",
        "x y-1.0.dist-info",
    ],
)
def test_what_is_no_record(tmp_path: Path, record: str) -> None:
    make(tmp_path / "image", {f"site/{record}": None})
    assert versions_in(tmp_path / "image", "/site")[0] == {}


def test_a_record_without_a_version_in_its_name_is_opened(tmp_path: Path) -> None:
    tree = {
        "site/dask.egg-info/PKG-INFO": GOOD,
        "site/distributed.egg-info": GOOD.replace("dask", "distributed"),
        "site/toolz-0.12-py3.10.egg/EGG-INFO/PKG-INFO": GOOD,
        "site/gone.dist-info/RECORD": "",
    }
    make(tmp_path / "image", tree)
    found, notes = versions_in(tmp_path / "image", "/site", "/site/toolz-0.12-py3.10.egg")
    assert found == {"dask": "1.0", "distributed": "1.0", "toolz": "0.12"}
    assert notes == ["gone: /site/gone.dist-info/METADATA cannot be read (No such file or directory)"]


# What METADATA of dask-1.5.dist-info is, the version that counts, and what is said.
BROKEN: list[tuple[Any, str, str]] = [
    (GOOD, "1.0", ""),
    (GOOD.replace("\n", "\r\n"), "1.0", ""),
    (GOOD.replace("Version: 1.0", "version:1.0"), "1.0", ""),
    (GOOD + "x" * 10_000_000, "1.0", ""),
    (GOOD.encode() + b"\0\xff" * 100, "1.0", ""),
    ("", "1.5", "is empty"),
    (GOOD[:30], "1.5", "names no version"),
    ("Metadata-Version: 2.1\nName: dask\n\nVersion: 9\n", "1.5", "names no version"),
    ("Version: \n", "1.5", "names no version"),
    ("Version: 1.0; rm\n", "1.5", "names no version"),
    ("Version: 1\x1b[31m\n", "1.5", "names no version"),
    ("Version: " + "1" * 200 + "\n", "1.5", "names no version"),
    ("x" * 10_000_000, "1.5", "names no version"),
    (b"\0" * 1000, "1.5", "is no text"),
    (b"\xff\xfe\x00\x01" * 5000, "1.5", "is no text"),
    (Fifo(), "1.5", "Not a regular file"),
    (None, "1.5", "Is a directory"),
    (Link("METADATA"), "1.5", "Too many levels of symbolic links"),
    (Link("/gone"), "1.5", "No such file or directory"),
    (Link("/elsewhere"), "3.0", ""),
]


@pytest.mark.parametrize(("metadata", "version", "said"), BROKEN, ids=range(len(BROKEN)))
def test_metadata_of_any_kind(tmp_path: Path, metadata: Any, version: str, said: str) -> None:
    make(tmp_path / "image", {"elsewhere": "Version: 3.0\n", "site/dask-1.5.dist-info/METADATA": metadata})
    found, notes = versions_in(tmp_path / "image", "/site", wanted={"dask"})
    assert found == {"dask": version}
    assert len(notes) == bool(said)
    assert not said or "dask: /site/dask-1.5.dist-info/METADATA" in notes[0]
    assert said in "".join(notes)
    assert versions_in(tmp_path / "image", "/site") == ({"dask": "1.5"}, [])  # by its name


def test_a_record_that_is_a_fifo_or_a_file(tmp_path: Path) -> None:
    make(
        tmp_path / "image",
        {"site/dask-1.5.dist-info": Fifo(), "site/toolz-1.0.dist-info": "", "site/zict-1.egg-info": Fifo()},
    )
    found, notes = versions_in(tmp_path / "image", "/site", wanted={"dask", "toolz", "zict"})
    assert found == {"dask": "1.5", "toolz": "1.0", "zict": "1"}
    assert len(notes) == 3


def test_the_first_directory_counts(tmp_path: Path) -> None:
    make(
        tmp_path / "image",
        {**package("one", "dask", "1.0"), **package("two", "dask", "2.0"), **package("two", "toolz", "3.0")},
    )
    assert versions_in(tmp_path / "image", "/one", "/two") == ({"dask": "1.0", "toolz": "3.0"}, [])
    assert versions_in(tmp_path / "image", "/two", "/one") == ({"dask": "2.0", "toolz": "3.0"}, [])


@pytest.mark.parametrize("wanted", [None, {"dask"}])
def test_of_several_records_the_complete_one_counts(tmp_path: Path, wanted: Any) -> None:
    tree = {
        **package("site", "dask", "1.0"),
        "site/dask-2.0.dist-info/INSTALLER": "",
        "site/Dask-3.0.dist-info": None,
    }
    make(tmp_path / "image", tree)
    assert versions_in(tmp_path / "image", "/site", wanted=wanted) == ({"dask": "1.0"}, [])


def test_several_complete_records_are_said(tmp_path: Path) -> None:
    make(tmp_path / "image", {**package("site", "dask", "10.0"), **package("site", "dask", "9.0")})
    found, notes = versions_in(tmp_path / "image", "/site")
    assert found == {"dask": "10.0"}
    assert notes == ["dask is there in versions 9.0 and 10.0; which one counts is not known"]


def test_several_incomplete_records_are_said(tmp_path: Path) -> None:
    make(tmp_path / "image", {"site/dask-9.0.dist-info": None, "site/dask-10.0.dist-info": None})
    found, notes = versions_in(tmp_path / "image", "/site")
    assert found == {"dask": "10.0"}
    assert "dask-10.0.dist-info/METADATA cannot be read" in notes[0]


def test_conda_s_records_are_for_what_has_no_other(tmp_path: Path) -> None:
    make(tmp_path / "image", package("site", "dask", "2.0"))
    conda = (
        "dask-core-1.0-pyhd8ed1ab_0.json",
        "msgpack-python-1.0.7-py310h1_0.json",
        "python-blosc-1.11.1-py310h2_0.json",
        "blosc-1.21.5-hc2324a3_1.json",  # the library
        "zstd-1.5.5-hfc55251_0.json",
        "ca-certificates-2024.2.2-hbcca054_0.json",
        "lz4-4.3.3-py310h350c4a5_0.json",
        "history",
        "x-1;2-py310_0.json",
    )
    found = {"dask": "2.0", "msgpack": "1.0.7", "blosc": "1.11.1", "lz4": "4.3.3"}
    assert versions_in(tmp_path / "image", "/site", conda=conda) == (found, [])
    assert versions_in(tmp_path / "image", "/site", conda=conda, wanted={"lz4"}) == ({"lz4": "4.3.3"}, [])


RECORDS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["dask", "Dask_Gateway", "a.b", "x-y", "", "é"]) | st.text(max_size=4),
    st.sampled_from(["-1.0", "-2", "", "-1.0-py3.10", "--1", "-v1"]) | st.text(max_size=4),
    st.sampled_from([".dist-info", ".egg-info", ".egg"]),
    st.sampled_from(["", "", "", "~"]),
).filter(lambda name: "/" not in name and "\0" not in name and name.isprintable())


@given(
    st.dictionaries(RECORDS, st.none() | st.binary(max_size=80) | st.sampled_from([GOOD]), max_size=6),
    st.booleans(),
)
def test_any_records(tmp_path_factory: pytest.TempPathFactory, records: dict[str, Any], check: bool) -> None:
    root = tmp_path_factory.mktemp("image")
    make(root, {f"site/{name}": content for name, content in records.items()} | {"site/x": None})
    wanted = {"dask", "dask-gateway", "a-b", "x-y"} if check else None
    found, _ = versions_in(root, "/site", wanted=wanted)
    assert all(
        name == normalized(name) and version.isascii() and version.isprintable()
        for name, version in found.items()
    )
