"""Which images there are, and where: directories ``<root>/<registry>/<repository>:<tag>``.

Only an image that was asked for is looked into; see `images.listing` for the others.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import time
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from htcdaskgateway.images.errors import (
    ImageNotFoundError,
    ImageRootMissingError,
    ImageUnusableError,
    RegistryNotFoundError,
    TagMissingError,
)
from htcdaskgateway.images.file_errors import why
from htcdaskgateway.images.listing import is_dir, is_image, listing, reference_of, walk
from htcdaskgateway.images.reference import (
    ALIASES,
    DEFAULT_REGISTRY,
    DEFAULT_ROOT,
    DOCKER_REGISTRY,
    ImageReference,
    is_registry,
    newest_first,
)

_NEAREST = 3
_NEAREST_SECONDS = 5.0


def own_root(*given: str) -> str:
    """Give the first image root that is not empty, or the default; ``~`` is a person's home."""
    root = next(filter(None, given), DEFAULT_ROOT)
    return root if "\0" in root else os.path.expanduser(root)  # noqa: PTH111 - Path's raises


class ImageCatalogue:
    """The images below one root.

    Parameters
    ----------
    root : str or Path
        The image root, such as ``/cvmfs/unpacked.cern.ch``. It is not looked at here.
    default_registry : str, optional
        The registry that messages leave out, since one need not type it.

    Raises
    ------
    ImageRootMissingError
        This is no path.
    """

    def __init__(self, root: str | Path, default_registry: str = DEFAULT_REGISTRY) -> None:
        if not isinstance(root, str | Path) or "\0" in str(root):
            raise ImageRootMissingError(repr(root), "it is no path")
        self.root = Path(root)
        self.default_registry = default_registry

    def path(self, reference: ImageReference) -> Path:
        """Give the image path; whether anything is there is not looked at."""
        return self.root / reference.relative_path

    def find(self, reference: ImageReference) -> tuple[ImageReference, Path]:
        """Find an image.

        Parameters
        ----------
        reference : ImageReference
            Without a tag, it is looked up.

        Returns
        -------
        tuple of ImageReference and Path
            As it is named below the root, with its tag: ``debian:12`` is in Docker's registry
            ``library/debian:12``.

        Raises
        ------
        ImageRootMissingError, RegistryNotFoundError, ImageNotFoundError
        TagMissingError
            No tag was given, and there are several.
        ImageUnusableError
            It is a file, leads nowhere, or may not be read.
        """
        for spelling in _spellings(reference):
            if spelling.tag:
                if self._is_there(spelling):
                    return spelling, self.path(spelling)
            elif tags := self.tags(spelling):
                if len(tags) > 1:
                    raise TagMissingError(self._typed(spelling), tuple(one.tag for one in tags))
                return self.find(tags[0])
        existing = self.registries()
        if reference.registry not in existing:
            raise RegistryNotFoundError(reference.registry, str(self.root), existing)
        looked_for = str(self.path(reference)) + ("" if reference.tag else ":*")
        raise ImageNotFoundError(self._typed(reference), looked_for, self._nearest(reference, existing))

    def registries(self) -> tuple[str, ...]:
        """Give the registries of which there are images, sorted.

        Raises
        ------
        ImageRootMissingError
        """
        try:
            found = listing(self.root)
        except OSError as error:
            raise ImageRootMissingError(str(self.root), error.strerror or str(error)) from error
        if not found:
            raise ImageRootMissingError(str(self.root), "an empty directory")
        return tuple(
            sorted(entry.name for entry in found if is_registry(entry.name) and is_dir(entry, follow=True))
        )

    def tags(self, reference: ImageReference) -> list[ImageReference]:
        """Give the images of the same registry and repository, whatever their tags, the newest first.

        Raises
        ------
        ImageUnusableError
            The directory where they would be may not be read.
        """
        folder = self.root / reference.registry / reference.repository
        prefix = f"{folder.name}:"
        try:
            found = listing(folder.parent)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.registries()  # where the root itself is at fault, that is the news
            raise ImageUnusableError(str(folder), why(error, str(folder))) from error
        images = (one.name for one in found if one.name.startswith(prefix) and is_image(one))
        tags = newest_first(tag for name in images if (tag := name.removeprefix(prefix)))
        return [one for tag in tags if (one := reference_of(reference.registry, reference.repository, tag))]

    def walk(self, registry: str | None = None) -> Iterator[tuple[ImageReference, Path]]:
        """Go through all images, in the order of their names within a directory.

        Bounded, and without what may not be read: see `images.listing.walk`.

        Parameters
        ----------
        registry : str, optional
            Of this registry only.

        Raises
        ------
        ImageRootMissingError, RegistryNotFoundError
            At once, not while the images are gone through.
        """
        existing = self.registries()
        if registry is not None and registry not in existing:
            raise RegistryNotFoundError(registry, str(self.root), existing)
        found = walk(self.root, existing if registry is None else (registry,))
        return ((one, self.path(one)) for one in found)

    def _is_there(self, reference: ImageReference) -> bool:
        path = str(self.path(reference))
        try:
            # The dot asks for the right to enter, the listing for the right to read: one call for both.
            with os.scandir(f"{path}/."):
                return True
        except OSError as error:
            nothing = isinstance(error, FileNotFoundError | NotADirectoryError)
            if nothing and not os.path.lexists(path):
                return False
            self.registries()
            raise ImageUnusableError(path, why(error, path)) from error

    def _nearest(self, reference: ImageReference, registries: tuple[str, ...]) -> tuple[str, ...]:
        """Give names that could have been meant, as they would be typed, the likeliest first."""
        same = (reference_of(registry, reference.repository, reference.tag) for registry in registries)
        elsewhere = [str(one) for one in same if one and reference.tag and os.path.lexists(self.path(one))]
        found: list[ImageReference] = []
        for spelling in _spellings(reference):
            with contextlib.suppress(ImageUnusableError):
                found += self.tags(spelling)
        cutoff = 0.0 if found else 0.6
        if not found:
            end = time.monotonic() + _NEAREST_SECONDS
            images = takewhile(lambda _: time.monotonic() < end, self.walk(reference.registry))
            found = [one if reference.tag else one.with_tag("") for one, _ in images]
        typed = {one.name: self._typed(one) for one in found}
        near = difflib.get_close_matches(reference.name, typed, _NEAREST, cutoff)
        return (*elsewhere, *(typed[name] for name in near))

    def _typed(self, reference: ImageReference) -> str:
        return reference.name if reference.registry == self.default_registry else str(reference)


def _spellings(reference: ImageReference) -> list[ImageReference]:
    """Docker's own images have a repository that people leave out."""
    official = None
    if reference.registry in {DOCKER_REGISTRY, *ALIASES} and "/" not in reference.repository:
        official = reference_of(reference.registry, f"library/{reference.repository}", reference.tag)
    return [reference, official] if official else [reference]
