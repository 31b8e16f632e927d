"""What can be wrong with an image, before anything is submitted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from htcdaskgateway.errors import InvalidRequestError, shown

_FORM = (
    "Give repository/name:tag or registry/repository/name:tag, such as"
    " 'coffeateam/coffea-base-almalinux8:0.7.22-py3.10'."
)
_MOST_LINES = 10
LONGEST = 60  # characters of a name in a message


def printable(text: str) -> str:
    """Give text of the image as a terminal can show it: file names may hold anything."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def run_instead(path: str) -> str:
    """Say how an image that cannot be read is asked by running it."""
    name = shlex.quote(printable(path.rstrip("/").rpartition("/")[2]))
    return f"Where Apptainer is installed, `htcdask images {name} --run` asks the image's own Python."


def _lines(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_LINES
    return "\n".join([*texts[:_MOST_LINES], *([f"… and {more} more"] if more > 0 else [])])


class ImageReferenceError(InvalidRequestError):
    """The text is not a reference of an image that could lie below the image root."""

    def __init__(self, reference: str, why: str, environments: tuple[str, ...] = ()) -> None:
        self.reference, self.why, self.environments = reference, why, environments
        super().__init__(
            f"Image reference {shown(reference, LONGEST)} cannot be used: {why}.",
            {"this site's environments": _lines(environments)} if environments else {},
            _FORM,
        )


class ImageNotFoundError(InvalidRequestError):
    """No image of this name lies below the image root."""

    def __init__(self, reference: str, path: str, nearest: tuple[str, ...] = ()) -> None:
        self.reference, self.path, self.nearest = reference, path, nearest
        place = "in CVMFS" if path.startswith("/cvmfs/") else "below the image root"
        facts = {"looked for": path}
        if nearest:
            facts["nearest"] = _lines(nearest)
        super().__init__(
            f"Image {shown(reference, LONGEST)} is not {place}.",
            facts,
            f"{'Use the nearest name' if nearest else 'See `htcdask images` for those that are'},"
            " or pass image_registry= if it is in another registry.",
        )


class RegistryNotFoundError(InvalidRequestError):
    """No images of this registry lie below the image root."""

    def __init__(self, registry: str, root: str, existing: tuple[str, ...] = ()) -> None:
        self.registry, self.root, self.existing = registry, root, existing
        super().__init__(
            f"No images of the registry {shown(registry, LONGEST)} are below {root}.",
            {"registries there": _lines(existing) or "none"},
            "Pass one of these as image_registry=." if existing else "",
        )


class ImageRootMissingError(InvalidRequestError):
    """The directory below which all images lie cannot be looked into on this machine.

    Parameters
    ----------
    root : str
    words : str, optional
        What was seen instead, in the system's words.
    """

    def __init__(self, root: str, words: str = "") -> None:
        self.root, self.words = root, words
        super().__init__(
            f"The image root {root} is not mounted on this machine.",
            {"looking into it": words} if words else {},
            f"Try `ls {root}`: CVMFS mounts it when it is looked into. If the images are elsewhere, set"
            ' htcdaskgateway.image-root in Dask\'s configuration; check_versions="off" goes without them.',
        )


class TagMissingError(InvalidRequestError):
    """The reference has no tag, and there is more than one image of its name.

    Parameters
    ----------
    reference : str
        As it was given, without a tag.
    tags : tuple of str
        Those that are there, the newest first.
    fitting : tuple of str, optional
        Of the tags, those of which it is known that they fit this notebook; None: nobody has looked.
    """

    def __init__(self, reference: str, tags: tuple[str, ...], fitting: tuple[str, ...] | None = None) -> None:
        self.reference, self.tags, self.fitting = reference, tags, fitting
        remedy = "Those that could be read do not fit this notebook. `htcdask images --fits` lists what does."
        if fitting:
            remedy = f"This one fits this notebook: image={f'{reference}:{fitting[0]}'!r}."
        elif fitting is None:
            remedy = f"Choose one: image={f'{reference}:{tags[0]}'!r}." if tags else ""
        super().__init__(
            f"Image {shown(reference, LONGEST)} has {len(tags)} tags, and none was given.",
            {"tags": _lines(tags)},
            remedy,
        )


class ImageUnusableError(InvalidRequestError):
    """The image is there and cannot be used.

    Parameters
    ----------
    path : str
        The image path.
    why : str
        The end of the sentence; the system's own words where it gave any.
    remedy : str, optional
    """

    def __init__(self, path: str, why: str, remedy: str = "") -> None:
        self.path, self.why = path, why
        super().__init__(f"The image {path} cannot be used: {why}.", remedy=remedy)


class ImageUnreadableError(ImageUnusableError):
    """The image may be good, but what is in it cannot be told from its files: as of PyPy."""


class ImageDoubtWarning(UserWarning):
    """Something about an image could not be told for sure from its files."""
