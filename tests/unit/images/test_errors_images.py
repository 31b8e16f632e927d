"""Errors about images: the full texts, and that they survive the way between processes."""

from __future__ import annotations

import pickle

import pytest

from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.images import errors

FORM = (
    "\nGive repository/name:tag or registry/repository/name:tag, such as"
    " 'coffeateam/coffea-base-almalinux8:0.7.22-py3.10'."
)
IMAGE = "coffeateam/coffea-dask:2024.4.1-py3.10"
PATH = f"/cvmfs/unpacked.cern.ch/registry.hub.docker.com/{IMAGE}"
ROOT_REMEDY = (
    "Try `ls /cvmfs/x`: CVMFS mounts it when it is looked into. If the images are elsewhere, set"
    ' htcdaskgateway.image-root in Dask\'s configuration; check_versions="off" goes without them.'
)
TEXTS = [
    (
        errors.ImageReferenceError("a b", "it holds a space"),
        f"Image reference 'a b' cannot be used: it holds a space.{FORM}",
    ),
    (
        errors.ImageNotFoundError(IMAGE, PATH, ("coffeateam/coffea-dask:2024.4.0-py3.10",)),
        f"Image '{IMAGE}' is not in CVMFS.\n"
        f"  looked for: {PATH}\n"
        "  nearest:    coffeateam/coffea-dask:2024.4.0-py3.10\n"
        "Use the nearest name, or pass image_registry= if it is in another registry.",
    ),
    (
        errors.ImageNotFoundError("x:1", "/images/a.b/x:1"),
        "Image 'x:1' is not below the image root.\n"
        "  looked for: /images/a.b/x:1\n"
        "See `htcdask images` for those that are, or pass image_registry= if it is in another registry.",
    ),
    (
        errors.RegistryNotFoundError("quay.io", "/cvmfs/x", ("ghcr.io", "registry.hub.docker.com")),
        "No images of the registry 'quay.io' are below /cvmfs/x.\n"
        "  registries there: ghcr.io\n"
        "                    registry.hub.docker.com\n"
        "Pass one of these as image_registry=.",
    ),
    (
        errors.RegistryNotFoundError("quay.io", "/cvmfs/x"),
        "No images of the registry 'quay.io' are below /cvmfs/x.\n  registries there: none",
    ),
    (
        errors.ImageRootMissingError("/cvmfs/x", "No such file or directory"),
        "The image root /cvmfs/x is not mounted on this machine.\n"
        f"  looking into it: No such file or directory\n{ROOT_REMEDY}",
    ),
    (
        errors.ImageRootMissingError("/cvmfs/x"),
        f"The image root /cvmfs/x is not mounted on this machine.\n{ROOT_REMEDY}",
    ),
    (
        errors.TagMissingError("a/b", tuple(f"{n}.0" for n in range(12, 0, -1))),
        "Image 'a/b' has 12 tags, and none was given.\n"
        "  tags: 12.0\n"
        + "".join(f"        {n}.0\n" for n in range(11, 2, -1))
        + "        … and 2 more\n"
        "Choose one: image='a/b:12.0'.",
    ),
    (
        errors.TagMissingError("a/b", ("2", "1"), ("1",)),
        "Image 'a/b' has 2 tags, and none was given.\n"
        "  tags: 2\n        1\n"
        "This one fits this notebook: image='a/b:1'.",
    ),
    (
        errors.TagMissingError("a/b", ("2", "1"), ()),
        "Image 'a/b' has 2 tags, and none was given.\n"
        "  tags: 2\n        1\n"
        "Those that could be read do not fit this notebook. `htcdask images --fits` lists what does.",
    ),
    (
        errors.ImageUnusableError("/cvmfs/x/a:1", "it is not a directory"),
        "The image /cvmfs/x/a:1 cannot be used: it is not a directory.",
    ),
    (
        errors.ImageUnusableError("/cvmfs/x/a:1", "it has no Python", "Choose another."),
        "The image /cvmfs/x/a:1 cannot be used: it has no Python.\nChoose another.",
    ),
    (
        errors.ImageUnreadableError("/cvmfs/x/a:1", "it is unclear", errors.run_instead("/cvmfs/x/a:1")),
        "The image /cvmfs/x/a:1 cannot be used: it is unclear.\n"
        "Where Apptainer is installed, `htcdask images a:1 --run` asks the image's own Python.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("error", "text"), TEXTS)
def test_the_full_text(error: InvalidRequestError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize("error", [error for error, _ in TEXTS], ids=lambda error: type(error).__name__)
def test_every_error_survives_pickle(error: InvalidRequestError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert isinstance(again, InvalidRequestError)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_every_error_is_listed_here() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)} - {InvalidRequestError}
    assert {kind.__name__ for kind in kinds if issubclass(kind, InvalidRequestError)} == {
        type(error).__name__ for error, _ in TEXTS
    }


def test_long_and_many_values_are_shortened() -> None:
    error = errors.ImageReferenceError("a" * 10_000, "it is long")
    assert str(error).splitlines()[0] == f"Image reference '{'a' * 60}'… cannot be used: it is long."
    assert error.reference == "a" * 10_000
    many = errors.RegistryNotFoundError("x.y", "/r", tuple(f"r{n}.io" for n in range(50)))
    assert len(str(many).splitlines()) == 13
