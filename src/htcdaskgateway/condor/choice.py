"""Which schedd of a pool gets the jobs of a cluster: the less it has to do, the more likely. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from htcdaskgateway.condor.errors import NoScheddError

SCHEDD_ATTRIBUTES = (
    "Name", "TotalRunningJobs", "TotalIdleJobs", "MaxJobsRunning", "RecentDaemonCoreDutyCycle",
    "CurbMatchmaking",
)  # fmt: skip


@dataclass(frozen=True)
class ScheddLoad:
    """What a schedd says of itself to the collector.

    Attributes
    ----------
    name : str
    duty_cycle : float
        The part of its time in which it works, 0 to 1, of the last minutes. It answers late near 1.
    running, idle : int
        Jobs of all users.
    max_running : int
        Jobs that it runs at most; 0: it does not say.
    curbed : bool
        It asks the negotiator for no more matches.
    """

    name: str
    duty_cycle: float = 0.0
    running: int = 0
    idle: int = 0
    max_running: int = 0
    curbed: bool = False

    @property
    def occupancy(self) -> float:
        return self.running / self.max_running if self.max_running > 0 else 0.0


def load_of(ad: Mapping[str, Any]) -> ScheddLoad:
    """Read a schedd's ad, in which values that could not be evaluated are absent."""

    def number(attribute: str) -> float:
        value = ad.get(attribute)
        usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if usable and value is not None else 0.0

    return ScheddLoad(
        name=str(ad.get("Name") or ""),
        duty_cycle=min(1.0, max(0.0, number("RecentDaemonCoreDutyCycle"))),
        running=max(0, int(number("TotalRunningJobs"))),
        idle=max(0, int(number("TotalIdleJobs"))),
        max_running=max(0, int(number("MaxJobsRunning"))),
        curbed=ad.get("CurbMatchmaking") is True,
    )


def why_not(load: ScheddLoad, *, duty_cycle: float = 0.95, occupancy: float = 0.95) -> str:
    """Say why this schedd is to get no more jobs; empty if it may.

    HTCondor's own limit of the duty cycle is 0.98: from there on a schedd curbs its matches.
    """
    if load.curbed:
        return "it asks for no more matches (CurbMatchmaking)"
    if load.duty_cycle >= duty_cycle:
        return f"busy for {load.duty_cycle:.0%} of its time, the limit is {duty_cycle:.0%}"
    if load.occupancy >= occupancy:
        return f"{load.running} jobs run of at most {load.max_running}, the limit is {occupancy:.0%}"
    return ""


def weight(load: ScheddLoad) -> float:
    """How likely it is to be chosen, relative to others: its free time times its free slots."""
    return (1 - load.duty_cycle) * (1 - min(1.0, load.occupancy))


def choose(
    loads: Iterable[ScheddLoad],
    random: Callable[[], float],
    *,
    names: Sequence[str] = (),
    duty_cycle: float = 0.95,
    occupancy: float = 0.95,
    pool: str = "",
    constraint: str = "",
) -> ScheddLoad:
    """Choose a schedd.

    Parameters
    ----------
    loads : iterable of ScheddLoad
    random : callable
        Gives a number in [0, 1), such as `random.random`.
    names : sequence of str, optional
        The only ones to choose from; HTCondor does not heed upper and lower case in them.
    duty_cycle, occupancy : float
        A schedd that has reached one of them is left out, 0 to 1.
    pool, constraint : str
        Where the schedds were asked for: for the error.

    Raises
    ------
    NoScheddError
        None is left; tells of each one why.
    """
    by_name = {load.name.casefold(): load for load in loads if load.name}
    wanted = {name.casefold(): name for name in names} or {key: load.name for key, load in by_name.items()}
    why: dict[str, str] = {}
    left: list[ScheddLoad] = []
    for key, name in sorted(wanted.items()):
        found = by_name.get(key)
        if found is None:
            why[name] = "the collector does not show it"
        elif reason := why_not(found, duty_cycle=duty_cycle, occupancy=occupancy):
            why[found.name] = reason
        else:
            left.append(found)
    weights = [weight(load) for load in left]
    if not left or not sum(weights):
        raise NoScheddError(why or {load.name: "no part of it is free" for load in left}, pool, constraint)
    point = random() * sum(weights)
    return next((load for load, end in zip(left, accumulate(weights), strict=True) if point < end), left[-1])
