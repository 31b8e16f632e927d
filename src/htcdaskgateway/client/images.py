"""Which image a cluster gets, and whether it fits this notebook: before anything is submitted."""

from __future__ import annotations

import asyncio
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from htcdaskgateway.client.image_search import fitting_tags
from htcdaskgateway.client.site import SiteFacts
from htcdaskgateway.config import setting
from htcdaskgateway.errors import InvalidRequestError, shown
from htcdaskgateway.images.catalogue import ImageCatalogue, own_root
from htcdaskgateway.images.contents import ImageContents, read_image
from htcdaskgateway.images.errors import (
    ImageReferenceError,
    ImageUnreadableError,
    ImageUnusableError,
    TagMissingError,
)
from htcdaskgateway.images.reference import ImageReference, parse_reference
from htcdaskgateway.threads import in_thread
from htcdaskgateway.versions import MUST_AGREE, SHOWN, Column, VersionTable, versions_here

READ_SECONDS = 60.0  # CVMFS fetches what it has not read before
CHECKS = ("error", "warn", "off")
UNREAD = 'check_versions="warn" starts it unread; scheduler and workers are compared when they run.'


@dataclass(frozen=True)
class Wish:
    """What the caller of ``new_cluster`` asked for, each None if nothing."""

    image: str | None = None
    registry: str | None = None
    check: str | None = None


@dataclass(frozen=True)
class Choice:
    """What a cluster gets.

    Attributes
    ----------
    image : ImageReference or None
        None: the gateway decides.
    check : str
        ``error``, ``warn``, ``off``; empty: nothing is ever checked.
    root, registry : str
        The image root, and the registry of references that name none.
    command : str
        The program in the image that is started as a worker.
    contents : ImageContents or None
        What was read in the image.
    unread : str
        Why nothing could be read in an image that may be good; empty if there is no such thing.
    """

    image: ImageReference | None = None
    check: str = ""
    root: str = ""
    registry: str = ""
    command: str = "dask"
    contents: ImageContents | None = None
    unread: str = ""


def wish(
    image: str | None, image_registry: str | None, apptainer_image: str | None, check_versions: str | None
) -> Wish:
    """Check the keywords of ``new_cluster``, as far as it goes without asking anybody.

    What a reference means, and whether it is one, is known once the gateway has told of its site.

    Raises
    ------
    InvalidRequestError
        A value is not text, there are two images, or there is no such way to check versions.
    """
    if check_versions is not None:
        check_versions = policy(check_versions, "check_versions")
    texts = {"image": image, "image_registry": image_registry, "apptainer_image": apptainer_image}
    for name, value in texts.items():
        if not isinstance(value, str | None):
            raise InvalidRequestError(f"{name} must be text, not {reprlib.repr(value)}.")
    if image is not None and apptainer_image is not None and image != apptainer_image:
        raise InvalidRequestError(
            f"image={shown(image)} and apptainer_image={shown(apptainer_image)} are two images.",
            remedy="Give image= only; apptainer_image= is its old name.",
        )
    return Wish(apptainer_image if image is None else image, image_registry, check_versions)


def policy(value: object, name: str) -> str:
    """Check how versions are to be checked."""
    if value is False:  # what YAML makes of the word off
        return "off"
    if value not in CHECKS:
        raise InvalidRequestError(f'{name} must be "error", "warn" or "off", not {value!r}.')
    return str(value)


