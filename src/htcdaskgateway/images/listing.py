"""Looks through the directories of an image root, and never into an image.

The root is often a network file system that fetches what is looked into, and in CVMFS each tag is a link
to an image that is a catalogue of its own. So nothing here follows the link of an image: it tells by the
kind of an entry and its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from htcdaskgateway.images.errors import ImageReferenceError
from htcdaskgateway.images.reference import ImageReference

MAX_DEPTH = 12  # GitLab nests groups; nobody nests them deeper
MAX_ENTRIES = 200_000


def listing(folder: Path, most: int = MAX_ENTRIES) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(islice(entries, most))


def is_image(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() or is_dir(entry)


def is_dir(entry: os.DirEntry[str], *, follow: bool = False) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False


def reference_of(registry: str, repository: str, tag: str) -> ImageReference | None:
    """Make a reference of names that were found; None if nobody could ask for it."""
    try:
        return ImageReference(registry, repository, tag)
    except ImageReferenceError:
        return None


def walk(root: Path, registries: Iterable[str]) -> Iterator[ImageReference]:
    """Go through the images of these registries, in the order of their names within a directory.

    Directories that may not be read, hidden ones and links to directories are passed over; the look goes
    no deeper than `MAX_DEPTH` components and ends after `MAX_ENTRIES` entries.
    """
    left = MAX_ENTRIES
    folders = [(registry, "", 1) for registry in reversed([*registries])]
    while folders and left > 0:
        registry, folder, depth = folders.pop()
        try:
            inside = listing(root / registry / folder, left)
        except OSError:
            inside = []
        left -= 1 + len(inside)
        deeper = []
        for entry in sorted(inside, key=lambda entry: entry.name):
            name, colon, tag = entry.name.partition(":")
            if colon:
                one = reference_of(registry, folder + name, tag) if tag and is_image(entry) else None
                if one:
                    yield one
            elif depth < MAX_DEPTH and not name.startswith(".") and is_dir(entry):
                deeper.append((registry, f"{folder}{name}/", depth + 1))
        folders += reversed(deeper)
