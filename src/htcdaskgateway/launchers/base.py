"""Where a Dask scheduler runs: what the gateway asks of a launcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class SchedulerImage:
    """What a scheduler runs in.

    Attributes
    ----------
    reference : str
        ``registry/repository/name:tag``.
    path : str
        Where it lies unpacked on every machine that has it.
    """

    reference: str
    path: str


@dataclass(frozen=True)
class SchedulerSpec:
    """A scheduler to start.

    Attributes
    ----------
    cluster, user : str
        The gateway's name of the cluster, and whose it is.
    command : tuple of str
        Program and arguments; started in the scheduler's own directory.
    environment : mapping of str to str
        The scheduler's own. Holds no secret: those are in ``files``.
    files : mapping of str to str
        Name and content of files in that directory, readable by the user only.
    image : SchedulerImage, optional
        What it runs in; without one, on the launcher's host itself.
    inherited : mapping of str to str, optional
        Environment of a process on the launcher's host, such as ``PATH``; none of a container's business.
    """

    cluster: str
    user: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(repr=False)
    image: SchedulerImage | None = None
    inherited: Mapping[str, str] = field(default_factory=dict, repr=False)


class Launcher(Protocol):
    """Starts, watches and stops schedulers. The state it returns is JSON, kept by the gateway."""

    @property
    def host(self) -> str:
        """The address that schedulers listen at."""

    def check_configuration(self) -> None:
        """Raise ConfigurationError if schedulers cannot be run safely: called when the gateway starts."""

    def admit(self, user: str) -> None:
        """Raise InvalidRequestError if this user may have no scheduler here."""

    def place(self, cluster: str) -> dict[str, Any]:
        """State that is known before the start, enough for ``stop`` if the gateway ends during it."""

    async def start(self, spec: SchedulerSpec) -> dict[str, Any]:
        """Start it; the returned state finds it again, also from a later gateway process."""

    async def failure(self, user: str, state: Mapping[str, Any]) -> str:
        """Why it runs no more, in one sentence; empty while it runs or where that is not known."""

    async def stop(self, user: str, state: Mapping[str, Any]) -> str:
        """End it and remove its directory, secrets first. Returns the end of its log."""