def decide(wanted: Wish, site: SiteFacts, options: Mapping[str, Any]) -> Choice:
    """Choose the image: the keyword, else the cluster option, else Dask's configuration, else the site's.

    Parameters
    ----------
    wanted : Wish
    site : SiteFacts
    options : mapping
        Cluster options.

    Raises
    ------
    ImageReferenceError, InvalidRequestError, ConfigurationError
    """
    check = wanted.check or checks(site)
    if site.runtime == "none":
        if wanted.image is not None or wanted.registry is not None:
            what = "image" if wanted.image is not None else "image_registry"
            raise InvalidRequestError(
                f"{what}={getattr(wanted, what.removeprefix('image_'))!r} cannot be had:"
                " the workers of this gateway run without images.",
                remedy=f"Leave {what}= out.",
            )
        return Choice(check=check)
    default = setting("image", site.image)
    image = (options.get("image") or default) if wanted.image is None else wanted.image
    default, image = (
        site.environments.get(name, name) if isinstance(name, str) else name for name in (default, image)
    )
    if (wanted.image is None and not image) or (not site.is_ours and (wanted.image is None or not check)):
        return Choice(check=check)
    registry = options.get("image_registry") or setting("image-registry", site.image_registry)
    if wanted.image is None and wanted.registry and image in (default, site.image):
        # Nobody typed the registry of this reference: the keyword goes before it.
        image = parse_reference(image, default_registry=registry, aliases=site.registry_aliases).name
    try:
        reference = parse_reference(
            image, wanted.registry, default_registry=registry, aliases=site.registry_aliases
        )
    except ImageReferenceError as error:
        raise ImageReferenceError(error.reference, error.why, tuple(site.environments)) from None
    root = own_root(setting("image-root"), site.image_root)
    return Choice(reference, check, root, registry, site.worker_program)


def checks(site: SiteFacts) -> str:
    """How versions are checked where the caller does not say; empty: not at all."""
    configured = setting("check-versions")
    if configured:
        return policy(configured, "htcdaskgateway.check-versions in Dask's configuration")
    if not site.is_ours:
        return ""  # nobody knows what another gateway's option "image" means
    return site.check_versions if site.check_versions in CHECKS else "error"


async def look(choice: Choice) -> Choice:
    """Find the image, its tag where none was given, and read it.

    With ``check="warn"`` an image whose files do not tell what is in it is no error.

    Raises
    ------
    InvalidRequestError
        One of `htcdaskgateway.images.errors`: it is not there, or cannot be used.
    """
    if choice.image is None:
        return choice
    catalogue, wanted = ImageCatalogue(choice.root, choice.registry), choice.image

    def find_and_read() -> Choice:
        reference, path = catalogue.find(wanted)
        found = replace(choice, image=reference)
        try:
            packages = [*MUST_AGREE[1:], *SHOWN]
            return replace(found, contents=read_image(path, packages, command=choice.command))
        except ImageUnreadableError as error:
            if choice.check == "warn":
                return replace(found, unread=error.sentence)
            raise ImageUnreadableError(error.path, error.why, f"{ask_itself(reference)} {UNREAD}") from error

    try:
        return await in_thread(find_and_read, READ_SECONDS)
    except TagMissingError as error:
        # As it was found: Docker's own images have a repository that people leave out.
        repository = error.reference.removeprefix(f"{wanted.registry}/")
        named = replace(choice, image=replace(wanted, repository=repository))
        raise TagMissingError(error.reference, error.tags, await fitting_tags(named)) from None
    except asyncio.TimeoutError:
        raise ImageUnusableError(
            str(catalogue.path(wanted)),
            f"it could not be read within {READ_SECONDS:g} s",
            f'Try `ls {choice.root}`. check_versions="off" goes without reading it.',
        ) from None


def ask_itself(image: ImageReference) -> str:
    """Say how to learn for sure what is in an image."""
    return f"Where Apptainer is installed, `htcdask images {image} --run` asks the image's own Python."


def comparison(choice: Choice, *columns: Column) -> VersionTable:
    """Table of the notebook, the image as far as it was read, and further columns."""
    image = []
    if choice.contents is not None:
        found = {"python": choice.contents.python, **choice.contents.versions}
        compared = {name: found[name] for name in (*MUST_AGREE, *SHOWN) if found.get(name)}
        image = [Column("image", compared, "; ".join(choice.contents.notes))]
    return VersionTable((Column("notebook", versions_here()), *image, *columns))
