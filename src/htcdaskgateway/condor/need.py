"""What a worker's job asks of a slot. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_STRING = r'"(?:[^"\\]|\\.)*"'
_SCOPED = re.compile(rf"{_STRING}|\b(?:(MY|TARGET)\s*\.\s*)?([A-Za-z_]\w*)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Need:
    """What one worker's job asks of a slot.

    Attributes
    ----------
    cores : int
    memory : int
        MiB.
    disk : int
        KiB; 0: HTCondor's default, which is not looked at.
    requirements : str
        The site's and the user's; empty: none.
    """

    cores: int
    memory: int
    disk: int = 0
    requirements: str = ""

    @classmethod
    def of_commands(cls, commands: Mapping[str, str]) -> Need:
        """Read it from submit commands, whose names heed no upper and lower case."""
        said = {name.lower(): value for name, value in commands.items()}
        cores, memory, disk = (int(said.get(f"request_{what}", "0")) for what in ("cpus", "memory", "disk"))
        return cls(cores, memory, disk, said.get("requirements", ""))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Need:
        """Make it from a gateway's answer; what a newer gateway adds is left out."""
        cores, memory, disk = (int(data.get(name, 0)) for name in ("cores", "memory", "disk"))
        return cls(cores, memory, disk, str(data.get("requirements", "")))

    @property
    def constraint(self) -> str:
        """The requirements as a query of slots takes them; empty: there are none, or they cannot be.

        In a query the slot is all that there is: ``TARGET.`` would find nothing, and what they say of the
        job is put in.
        """
        mine = {"requestcpus": self.cores, "requestmemory": self.memory, "requestdisk": self.disk}
        unknown: list[str] = []

        def replaced(match: re.Match[str]) -> str:
            scope, name = match[1], match[2]
            if name is None or (scope or "").lower() == "target":
                return name or match[0]
            if name.lower() in mine:
                return str(mine[name.lower()])
            if scope:
                unknown.append(name)
            return match[0]

        constraint = _SCOPED.sub(replaced, self.requirements)
        return "" if unknown or "$" in self.requirements else constraint

    def __str__(self) -> str:
        text = f"{self.cores} core{'s' * (self.cores != 1)}, {gib(self.memory)}"
        if self.disk:
            text += f", {gib(self.disk / 1024)} of disk"
        return f"{text}, requirements = {self.requirements}" if self.requirements else text


def gib(mib: float) -> str:
    """Show an amount of memory or disk."""
    return f"{mib / 1024:.1f} GiB"
