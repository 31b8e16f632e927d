"""Which HTCondor is talked to, and how: the same for the gateway and for a user's session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from htcdaskgateway.condor.choice import choose
from htcdaskgateway.condor.collector import BindingsCollector, Collector, ToolsCollector
from htcdaskgateway.condor.errors import NoScheddError
from htcdaskgateway.condor.schedd import Schedd
from htcdaskgateway.errors import ConfigurationError

INTERFACES = ("bindings", "tools", "processes")


@dataclass(frozen=True)
class Access:
    """The way to HTCondor.

    Attributes
    ----------
    interface : str
        ``bindings``, ``tools`` or ``processes``.
    schedd_name, pool : str
        Empty: this host's schedd, the collector of HTCondor's configuration.
    programs : mapping of str to str
        Paths of single programs, for ``tools``.
    timeout : float
        Seconds that HTCondor may take to answer.
    slots : int
        Jobs that ``processes`` runs at a time; 0: one per CPU.
    token : str
        Token file or directory of one user, as the only identity.
    environment : mapping of str to str
        Added to the environment of HTCondor's clients.
    schedd_names : tuple of str
        Those that `choose_schedd` chooses from; empty: all.
    schedd_constraint : str
        A ClassAd expression, true for the ads of those that it chooses from.
    """

    interface: str = "bindings"
    schedd_name: str = ""
    pool: str = ""
    programs: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30
    slots: int = 0
    token: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    schedd_names: tuple[str, ...] = ()
    schedd_constraint: str = ""

    def __post_init__(self) -> None:
        if self.interface not in INTERFACES:
            raise ConfigurationError(
                f"The HTCondor interface {self.interface!r} is none of: {', '.join(INTERFACES)}."
            )

    @property
    def chooses(self) -> bool:
        """Whether the site lets a schedd be chosen."""
        return bool(self.schedd_names or self.schedd_constraint)

    def schedd(self, name: str = "") -> Schedd:
        """Make the schedd of this name; default: ``schedd_name``."""
        name = name or self.schedd_name
        if self.interface == "processes":
            from htcdaskgateway.condor.processes import ProcessSchedd

            return ProcessSchedd(slots=self.slots or None)
        if self.interface == "tools":
            from htcdaskgateway.condor.tools import ToolsSchedd

            return ToolsSchedd(
                name,
                pool=self.pool,
                programs=self.programs,
                timeout=self.timeout,
                environment=self.environment,
                token=self.token,
            )
        from htcdaskgateway.condor.bindings import BindingsSchedd

        return BindingsSchedd(
            name, pool=self.pool, timeout=self.timeout, environment=self.environment, token=self.token
        )

    async def choose_schedd(self, random: Callable[[], float]) -> str:
        """Choose one of the pool's schedds, by how much each has to do.

        Parameters
        ----------
        random : callable
            Gives a number in [0, 1), such as `random.random`.

        Raises
        ------
        NoScheddError
            None of them can take jobs now.
        CollectorUnavailableError
        """
        collector = self._collector()
        try:
            loads = await collector.schedds(self.schedd_constraint)
            if not loads and self.schedd_constraint:
                others = [load.name for load in await collector.schedds()]
                why = dict.fromkeys(others, "the constraint is not true for it")
                raise NoScheddError(why, self.pool, self.schedd_constraint)
        finally:
            await collector.close()
        chosen = choose(
            loads, random, names=self.schedd_names, pool=self.pool, constraint=self.schedd_constraint
        )
        return chosen.name

    def _collector(self) -> Collector:
        if self.interface == "tools":
            return ToolsCollector(
                self.pool,
                programs=self.programs,
                timeout=self.timeout,
                environment=self.environment,
                token=self.token,
            )
        return BindingsCollector(
            self.pool, timeout=self.timeout, environment=self.environment, token=self.token
        )
