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
    doubtful : set of ImageReference
        Of them, those of which what was read could be wrong.
    total : int or None
        How many others of this name there are; None while that is not known.
    read : int
        How many of them could be read so far.
    """

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.found: list[ImageReference] = []
        self.doubtful: set[ImageReference] = set()
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
        images = ((one, catalogue.path(one)) for one in nearest[:MOST_READ])
        for finding in survey(images, command=self.choice.command):
            if finding.contents is not None:
                self.read += 1
                if finding.contents.runs_dask is not False and fits(here, finding.versions):
                    if finding.is_doubtful:
                        self.doubtful.add(finding.reference)
                    self.found.append(finding.reference)
            if len(self.sure) == MOST_NAMED or time.monotonic() > end:
                break

    @property
    def sure(self) -> list[ImageReference]:
        """Those found that are not in doubt."""
        return [one for one in list(self.found) if one not in self.doubtful]  # a thread may still add some

    @property
    def lines(self) -> tuple[str, ...]:
        """What there is to say of it: the sure ones first."""
        sure, found = self.sure, list(self.found)
        if found:
            named = [*sure, *(one for one in found if one not in sure)][:MOST_NAMED]
            return ("Of this name, these fit this notebook:", *(self._line(one) for one in named))
        listed = "`htcdask images --fits` lists those that do."
        if self.total is None or (self.total and not self.read):
            return (f"Other images of this name could not be read in time. {listed}",)
        if self.read < self.total:
            none = f"Of the {self.read} of this name that were read in time, none fits this notebook"
            return (f"{none}; {self.total - self.read} more were not read. {listed}",)
        return (f"No other image of this name fits this notebook. {listed}",)

    def _line(self, one: ImageReference) -> str:
        name = one.name if one.registry == self.choice.registry else str(one)
        return f'  image="{name}"{" (in doubt)" if one in self.doubtful else ""}'


def nearest_first(wanted: ImageReference, others: Iterable[ImageReference]) -> list[ImageReference]:
    """Sort the other references so that those whose tag is most like the wanted one come first."""

    def likeness(one: ImageReference) -> float:
        return SequenceMatcher(None, one.tag, wanted.tag).ratio()

    return sorted((one for one in others if one != wanted), key=likeness, reverse=True)


async def fitting_tags(choice: Choice) -> tuple[str, ...] | None:
    """Give tags of the name that fit this notebook for sure, the newest first; None if nobody can tell."""
    search = await _searched(choice)
    tags = tuple(one.tag for one in search.sure)
    return tags if tags or (search.read and not search.found) else None


async def alternatives(choice: Choice) -> tuple[str, ...]:
    """Lines that name images of the same name which would fit this notebook, the nearest first."""
    return (await _searched(choice)).lines


async def _searched(choice: Choice) -> Search:
    search = Search(choice)
    with contextlib.suppress(asyncio.TimeoutError):
        await in_thread(search.run, SEARCH_SECONDS + GRACE)
    return search
