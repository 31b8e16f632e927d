from __future__ import annotations

from importlib.metadata import version

import pytest

from htcdaskgateway.versions import MUST_AGREE, SHOWN, agree, fits, versions_here

HERE = {"python": "3.11.7", "dask": "2026.8.0", "distributed": "2026.8.0", "dask-gateway": "2026.3.0"}


@pytest.mark.parametrize(
    ("name", "versions", "expected"),
    [
        ("python", ["3.11.7", "3.11.2"], True),
        ("python", ["3.11.7", "3.11"], True),
        ("python", ["3.11.7", "3.1"], False),
        ("python", ["3.11.7", "3.10.7"], False),
        ("python", ["3.11.7", ""], False),
        ("dask", ["2026.8.0", "2026.8.0"], True),
        ("dask", ["2026.8.0", "2026.8"], True),
        ("dask", ["2026.8.0", "2026.08.0"], True),
        ("dask", ["2026.8.0", "2026.8.1"], False),
        ("dask", ["2026.8.0", "2026.8.0rc1"], False),
        ("dask", ["2026.8.0", "2026.8.0", "2026.7.0"], False),
        ("dask", ["2026.8.0", ""], False),
        ("dask", ["", ""], True),
        ("dask", [], True),
        ("dask", ["of my own", "of my own"], True),
        ("dask", ["of my own", "2026.8.0"], False),
    ],
)
def test_versions_agree(name: str, versions: list[str], expected: bool) -> None:
    assert agree(name, versions) is expected
    assert agree(name, reversed(versions)) is expected


@pytest.mark.parametrize("name", MUST_AGREE)
def test_an_environment_fits_if_all_that_must_agree_does(name: str) -> None:
    assert fits(HERE, {**HERE, "numpy": "1.0"})
    assert not fits(HERE, {**HERE, name: "1.0"})
    assert not fits(HERE, {key: value for key, value in HERE.items() if key != name})


def test_what_distributed_compares_is_shown() -> None:
    from distributed import versions

    compared = {*versions.required_packages, *versions.optional_packages}
    assert compared <= {*MUST_AGREE, *SHOWN}


def test_the_versions_here() -> None:
    here = versions_here()
    assert fits(here, here)
    assert here["distributed"] == version("distributed")
    assert set(MUST_AGREE) <= set(here) <= {*MUST_AGREE, *SHOWN}
