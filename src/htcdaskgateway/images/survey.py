"""Reads many images at once: all that a catalogue holds, or those of one name."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from distributed.threadpoolexecutor import ThreadPoolExecutor

from htcdaskgateway.images.contents import ImageContents, read_image
from htcdaskgateway.images.errors import ImageUnusableError
from htcdaskgateway.images.reference import ImageReference

READERS = 8  # a network file system answers several as fast as one
AHEAD = 64  # images that are being read or wait for the caller


@dataclass(frozen=True)
class Finding:
    """An image, and what was read in it: either ``contents`` or, where nothing can be read, ``error``."""

    reference: ImageReference
    path: Path
    contents: ImageContents | None = None
    error: ImageUnusableError | None = None

    @property
    def versions(self) -> dict[str, str]:
        return dict(self.contents.versions) if self.contents else {}

    @property
    def runs_dask(self) -> bool | None:
        return self.contents.runs_dask if self.contents else False

    @property
    def is_doubtful(self) -> bool:
        """Whether what is known of it could be wrong; without `dask` it does not fit whatever else it has."""
        return bool(self.contents and self.runs_dask is not False and (self.notes or self.runs_dask is None))

    @property
    def notes(self) -> tuple[str, ...]:
        return self.contents.notes if self.contents else ()


def survey(images: Iterable[tuple[ImageReference, Path]], *, command: str = "dask") -> Iterator[Finding]:
    """Read images in threads; the findings come in the order of ``images``.

    ``command`` is that of `read_image`.

    The threads are daemons, which those of `concurrent.futures` are not: the end of Python does not wait
    for one that a file system blocks.
    """
    waiting: deque[Future[Finding]] = deque()
    readers = ThreadPoolExecutor(READERS, thread_name_prefix="images")
    try:
        for reference, path in images:
            waiting.append(readers.submit(_find, reference, path, command))
            if len(waiting) >= AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when the caller has seen enough
        for future in waiting:
            future.cancel()
        readers.shutdown(wait=False)


def _find(reference: ImageReference, path: Path, command: str) -> Finding:
    try:
        return Finding(reference, path, contents=read_image(path, command=command))
    except ImageUnusableError as error:
        return Finding(reference, path, error=error)
