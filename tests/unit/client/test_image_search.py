"""What is said of other images of a name, also where not all of them could be read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from tests.unit.client.conftest import REGISTRY, MakeImage
from tests.unit.client.test_image_check import doubtful, without_dask

from htcdaskgateway.client import image_search
from htcdaskgateway.client.image_search import Search, alternatives, fitting_tags, nearest_first
from htcdaskgateway.client.images import Choice
from htcdaskgateway.images.catalogue import ImageCatalogue
from htcdaskgateway.images.reference import ImageReference
from htcdaskgateway.images.survey import Finding, survey

LISTED = "`htcdask images --fits` lists those that do."


@pytest.fixture
def choice(tmp_path: Path) -> Choice:
    wanted = ImageReference(REGISTRY, "me/worker", "1-py3.10")
    return Choice(wanted, "error", str(tmp_path / "root"), REGISTRY)


def test_nearest_first() -> None:
    wanted = ImageReference("r.org", "x", "0.7.22-py3.10")
    tags = ["latest", "0.6.1-py3.8", "0.7.22-py3.10", "0.7.22-py3.11", "0.7.21-py3.9"]
    found = nearest_first(wanted, [wanted.with_tag(tag) for tag in tags])
    assert [one.tag for one in found] == ["0.7.22-py3.11", "0.7.21-py3.9", "0.6.1-py3.8", "latest"]


async def test_the_three_nearest_that_fit(choice: Choice, make_image: MakeImage) -> None:
    for tag in ("9-py3.9", "1-py3.10", "zzz", "1-py3.11", "1-py3.12"):
        make_image(f"me/worker:{tag}")
    make_image("me/worker:1-py3.13", dask="1.0")
    assert await alternatives(choice) == (
        "Of this name, these fit this notebook:",
        '  image="me/worker:1-py3.12"',
        '  image="me/worker:1-py3.11"',
        '  image="me/worker:9-py3.9"',
    )


async def test_those_in_doubt_come_last_and_are_said_to_be(choice: Choice, make_image: MakeImage) -> None:
    for tag in ("1-py3.11", "1-py3.12", "1-py3.13", "1-py3.14"):
        doubtful(make_image(f"me/worker:{tag}"))
    assert [line[-10:] for line in (await alternatives(choice))[1:]] == ["(in doubt)"] * 3
    assert await fitting_tags(choice) is None
    make_image("me/worker:zzz")
    lines = await alternatives(choice)
    assert len(lines) == 4
    assert lines[1:3] == ('  image="me/worker:zzz"', '  image="me/worker:1-py3.14" (in doubt)')
    assert await fitting_tags(choice) == ("zzz",)


async def test_an_image_that_has_no_dask_to_run_is_no_remedy(choice: Choice, make_image: MakeImage) -> None:
    without_dask(make_image("me/worker:2"))
    lines = await alternatives(choice)
    assert lines == (f"No other image of this name fits this notebook. {LISTED}",)


@pytest.mark.parametrize("others", [0, 3])
async def test_none_fits_is_said_where_all_were_read(
    choice: Choice, make_image: MakeImage, others: int
) -> None:
    make_image("me/worker:1-py3.10")
    for number in range(others):
        make_image(f"me/worker:{number}", dask="1.0")
    assert await alternatives(choice) == (f"No other image of this name fits this notebook. {LISTED}",)


async def test_more_images_than_are_read(
    choice: Choice, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_search, "MOST_READ", 2)
    for number in range(5):
        make_image(f"me/worker:{number}", dask="1.0")
    none = "Of the 2 of this name that were read in time, none fits this notebook; 3 more were not read."
    assert await alternatives(choice) == (f"{none} {LISTED}",)


async def test_an_image_that_cannot_be_read_is_not_called_unfit(
    choice: Choice, make_image: MakeImage, tmp_path: Path
) -> None:
    make_image("me/worker:1", dask="1.0")
    (tmp_path / "root" / REGISTRY / "me/worker:2").mkdir()
    none = "Of the 1 of this name that were read in time, none fits this notebook; 1 more were not read."
    assert await alternatives(choice) == (f"{none} {LISTED}",)


async def test_the_time_is_over(
    choice: Choice, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_search, "SEARCH_SECONDS", 0.0)
    for number in range(3):
        make_image(f"me/worker:{number}", dask="1.0")
    (line,) = await alternatives(choice)
    assert line.startswith("Of the 1 of this name that were read in time, none fits this notebook; 2 more")


async def test_what_was_found_before_a_file_system_hung_is_kept(
    choice: Choice, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(images: Iterable[tuple[ImageReference, Path]], *, command: str) -> Iterator[Finding]:
        yield from survey(images, command=command)
        time.sleep(60)

    make_image("me/worker:2")
    monkeypatch.setattr(image_search, "survey", hangs)
    monkeypatch.setattr(image_search, "GRACE", -14.0)
    start = time.monotonic()
    assert await alternatives(choice) == ("Of this name, these fit this notebook:", '  image="me/worker:2"')
    assert time.monotonic() - start < 30


async def test_a_listing_that_hangs(
    choice: Choice, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_search, "GRACE", -14.7)
    monkeypatch.setattr(ImageCatalogue, "tags", lambda *_: time.sleep(60))
    start = time.monotonic()
    assert await alternatives(choice) == (f"Other images of this name could not be read in time. {LISTED}",)
    assert time.monotonic() - start < 30


def test_without_an_image_there_is_nothing_to_search() -> None:
    search = Search(Choice())
    search.run()
    assert search.found == []
