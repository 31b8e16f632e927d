"""What `HTCGatewayCluster.adapt` gives an asynchronous caller."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


class Adapting:
    """A request to adapt that is on its way, awaited or not; awaited, it raises what went wrong.

    dask-labextension does not await it, keeps it, and shows its bounds.

    Attributes
    ----------
    minimum, maximum : int or None
    """

    def __init__(self, request: Coroutine[Any, Any, None], minimum: int | None, maximum: int | None) -> None:
        self.minimum, self.maximum = minimum, maximum
        self._task = asyncio.ensure_future(request)

    def __await__(self) -> Generator[Any, None, None]:
        return self._task.__await__()
