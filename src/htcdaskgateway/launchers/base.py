"""Where a Dask scheduler runs: what the gateway asks of a launcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

# What a heartbeat says of a scheduler, and where the gateway may have it from instead.
Addresses = dict[str, str]


@dataclass(frozen=True)
class SchedulerPorts:
    """Where a scheduler listens; 0: any free port, which its heartbeat tells.

    Attributes
    ----------
    scheduler, dashboard, api : int
        For workers and clients (TLS), for people, and for the gateway.
    """

    scheduler: int = 0
    dashboard: int = 0
    api: int = 0


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
    cores : float
        Processors that it is to have, where the launcher can see to that; 0: not said.
    memory : int
        Bytes of memory, likewise.
    """

    cluster: str
    user: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    files: Mapping[str, str] = field(repr=False)
    image: SchedulerImage | None = None
    inherited: Mapping[str, str] = field(default_factory=dict, repr=False)
    cores: float = 0
    memory: int = 0


class Launcher(Protocol):
    """Starts, watches and stops schedulers. The state it returns is JSON, kept by the gateway."""

    @property
    def host(self) -> str:
        """The address that schedulers listen at."""

    @property
    def ports(self) -> SchedulerPorts:
        """The ports that they listen at."""

    def check_configuration(self) -> None:
        """Raise ConfigurationError if schedulers cannot be run safely: called when the gateway starts."""

    def check_ways(self, worker_contact: str, api_url: str) -> None:
        """Raise ConfigurationError if workers would not reach schedulers, or schedulers the gateway, so."""

    async def open(self, gateway: str) -> None:
        """Begin work for the gateway of this instance id. It may be called before schedulers can be started.

        Raises
        ------
        ConfigurationError
            It could never start one.
        """

    async def close(self) -> None:
        """End what `open` began; schedulers run on."""

    async def sweep(self, is_known: Callable[[str], bool]) -> None:
        """Remove what is left of this gateway's schedulers whose clusters are not known (any more)."""

    def admit(self, user: str) -> None:
        """Raise InvalidRequestError if this user may have no scheduler here."""

    def place(self, cluster: str) -> dict[str, Any]:
        """State that is known before the start, enough for ``stop`` if the gateway ends during it."""

    async def start(self, spec: SchedulerSpec) -> dict[str, Any]:
        """Start it; the returned state finds it again, also from a later gateway process."""

    def addresses(self, state: Mapping[str, Any]) -> Addresses | None:
        """Where the gateway reaches this scheduler, by the names of a heartbeat's; None: as that says.

        Raises
        ------
        ValueError
            It is not known yet.
        """

    async def failure(self, user: str, state: Mapping[str, Any]) -> str:
        """Why it runs no more, in one sentence; empty while it runs or where that is not known."""

    async def delay(self, user: str, state: Mapping[str, Any]) -> str:
        """What keeps it from running so far, in one sentence; empty where that is not known."""

    async def stop(self, user: str, state: Mapping[str, Any]) -> str:
        """End it and remove its directory, secrets first. Returns the end of its log."""
