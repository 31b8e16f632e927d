"""Image references: text that people type, made safe to be a path and a word of a submit description.

What an `ImageReference` holds consists of letters, digits and ``. _ - : /`` only, none of its components
begins with a dot, and it has at most `MAX_LENGTH` characters; so no further quoting depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from htcdaskgateway.errors import shown
from htcdaskgateway.images.errors import LONGEST, ImageReferenceError

DOCKER_REGISTRY = "registry.hub.docker.com"
DEFAULT_REGISTRY = DOCKER_REGISTRY
DEFAULT_IMAGE = "coffeateam/coffea-base-almalinux8:0.7.22-py3.10"
DEFAULT_ROOT = "/cvmfs/unpacked.cern.ch"
ALIASES: Mapping[str, str] = {"docker.io": DOCKER_REGISTRY, "index.docker.io": DOCKER_REGISTRY}
MAX_LENGTH = 255  # no longer than one file name may be: the last component, name:tag, is one

_STRANGE = re.compile(r"[^A-Za-z0-9._/:@-]")
_HOST = re.compile(r"[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_NAMED = {
    "\0": "a NUL character", "\n": "a line break", "\r": "a line break", "\t": "a tab", " ": "a space",
    '"': "a quotation mark", "'": "a quotation mark",
}  # fmt: skip
_MADE_OF = "letters, digits, '.', '_' and '-', with a letter or digit first"


@dataclass(frozen=True)
class ImageReference:
    """The name of an image below the image root: one that is safe, however it was made.

    Parameters
    ----------
    registry : str
        A host name, in lower case, with a port or without.
    repository : str
        Components separated by ``/``; the last is the name.
    tag : str, optional
        Empty if it is still to be looked up.

    Raises
    ------
    ImageReferenceError
    """

    registry: str
    repository: str
    tag: str = ""

    def __post_init__(self) -> None:
        if why := self._fault():
            raise ImageReferenceError(str(self), why)

    def _fault(self) -> str:
        if not is_registry(self.registry):
            return f"the registry {shown(self.registry, LONGEST)} is not a host name like {DOCKER_REGISTRY}"
        if len(str(self)) > MAX_LENGTH:
            return _too_long(str(self))
        if ".." in self.name:
            return "it holds '..'"
        for part in self.repository.split("/"):
            if not _PART.fullmatch(part):
                return f"its part {shown(part, LONGEST)} is not made of {_MADE_OF}"
        if self.tag and not _TAG.fullmatch(self.tag):
            return f"its tag {shown(self.tag, LONGEST)} is not 1 to 128 letters, digits, '.', '_' and '-'"
        return ""

    def __str__(self) -> str:
        return f"{self.registry}/{self.name}"

    @property
    def name(self) -> str:
        """``repository:tag``, without the registry."""
        return f"{self.repository}:{self.tag}" if self.tag else self.repository

    @property
    def relative_path(self) -> str:
        """Where it lies below the image root."""
        return str(self)

    def with_tag(self, tag: str) -> ImageReference:
        return replace(self, tag=tag)


def is_registry(text: str) -> bool:
    """Whether the text is a registry and not the first part of a repository: Docker's rule."""
    named_so = "." in text or ":" in text or text == "localhost"
    return named_so and ".." not in text and _HOST.fullmatch(text) is not None


def parse_reference(
    text: str,
    registry: str | None = None,
    *,
    default_registry: str = DEFAULT_REGISTRY,
    aliases: Mapping[str, str] = ALIASES,
) -> ImageReference:
    """Read an image reference.

    Parameters
    ----------
    text : str
        ``name:tag``, ``repository/name:tag`` or ``registry/repository/name:tag``; the tag may be left out.
        The first component is a registry if it holds ``.`` or ``:`` or is ``localhost``.
    registry : str, optional
        The registry, if the text names none; where both do, they must agree.
    default_registry : str
        The registry if neither names one.
    aliases : mapping of str to str
        Other names of registries, each with the name that is a directory below the image root.

    Raises
    ------
    ImageReferenceError
        It is none, or could mean something else to a file system, a shell or HTCondor.
    """
    if why := _text_fault(text):
        raise ImageReferenceError(text if isinstance(text, str) else repr(text), why)
    if not isinstance(registry, str | None):
        raise ImageReferenceError(text, f"image_registry= is of type {type(registry).__name__}, not text")

    if not isinstance(default_registry, str):
        kind = type(default_registry).__name__
        raise ImageReferenceError(text, f"the default registry is of type {kind}, not text")

    def known(name: str) -> str:
        return aliases.get(name.lower(), name.lower())

    first, slash, rest = text.partition("/")
    named = known(first) if slash and ("." in first or ":" in first or first.lower() == "localhost") else ""
    if registry and named and known(registry) != named:
        raise ImageReferenceError(
            text,
            f"it names the registry {shown(named, LONGEST)},"
            f" and image_registry= is {shown(registry, LONGEST)}",
        )
    folder, slash, last = (rest if named else text).rpartition("/")
    name, colon, tag = last.partition(":")
    if colon and not (name and tag):
        raise ImageReferenceError(text, "its name or its tag is empty")
    try:
        return ImageReference(named or known(registry or default_registry), folder + slash + name, tag)
    except ImageReferenceError as error:
        # In the words of the person who typed it: the registry may be another's.
        raise ImageReferenceError(text, error.why) from None


def newest_first(tags: Iterable[str]) -> list[str]:
    """Sort tags so that those which look newest come first, and words such as ``latest`` last."""

    def key(tag: str) -> tuple[bool, list[tuple[bool, int, str]]]:
        runs = re.findall(r"([0-9]+)|([^0-9]+)", tag)
        return bool(re.match(r"v?[0-9]", tag)), [
            (bool(digits), int(digits or 0), text) for digits, text in runs
        ]

    return sorted(tags, key=key, reverse=True)


def _text_fault(text: object) -> str:
    if not isinstance(text, str):
        return f"it is of type {type(text).__name__}, not text"
    if not text:
        return "it is empty"
    if len(text) > MAX_LENGTH:
        return _too_long(text)
    if "://" in text:
        return f"it is a URL; leave {shown(text.partition('://')[0] + '://', LONGEST)} out"
    if strange := _STRANGE.search(text):
        return f"it holds {_NAMED.get(strange[0], shown(strange[0]))}"
    if text.startswith("/"):
        return "it is an absolute path"
    if ".." in text:
        return "it holds '..'"
    if "@" in text:
        return "it names a digest, and images in CVMFS are named by their tags"
    if "//" in text or text.endswith("/"):
        return "one of its parts between '/' is empty"
    return ""


def _too_long(text: str) -> str:
    return f"it has {len(text)} characters, and {MAX_LENGTH} is the most"
