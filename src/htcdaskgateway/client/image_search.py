"""Which other images of the same name would fit this notebook: the remedy for one that does not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from htcdaskgateway.images.catalogue import ImageCatalogue
from htcdaskgateway.images.errors import ImageUnusableError
from htcdaskgateway.images.reference import ImageReference
from htcdaskgateway.images.survey import survey
from htcdaskgateway.threads import in_thread
from htcdaskgateway.versions import fits, versions_here

if TYPE_CHECKING:
    from htcdaskgateway.client.images import Choice

SEARCH_SECONDS = 15.0
GRACE = 5.0  # for the image that is being read when they are over
MOST_READ = 40
MOST_NAMED = 3


class Search:
    """A search for images of the same name that fit this notebook.

    What it has found stays, also when nobody waited for its end.

    Attributes
    ----------
    found : list of ImageReference
        The nearest first.
    total : int or None
        How many others of this name there are; None while that is not known.
    read : int
        How many of them could be read so far.
    """

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.found: list[ImageReference] = []
        self.total: int | None = None
        self.read = 0

    def run(self) -> None:
        """Search; blocks while images are read."""
        wanted = self.choice.image
        if wanted is None:
            return
        catalogue, here = ImageCatalogue(self.choice.root, self.choice.registry), versions_here()
        end = time.monotonic() + SEARCH_SECONDS
        try:
            nearest = nearest_first(wanted, catalogue.tags(wanted))
        except ImageUnusableError:
            return
        self.total = len(nearest)
        for finding in survey((one, catalogue.path(one)) for one in nearest[:MOST_READ]):
            if finding.contents is not None:
                self.read += 1
                if finding.contents.runs_dask is not False and fits(here, finding.versions):
                    self.found.append(finding.reference)
            if len(self.found) == MOST_NAMED or time.monotonic() > end:
                break

    @property
    def lines(self) -> tuple[str, ...]:
        """What there is to say of it."""
        if found := list(self.found):  # a thread may still be adding to it
            names = [one.name if one.registry == self.choice.registry else str(one) for one in found]
            return ("Of this name, these fit this notebook:", *(f'  image="{name}"' for name in names))
        listed = "`htcdask images --fits` lists those that do."
        if self.total is None or (self.total and not self.read):
            return (f"Other images of this name could not be read in time. {listed}",)
        if self.read < self.total:
            none = f"Of the {self.read} of this name that were read in time, none fits this notebook"
            return (f"{none}; {self.total - self.read} more were not read. {listed}",)
        return (f"No other image of this name fits this notebook. {listed}",)


def nearest_first(wanted: ImageReference, others: Iterable[ImageReference]) -> list[ImageReference]:
    """Sort the other references so that those whose tag is most like the wanted one come first."""

    def likeness(one: ImageReference) -> float:
        return SequenceMatcher(None, one.tag, wanted.tag).ratio()

    return sorted((one for one in others if one != wanted), key=likeness, reverse=True)


async def fitting_tags(choice: Choice) -> tuple[str, ...] | None:
    """Give tags of the name that fit this notebook, the newest first; None if no image could be read."""
    search = await _searched(choice)
    return tuple(one.tag for one in list(search.found)) if search.read else None


async def alternatives(choice: Choice) -> tuple[str, ...]:
    """Lines that name images of the same name which would fit this notebook, the nearest first."""
    return (await _searched(choice)).lines


async def _searched(choice: Choice) -> Search:
    search = Search(choice)
    with contextlib.suppress(asyncio.TimeoutError):
        await in_thread(search.run, SEARCH_SECONDS + GRACE)
    return search
