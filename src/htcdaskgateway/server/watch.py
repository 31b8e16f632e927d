"""What the gateway has seen of a cluster since it started, and who waits for news of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from htcdaskgateway.server.verdicts import Link


@dataclass
class Watch:
    """Kept in memory only: it can be seen again.

    Attributes
    ----------
    links : dict of str to (Link, float)
        By the names of workers, and since when.
    problem : str
        Why no more workers are tried; empty while they are.
    revision : int
        Changes with everything that is told of the cluster.
    scaling : asyncio.Lock
        Held by a request to scale, which submits by itself.
    changed : asyncio.Event
        Set at the next change; a new one each time.
    """

    links: dict[str, tuple[Link, float]] = field(default_factory=dict)
    problem: str = ""
    revision: int = 0
    scaling: asyncio.Lock = field(default_factory=asyncio.Lock)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def touch(self) -> None:
        """Wake whoever waits for news of this cluster."""
        self.revision += 1
        self.changed.set()
        self.changed = asyncio.Event()
