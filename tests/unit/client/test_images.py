"""Which image a cluster gets, and what is told before anything is submitted."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.config
import pytest
from tests.unit.client.conftest import REGISTRY, Answers, MakeImage, option

from htcdaskgateway import HTCGateway, HTCGatewayCluster, VersionMismatchError, VersionMismatchWarning
from htcdaskgateway.client import images
from htcdaskgateway.client.images import Choice, Wish, decide, wish
from htcdaskgateway.client.site import SiteFacts
from htcdaskgateway.errors import HTCDaskError, InvalidRequestError
from htcdaskgateway.images.catalogue import ImageCatalogue
from htcdaskgateway.images.errors import (
    ImageDoubtWarning,
    ImageNotFoundError,
    ImageReferenceError,
    ImageRootMissingError,
    ImageUnreadableError,
    ImageUnusableError,
    RegistryNotFoundError,
    TagMissingError,
)
from htcdaskgateway.images.reference import DEFAULT_ROOT, DOCKER_REGISTRY

OURS = SiteFacts(
    "apptainer", "site/image:1", "r.org", "/root", {"docker.io": "hub.org"}, "error",
    environments={"[devel]": "r.org/devel:5"},
)  # fmt: skip
STOCK = SiteFacts()
NONE = SiteFacts("none", check_versions="warn")


@pytest.mark.parametrize(
    ("wanted", "options", "configured", "expected"),
    [
        (Wish(), {}, {}, "r.org/site/image:1"),
        (Wish(), {}, {"image": "mine:2"}, "r.org/mine:2"),
        (Wish(), {"image": "opt:3"}, {"image": "mine:2"}, "r.org/opt:3"),
        (Wish("key:4"), {"image": "opt:3"}, {"image": "mine:2"}, "r.org/key:4"),
        (Wish("x.io/key:4"), {"image_registry": "o.org"}, {}, "x.io/key:4"),
        (Wish("key:4"), {"image_registry": "o.org"}, {"image-registry": "c.org"}, "o.org/key:4"),
        (Wish("key:4"), {}, {"image-registry": "c.org"}, "c.org/key:4"),
        (Wish("key:4", "k.org"), {"image_registry": "o.org"}, {"image-registry": "c.org"}, "k.org/key:4"),
        (Wish(registry="k.org"), {}, {}, "k.org/site/image:1"),
        (Wish(registry="k.org"), {}, {"image": "mine.io/mine:2"}, "k.org/mine:2"),
        (Wish(registry="k.org"), {"image": "mine.io/mine:2"}, {"image": "mine.io/mine:2"}, "k.org/mine:2"),
        (Wish(registry="docker.io"), {}, {"image": "mine.io/mine:2"}, "hub.org/mine:2"),
        (Wish("docker.io/key"), {}, {}, "hub.org/key"),
        (Wish(), {"image": ""}, {}, "r.org/site/image:1"),
        (Wish("[devel]"), {"image": "opt:3"}, {"image": "mine:2"}, "r.org/devel:5"),
        (Wish(), {"image": "[devel]"}, {"image": "mine:2"}, "r.org/devel:5"),
        (Wish(), {}, {"image": "[devel]"}, "r.org/devel:5"),
        (Wish(registry="k.org"), {}, {"image": "[devel]"}, "k.org/devel:5"),
    ],
)
def test_the_keyword_goes_before_the_option_before_the_configuration_before_the_site(
    wanted: Wish, options: dict[str, Any], configured: dict[str, str], expected: str
) -> None:
    with dask.config.set({"htcdaskgateway": configured}):
        choice = decide(wanted, OURS, options)
    assert str(choice.image) == expected
    assert (choice.check, choice.root) == ("error", "/root")


@pytest.mark.parametrize(
    ("keyword", "configured", "site", "expected"),
    [
        (None, None, OURS, "error"),
        (None, "warn", OURS, "warn"),
        ("off", "warn", OURS, "off"),
        (None, False, OURS, "off"),  # YAML's off
        (None, None, NONE, "warn"),
        ("error", None, NONE, "error"),
        (None, None, STOCK, ""),
        (None, "warn", STOCK, "warn"),
        (None, None, SiteFacts("apptainer", check_versions="of the future"), "error"),
    ],
)
def test_who_says_how_versions_are_checked(
    keyword: str | None, configured: object, site: SiteFacts, expected: str
) -> None:
    with dask.config.set({"htcdaskgateway": {"check-versions": configured}}):
        assert decide(wish(None, None, None, keyword), site, {}).check == expected


def test_a_slip_in_the_name_of_an_environment() -> None:
    with pytest.raises(ImageReferenceError) as caught:
        decide(Wish("[devl]"), OURS, {})
    assert str(caught.value).splitlines()[:2] == [
        "Image reference '[devl]' cannot be used: it holds '['.",
        "  this site's environments: [devel]",
    ]


def test_the_registry_takes_the_place_of_that_of_the_sites_image() -> None:
    site = SiteFacts("apptainer", "hub.org/site/image:1", "r.org", registry_aliases={"docker.io": "hub.org"})
    for options in ({}, {"image": "hub.org/site/image:1"}):
        assert str(decide(Wish(registry="k.org"), site, options).image) == "k.org/site/image:1"
    with pytest.raises(ImageReferenceError, match=r"'k\.org'"):  # somebody typed both
        decide(Wish(registry="k.org"), site, {"image": "typed.org/my/image:1"})


def test_the_root_of_this_machine_may_be_another() -> None:
    with dask.config.set({"htcdaskgateway": {"image-root": "/mine"}}):
        assert decide(Wish(), OURS, {}).root == "/mine"


@pytest.mark.parametrize(
    ("configured", "root"),
    [("~/images", "/home/me/images"), ("", "/root"), (None, "/root"), ("a\0~", "a\0~")],
)
def test_how_the_root_may_be_written(
    monkeypatch: pytest.MonkeyPatch, configured: str | None, root: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    with dask.config.set({"htcdaskgateway": {"image-root": configured}}):
        assert decide(Wish(), OURS, {}).root == root
        assert decide(Wish(), replace(OURS, image_root=""), {}).root == (root if configured else DEFAULT_ROOT)


@pytest.mark.parametrize("value", [["a:1"], {"a": 1}, 7])
def test_an_option_that_is_no_text(value: object) -> None:
    with pytest.raises(ImageReferenceError, match=f"it is of type {type(value).__name__}, not text"):
        decide(Wish(), OURS, {"image": value})


def test_what_the_site_starts_is_what_is_looked_for(
    client: HTCGateway, answers: Answers, make_image: MakeImage
) -> None:
    assert answers.site is not None
    answers.site["worker_program"] = "/opt/env/bin/own-dask"
    image = make_image("me/worker:1")
    make_image("me/worker:2")
    with pytest.raises(
        ImageUnusableError, match="cannot be used: there is no /opt/env/bin/own-dask"
    ) as caught:
        client.submit(image="me/worker:1")
    assert "No other image of this name fits" in str(caught.value)
    (image / "opt/env/bin/dask").rename(image / "opt/env/bin/own-dask")
    client.submit(image="me/worker:1")
    assert answers.submitted == [{"image": f"{REGISTRY}/me/worker:1"}]


def test_a_dask_that_cannot_start(client: HTCGateway, answers: Answers, make_image: MakeImage) -> None:
    (make_image("me/worker:1") / "opt/env/bin/dask").write_text("#!/opt/gone/bin/python\n")
    with pytest.raises(ImageUnusableError, match="needs '/opt/gone/bin/python', which is not there"):
        client.submit(image="me/worker:1")
    assert answers.submitted == []


def test_a_tag_of_dockers_own_image_that_fits(
    client: HTCGateway, answers: Answers, make_image: MakeImage, tmp_path: Path
) -> None:
    assert answers.site is not None
    make_image("library/python:2", dask="1.0")
    make_image("library/python:1")
    (tmp_path / "root" / REGISTRY).rename(tmp_path / "root" / DOCKER_REGISTRY)
    answers.site["image_registry"] = DOCKER_REGISTRY
    with pytest.raises(TagMissingError) as caught:
        client.submit(image="python")
    assert caught.value.fitting == ("1",)


def test_a_site_that_names_no_image_decides_itself() -> None:
    assert decide(Wish(), SiteFacts("apptainer", image=""), {}).image is None


@pytest.mark.parametrize(
    ("wanted", "checked"),
    [(Wish("a:1"), False), (Wish(check="error"), False), (Wish("a:1", None, "warn"), True)],
)
def test_what_an_image_is_to_another_gateway_is_its_own_affair(wanted: Wish, checked: bool) -> None:
    assert (decide(wanted, STOCK, {}).image is not None) is checked


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (Wish("a:1"), "image='a:1' cannot be had: the workers of this gateway run without images."),
        (Wish(registry="r.org"), "image_registry='r.org' cannot be had: the workers of this gateway run"),
    ],
)
def test_workers_without_images(wanted: Wish, sentence: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decide(wanted, NONE, {})
    assert str(caught.value).startswith(sentence)
    assert decide(Wish(), NONE, {"image": "of somebody"}) == Choice(check="warn")


def test_the_old_name_of_the_keyword() -> None:
    full = "registry.hub.docker.com/coffeateam/x:1"
    assert wish(None, None, full, None) == Wish(full)
    assert wish(full, None, full, None) == Wish(full)
    with pytest.raises(InvalidRequestError) as caught:
        wish("coffeateam/y:1", None, full, None)
    assert str(caught.value) == (
        f"image='coffeateam/y:1' and apptainer_image={full!r} are two images.\n"
        "Give image= only; apptainer_image= is its old name."
    )


@pytest.mark.parametrize("value", [7, b"a:1", ["a:1"], Path("a:1"), False])
def test_what_is_no_text_is_refused_before_anybody_is_asked(value: Any) -> None:
    for number, name in enumerate(("image", "image_registry", "apptainer_image")):
        first, second, third = (value if number == place else None for place in range(3))
        with pytest.raises(InvalidRequestError, match=f"^{name} must be text, not "):
            wish(first, second, third, None)


@pytest.mark.parametrize("value", ["", "Error", "no", True, 0, 1, ["off"]])
def test_no_such_way_to_check(value: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        wish(None, None, None, value)
    assert str(caught.value) == f'check_versions must be "error", "warn" or "off", not {value!r}.'


@pytest.mark.parametrize(
    "name", ["", "../x:1", "/abs:1", "a b:1", "a\nqueue:1", "a'b:1", "a\0:1", "a" * 10_000]
)
@pytest.mark.parametrize("check", [None, "off"])
def test_a_bad_reference_is_refused_before_anything_is_submitted(
    client: HTCGateway, answers: Answers, name: str, check: str | None
) -> None:
    for keyword in ("image", "apptainer_image"):
        with pytest.raises(ImageReferenceError):
            client.submit(**{keyword: name}, check_versions=check)
    assert answers.submitted == []


def test_a_digest_is_another_gateways_affair(client: HTCGateway, answers: Answers) -> None:
    name = "ghcr.io/dask/dask@sha256:0123"
    with pytest.raises(ImageReferenceError, match="digest"):
        client.submit(image=name)
    answers.site = None
    client.submit(image=name)
    assert answers.submitted == [{"image": name}]


def test_the_sites_own_alias_of_a_registry(
    client: HTCGateway, answers: Answers, make_image: MakeImage
) -> None:
    assert answers.site is not None
    answers.site["registry_aliases"] = {"hub.example.org": REGISTRY}
    make_image("me/worker:1")
    client.submit(image=f"{REGISTRY}/me/worker:1", image_registry="hub.example.org")
    assert answers.submitted == [{"image": f"{REGISTRY}/me/worker:1"}]


def test_an_image_that_fits_is_asked_for_by_its_whole_name(
    client: HTCGateway, answers: Answers, make_image: MakeImage
) -> None:
    make_image("site/default:1")
    make_image("me/worker:2")
    make_image("only/one:3")
    client.submit()
    client.submit(image="me/worker:2")
    client.submit(apptainer_image=f"{REGISTRY}/me/worker:2", worker_cores=2)
    client.submit(image="only/one")
    assert answers.submitted == [
        {"image": f"{REGISTRY}/site/default:1"},
        {"image": f"{REGISTRY}/me/worker:2"},
        {"image": f"{REGISTRY}/me/worker:2", "worker_cores": 2},
        {"image": f"{REGISTRY}/only/one:3"},
    ]


def test_an_image_that_does_not_fit(client: HTCGateway, answers: Answers, make_image: MakeImage) -> None:
    make_image("me/worker:2-old", python="3.1.0", distributed="2020.1.0")
    for tag in ("1-new", "2-new", "2-older"):
        make_image(f"me/worker:{tag}", **({} if tag.endswith("new") else {"dask": "1.0"}))
    with pytest.raises(VersionMismatchError) as caught:
        client.submit(image="me/worker:2-old")
    text = str(caught.value).splitlines()
    assert text[0] == (
        f"Image '{REGISTRY}/me/worker:2-old' does not fit this notebook: python and distributed differ."
    )
    assert [line.split() for line in text if "distributed" in line][1][2:] == ["2020.1.0", "must", "agree"]
    assert text[-4:] == [
        "Of this name, these fit this notebook:",
        '  image="me/worker:2-new"',
        '  image="me/worker:1-new"',
        'check_versions="warn" starts it all the same; expect errors and waits without end.',
    ]
    assert not caught.value.displayed
    assert answers.submitted == []


def test_a_tag_that_fits_is_named(client: HTCGateway, answers: Answers, make_image: MakeImage) -> None:
    make_image("me/worker:3", dask="1.0")
    make_image("me/worker:2")
    with pytest.raises(TagMissingError) as caught:
        client.submit(image="me/worker")
    assert caught.value.tags == ("3", "2")
    assert str(caught.value).endswith("\nThis one fits this notebook: image='me/worker:2'.")
    assert answers.submitted == []


def test_no_tag_fits(client: HTCGateway, answers: Answers, make_image: MakeImage, tmp_path: Path) -> None:
    make_image("me/worker:3", dask="1.0")
    make_image("me/worker:2", dask="1.0")
    said = "Those that could be read do not fit this notebook. `htcdask images --fits` lists what does."
    with pytest.raises(TagMissingError, match=said):
        client.submit(image="me/worker")
    for tag in ("1", "2"):
        (tmp_path / "root" / REGISTRY / "not" / f"readable:{tag}").mkdir(parents=True)
    with pytest.raises(TagMissingError, match="Choose one: image='not/readable:2'"):
        client.submit(image="not/readable")
    assert answers.submitted == []


def test_a_cluster_that_is_made_directly(answers: Answers, make_image: MakeImage) -> None:
    make_image("me/worker:1", dask="1.0")
    with pytest.raises(VersionMismatchError):
        HTCGatewayCluster(answers.url, image="me/worker:1", shutdown_on_close=True)
    assert answers.submitted == []


def test_no_image_of_this_name_fits(client: HTCGateway, answers: Answers, make_image: MakeImage) -> None:
    make_image("me/worker:1", dask="1.0")
    make_image("other/worker:1")
    with pytest.raises(VersionMismatchError, match="`htcdask images --fits` lists those that do"):
        client.submit(image="me/worker:1")


def test_a_package_that_the_image_lacks(client: HTCGateway, answers: Answers, make_image: MakeImage) -> None:
    make_image("me/worker:1", dask_gateway="")
    with pytest.raises(VersionMismatchError) as caught:
        client.submit(image="me/worker:1")
    assert caught.value.table.differing == ("dask-gateway",)


def test_warn_goes_ahead(client: HTCGateway, answers: Answers, make_image: MakeImage) -> None:
    make_image("me/worker:1", dask="1.0")
    with pytest.warns(VersionMismatchWarning, match="does not fit this notebook: dask differs") as caught:
        client.submit(image="me/worker:1", check_versions="warn")
    assert "must agree" in str(caught[0].message)
    assert answers.submitted == [{"image": f"{REGISTRY}/me/worker:1"}]


def test_off_looks_at_nothing(client: HTCGateway, answers: Answers, tmp_path: Path) -> None:
    client.submit(image="me/worker:1", check_versions="off")
    client.submit(image="me/worker", check_versions="off")
    assert [one["image"] for one in answers.submitted] == [f"{REGISTRY}/me/worker:1", f"{REGISTRY}/me/worker"]
    assert not (tmp_path / "root").exists()


def test_no_image_is_there(client: HTCGateway, answers: Answers, make_image: MakeImage) -> None:
    with pytest.raises(ImageRootMissingError, match=r'check_versions="off"'):
        client.submit(image="me/worker:1")
    make_image("me/worker:1")
    with pytest.raises(ImageNotFoundError, match="me/worker:1"):
        client.submit(image="me/worker:2")
    with pytest.raises(RegistryNotFoundError, match=REGISTRY):
        client.submit(image="me/worker:1", image_registry="ghcr.io")
    assert answers.submitted == []


@pytest.mark.parametrize("check", ["error", "warn"])
def test_an_image_without_python(client: HTCGateway, answers: Answers, tmp_path: Path, check: str) -> None:
    (tmp_path / "root" / REGISTRY / "me/empty:1").mkdir(parents=True)
    with pytest.raises(ImageUnusableError):
        client.submit(image="me/empty:1", check_versions=check)
    assert answers.submitted == []


def test_a_file_system_that_hangs(
    client: HTCGateway, answers: Answers, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image("me/worker:1")
    monkeypatch.setattr(images, "READ_SECONDS", 0.3)
    monkeypatch.setattr(ImageCatalogue, "find", lambda *_: time.sleep(60))
    start = time.monotonic()
    with pytest.raises(ImageUnusableError, match=r"could not be read within 0\.3 s") as caught:
        client.submit(image="me/worker:1")
    assert time.monotonic() - start < 30
    assert 'check_versions="off"' in str(caught.value)
    assert answers.submitted == []


def test_options_show_what_the_configuration_asks_for(
    client: HTCGateway, answers: Answers, make_image: MakeImage
) -> None:
    make_image("site/default:1")
    make_image("mine:2")
    with dask.config.set({"htcdaskgateway": {"image": "mine:2"}}):
        options = client.cluster_options()
        assert options.image == "mine:2"
        assert client.cluster_options(use_local_defaults=False).image == "site/default:1"
        client.submit(options)
        options.image = "site/default:1"
        client.submit(options)
        with dask.config.set({"gateway.cluster.options": {"image": "theirs:3"}}):
            assert client.cluster_options().image == "theirs:3"
        answers.site = None
        assert client.cluster_options().image == "site/default:1"
    sent = [one["image"] for one in answers.submitted]
    assert sent == [f"{REGISTRY}/mine:2", f"{REGISTRY}/site/default:1"]


def test_a_gateway_without_the_route_gets_what_it_was_given(client: HTCGateway, answers: Answers) -> None:
    answers.site = None
    client.submit()
    client.submit(image="daskgateway/dask-gateway:latest", worker_cores=1)
    with dask.config.set({"gateway.cluster.options": {"image": "theirs:3"}}):
        client.submit()
    assert answers.submitted == [
        {},
        {"image": "daskgateway/dask-gateway:latest", "worker_cores": 1},
        {"image": "theirs:3"},
    ]


def test_workers_that_run_without_images_are_asked_for_as_before(
    client: HTCGateway, answers: Answers
) -> None:
    assert answers.site is not None
    answers.site["runtime"] = "none"
    client.submit(worker_cores=1)
    with pytest.raises(InvalidRequestError, match="run without images"):
        client.submit(image="me/worker:1")
    assert answers.submitted == [{"worker_cores": 1}]


def test_the_registry_is_sent_where_there_is_an_option_for_it(
    client: HTCGateway, answers: Answers, make_image: MakeImage
) -> None:
    make_image("mine:2", registry="c.org")
    answers.options.append(option("image_registry", REGISTRY))
    client.submit(client.cluster_options(), image="c.org/mine:2")
    assert answers.submitted == [{"image": "c.org/mine:2", "image_registry": "c.org"}]


async def test_an_asynchronous_client(answers: Answers, make_image: MakeImage) -> None:
    make_image("me/worker:1", dask="1.0")
    async with HTCGateway(answers.url, asynchronous=True) as gateway:
        with pytest.raises(VersionMismatchError):
            await gateway.new_cluster(image="me/worker:1")


def unreadable(image: Path) -> Path:
    """Make its Python one that files do not tell the version of, as with PyPy."""
    (image / "opt/env/lib").rename(image / "opt/env/other")
    programs = image / "opt/env/bin"
    (programs / "python3").unlink()
    next(programs.glob("python3.*")).rename(programs / "python3")
    return image


def test_an_image_that_can_be_run_and_not_read(
    client: HTCGateway, answers: Answers, make_image: MakeImage
) -> None:
    unreadable(make_image("me/pypy:1"))
    with pytest.raises(ImageUnreadableError) as caught:
        client.submit(image="me/pypy")
    assert f"`htcdask images {REGISTRY}/me/pypy:1 --run`" in str(caught.value)
    assert 'check_versions="warn" starts it' in str(caught.value)
    assert answers.submitted == []
    with pytest.warns(ImageDoubtWarning, match="cannot be told from its files") as warned:
        client.submit(image="me/pypy", check_versions="warn")
    assert len(warned) == 1
    assert answers.submitted == [{"image": f"{REGISTRY}/me/pypy:1"}]


def test_every_refusal_is_one_of_ours(client: HTCGateway, answers: Answers, make_image: MakeImage) -> None:
    make_image("me/worker:1")
    for value in (7, b"a:1", ["a:1"], Path("a:1")):
        with pytest.raises(HTCDaskError):
            client.submit(image=value)
    assert answers.submitted == []
