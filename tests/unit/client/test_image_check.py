"""Images whose jobs could not start, that are in doubt, and what is said of them."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from tests.unit.client.conftest import REGISTRY, Answers, MakeImage

from htcdaskgateway import HTCGateway, VersionMismatchError, VersionMismatchWarning
from htcdaskgateway.images.errors import ImageDoubtWarning, ImageUnusableError

SETTINGS = ".singularity.d/env/10-docker2singularity.sh"


def without_dask(image: Path) -> Path:
    (image / SETTINGS).write_text('export PATH="/usr/bin"\n')
    (image / "usr/bin").mkdir(parents=True)
    (image / "usr/bin/python3").symlink_to("/opt/env/bin/python3")
    return image


def doubtful(image: Path) -> Path:
    """A second record of a package that does not have to agree."""
    python = next((image / "opt/env/lib").iterdir())
    record = python / "site-packages/numpy-0.0.1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    return image


def test_an_image_without_dask_in_its_path(
    client: HTCGateway, answers: Answers, make_image: MakeImage
) -> None:
    without_dask(make_image("me/worker:1"))
    without_dask(make_image("me/worker:2"))
    make_image("me/worker:3")
    with pytest.raises(ImageUnusableError) as caught:
        client.submit(image="me/worker:1")
    assert "cannot be used: there is no dask in its PATH" in caught.value.sentence
    assert str(caught.value).splitlines()[1:] == [
        "Of this name, these fit this notebook:",
        '  image="me/worker:3"',
        'check_versions="warn" starts it all the same; expect jobs that fail at once.',
    ]
    assert answers.submitted == []


def test_an_image_without_dask_in_its_path_goes_ahead_with_a_warning(
    client: HTCGateway, answers: Answers, make_image: MakeImage
) -> None:
    without_dask(make_image("me/worker:1"))
    with pytest.warns(ImageDoubtWarning, match="there is no dask in its PATH") as caught:
        client.submit(image="me/worker:1", check_versions="warn")
    assert len(caught) == 1
    assert answers.submitted == [{"image": f"{REGISTRY}/me/worker:1"}]


@pytest.mark.parametrize("check", ["error", "warn"])
def test_a_doubt_where_versions_agree_is_told_once(
    client: HTCGateway, answers: Answers, make_image: MakeImage, check: str
) -> None:
    doubtful(make_image("me/worker:1"))
    make_image("me/worker:2")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client.submit(image="me/worker:1", check_versions=check)
        client.submit(image="me/worker:2", check_versions=check)
    ours = [one for one in caught if one.category is ImageDoubtWarning]
    assert len(ours) == 1
    text = str(ours[0].message)
    assert text.startswith(f"What is in image '{REGISTRY}/me/worker:1' is in doubt: numpy")
    assert f"`htcdask images {REGISTRY}/me/worker:1 --run`" in text
    assert len(answers.submitted) == 2


def test_a_doubt_is_in_the_table_of_versions_that_differ(
    client: HTCGateway, answers: Answers, make_image: MakeImage
) -> None:
    doubtful(make_image("me/worker:1", dask="1.0"))
    with pytest.raises(VersionMismatchError, match="image: numpy"):
        client.submit(image="me/worker:1")
    with pytest.warns(VersionMismatchWarning, match="image: numpy") as caught:
        client.submit(image="me/worker:1", check_versions="warn")
    assert len(caught) == 1
