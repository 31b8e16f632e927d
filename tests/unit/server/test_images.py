"""What a site may say of images, and what users may ask for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.options import Integer, Options, Select, String
from traitlets import TraitError
from traitlets.config import Config

from htcdaskgateway.client.site import SiteFacts
from htcdaskgateway.errors import ConfigurationError, InvalidRequestError
from htcdaskgateway.server.image_options import LOOK, ImageOptions, find
from htcdaskgateway.server.image_settings import ImageSettings, bind_arguments

HUB = "registry.hub.docker.com"
DEFAULT = f"{HUB}/coffeateam/coffea-base-almalinux8:0.7.22-py3.10"


def site(**traits: Any) -> ImageSettings:
    return ImageSettings(config=Config({"ImageSettings": traits}))


@pytest.mark.parametrize(
    ("binds", "arguments"),
    [
        ([], ()),
        (["/cvmfs"], ("--bind", "/cvmfs")),
        (["/a:/b", "/c d:/e:ro"], ("--bind", "/a:/b", "--bind", "/c d:/e:ro")),
        (["/a:/b:rw"], ("--bind", "/a:/b:rw")),
    ],
)
def test_binds(binds: list[str], arguments: tuple[str, ...]) -> None:
    assert bind_arguments(binds) == arguments


@pytest.mark.parametrize(
    "bind",
    [
        "",
        "cvmfs",
        "/a,/b",
        "/a:b",
        "/a:/b:x",
        "/a:/b:/c",
        "/a:ro",
        "/a:/b:ro:",
        ":",
        "/a:",
        '/"a',
        "/a\\:b",
        "/a\n",
    ],
)
def test_binds_that_apptainer_would_misread(bind: str) -> None:
    with pytest.raises(ConfigurationError, match=r"c\.HTCondorBackend\.apptainer_binds: "):
        bind_arguments([bind])


@pytest.mark.parametrize(
    ("traits", "words"),
    [
        ({"image_root": "cvmfs"}, "image_root = 'cvmfs' is not absolute and normal"),
        ({"image_root": "/"}, "image_root = '/'"),
        ({"image_root": "/cvmfs/../x"}, "image_root"),
        ({"image_root": "/a\nb"}, "holds a control character"),
        ({"image": "a b:1"}, "c.HTCondorBackend.image = 'a b:1' is no image: it holds a space."),
        ({"image": "a/b"}, "c.HTCondorBackend.image = 'a/b' has no tag."),
        ({"scheduler_image": "../x:1"}, "c.HTCondorBackend.scheduler_image = '../x:1' is no image"),
        (
            {"image": "[old]", "environments": {"[new]": "a/b:1"}},
            "c.HTCondorBackend.image = '[old]' is no image",
        ),
        ({"environments": {"[new]": "a/b"}}, "c.HTCondorBackend.environments['[new]'] = 'a/b' has no tag."),
        ({"image_registry": "a b"}, "image_registry: 'a b' is not the host name of a registry"),
        ({"image_registry": "", "image": f"{HUB}/a/b:1"}, "image_registry: '' is not the host name"),
        (
            {"registry_aliases": {"docker.io": "../../etc"}},
            "registry_aliases['docker.io']: '../../etc' is not",
        ),
        ({"apptainer": "/x\ny"}, "c.HTCondorBackend.apptainer"),
        ({"apptainer_binds": ["x"]}, "apptainer_binds"),
        ({"apptainer_arguments": ["nv"]}, "holds 'nv', which is no single option"),
        ({"apptainer_arguments": ["--nv", "evil"]}, "holds 'evil', which is no single option"),
        ({"apptainer_arguments": ["--"]}, "holds '--', which is no single option"),
        ({"apptainer_arguments": ["--nv\0"]}, "apptainer_arguments"),
    ],
)
def test_a_site_that_could_start_no_worker(traits: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        site(**traits).check_images()
    assert words in str(caught.value)
    site(runtime="none", **traits).check_images()  # then nobody asks


@pytest.mark.parametrize("program", ["", "-x", "bin/apptainer"])
def test_a_program_that_apptainer_cannot_be(program: str) -> None:
    with pytest.raises(TraitError, match="apptainer must be a name or an absolute path"):
        site().apptainer = program


def test_the_defaults_are_fine() -> None:
    one = site()
    one.check_images()
    assert one.site_facts() == {
        "runtime": "apptainer",
        "check_versions": "error",
        "image": DEFAULT,
        "image_registry": HUB,
        "image_root": "/cvmfs/unpacked.cern.ch",
        "registry_aliases": {"docker.io": HUB, "index.docker.io": HUB},
    }


@pytest.mark.parametrize(
    ("command", "told"), [(["/opt/x/dask", "worker"], "/opt/x/dask"), (["dask-worker"], "dask-worker")]
)
def test_a_site_that_starts_another_program_tells_it(command: list[str], told: str) -> None:
    one = ImageSettings(config=Config({"HTCondorClusterConfig": {"worker_cmd": command}}))
    assert one.site_facts()["worker_program"] == told
    assert SiteFacts.from_json(one.site_facts()).worker_program == told
    assert SiteFacts.from_json(site().site_facts()).worker_program == "dask"


def test_without_images() -> None:
    one = site(runtime="none")
    assert one.container("a/b:1") is None
    assert one.image_of_scheduler("a/b:1") is None
    assert one.site_facts() == {"runtime": "none", "check_versions": "error"}


def test_what_apptainer_is_told() -> None:
    one = site(apptainer="/opt/apptainer", apptainer_binds=["/cvmfs"], apptainer_arguments=["--nv"])
    container = one.container(f"{HUB}/a/b:1")
    assert container is not None
    assert container.image == f"/cvmfs/unpacked.cern.ch/{HUB}/a/b:1"
    assert (container.program, container.arguments) == ("/opt/apptainer", ("--bind", "/cvmfs", "--nv"))
    older = one.container("")  # of a cluster from before there were images
    assert older is not None
    assert older.image == f"/cvmfs/unpacked.cern.ch/{DEFAULT}"


@pytest.mark.parametrize(
    ("scheduler_image", "reference"),
    [("same", f"{HUB}/a/b:1"), ("none", None), ("docker.io/x/y:2", f"{HUB}/x/y:2")],
)
def test_what_the_scheduler_runs_in(scheduler_image: str, reference: str | None) -> None:
    image = site(scheduler_image=scheduler_image).image_of_scheduler(f"{HUB}/a/b:1")
    assert (image.reference if image else None) == reference
    assert image is None or image.path == f"/cvmfs/unpacked.cern.ch/{reference}"


# -- the options -------------------------------------------------------------------------------


def ask(options: Options, **request: Any) -> dict[str, Any]:
    """What dask-gateway does with a request."""
    parsed = options.parse_options(request)
    return dict(options.get_configuration(parsed, SimpleNamespace(name="analyst")))


@pytest.mark.parametrize(
    ("request_", "image"),
    [
        ({}, DEFAULT),
        ({"image": ""}, DEFAULT),
        ({"image": "a/b:1"}, f"{HUB}/a/b:1"),
        ({"image": "quay.io/a/b:1"}, "quay.io/a/b:1"),
        ({"image": "docker.io/a/b:1"}, f"{HUB}/a/b:1"),
        ({"image": "a/b:1", "image_registry": "quay.io"}, "quay.io/a/b:1"),
        ({"image": "a/b"}, f"{HUB}/a/b"),
    ],
)
def test_the_image_is_an_option(request_: dict[str, str], image: str) -> None:
    assert ask(ImageOptions(site(), Options()), **request_) == {"image": image}


def test_environments_by_name() -> None:
    one = site(image="[stable]", environments={"[stable]": "a/b:1", "[devel]": "quay.io/a/b:2"})
    one.check_images()
    options = ImageOptions(one, Options())
    [field, _] = options.get_specification()
    assert (field["label"], field["default"]) == ("Image ([stable], [devel] or another)", "[stable]")
    assert ask(options) == {"image": f"{HUB}/a/b:1"}
    assert ask(options, image="[devel]") == {"image": "quay.io/a/b:2"}
    assert ask(options, image="x/y:3") == {"image": f"{HUB}/x/y:3"}
    with pytest.raises(PublicException, match=r"^Image reference '\[old\]' cannot be used: "):
        ask(options, image="[old]")
    facts = one.site_facts()
    assert facts["image"] == f"{HUB}/a/b:1"
    assert facts["environments"] == {"[stable]": f"{HUB}/a/b:1", "[devel]": "quay.io/a/b:2"}


def test_beside_the_options_of_the_site() -> None:
    def handler(options: Any, user: Any) -> dict[str, Any]:
        return {"worker_cores": options.worker_cores, "environment": {"USER": user.name}}

    options = ImageOptions(site(), Options(Integer("worker_cores", 1, max=4), handler=handler))
    assert [spec["field"] for spec in options.get_specification()] == [
        "image",
        "image_registry",
        "worker_cores",
    ]
    assert ask(options, image="a/b:1", worker_cores=2) == {
        "image": f"{HUB}/a/b:1", "worker_cores": 2, "environment": {"USER": "analyst"}
    }  # fmt: skip


def test_a_site_with_an_option_of_its_own_for_it() -> None:
    choice = Select("image", [("new", "a/b:2"), ("old", "a/b:1")])
    assert ask(ImageOptions(site(), Options(choice)), image="old") == {"image": f"{HUB}/a/b:1"}
    assert ask(ImageOptions(site(), Options(choice))) == {"image": f"{HUB}/a/b:2"}
    fixed = Options(String("x"), handler=lambda options: {"image": "a/b:3"})
    assert ask(ImageOptions(site(), fixed), image="a/b:4") == {"image": f"{HUB}/a/b:3"}


@pytest.mark.parametrize(
    "image", ["../x:1", "/cvmfs/x:1", "a b:1", 'a"\nqueue 9\n:1', "a$(x):1", "x" * 10_000, "\0"]
)
def test_an_image_that_cannot_be(image: str) -> None:
    with pytest.raises(PublicException, match=r"^Image reference .* cannot be used: ") as caught:
        ask(ImageOptions(site(), Options()), image=image)
    assert "\n" not in str(caught.value), "it is the reason of an HTTP status"


# -- the look at what there is -----------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / HUB / "a" / "b:1" / "bin").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("image", [f"{HUB}/a/b:1", f"{HUB}/a/b"])
async def test_an_image_is_looked_up_where_it_can_be_seen(root: Path, image: str) -> None:
    assert str(await find(site(image_root=str(root)), image)) == f"{HUB}/a/b:1"


@pytest.mark.parametrize("image", [f"{HUB}/a/b:2", "quay.io/a/b:1"])
async def test_an_image_that_is_not_there(root: Path, image: str) -> None:
    with pytest.raises(InvalidRequestError):
        await find(site(image_root=str(root)), image)


async def test_where_images_cannot_be_seen(tmp_path: Path) -> None:
    one = site(image_root=str(tmp_path / "cvmfs"))
    assert str(await find(one, "quay.io/a/b:1")) == "quay.io/a/b:1"
    with pytest.raises(InvalidRequestError, match="it has no tag, and the images cannot be seen from"):
        await find(one, "quay.io/a/b")


async def test_an_image_root_that_hangs(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    import threading

    from htcdaskgateway.images.catalogue import ImageCatalogue
    from htcdaskgateway.server import image_options

    hanging = threading.Event()
    monkeypatch.setattr(image_options, "LOOK", 0.05)
    monkeypatch.setattr(ImageCatalogue, "find", lambda self, reference: hanging.wait(20))
    try:
        one = site(image_root=str(root))
        assert str(await find(one, f"{HUB}/a/b:2")) == f"{HUB}/a/b:2"
        with pytest.raises(InvalidRequestError, match=r"did not answer in 0\.05 s"):
            await find(one, f"{HUB}/a/b")
        for _ in range(2 * image_options.MOST_LOOKS):
            await find(one, f"{HUB}/a/b:2")
        assert len(one.looks) == image_options.MOST_LOOKS  # the rest are answered without a thread
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 5) == 1  # and nobody else waits
    finally:
        hanging.set()
    assert LOOK < 30, "a request waits for it"
