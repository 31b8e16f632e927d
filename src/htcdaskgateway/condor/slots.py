"""How many slots of a pool match a worker's job, in the spirit of ``condor_q -better-analyze``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, fields
from typing import Any

from htcdaskgateway.condor.need import Need, gib

# What is asked of a slot's ad; the `Total…` of a partitionable slot are what it has when nothing runs.
SLOT_ATTRIBUTES = (
    "Name", "State", "SlotType", "Cpus", "Memory", "Disk",
    "TotalSlotCpus", "TotalSlotMemory", "TotalSlotDisk",
)  # fmt: skip
NOT_DYNAMIC = 'SlotType =!= "Dynamic"'  # those are parts of partitionable ones
CLOSED_STATES = ("Owner", "Drained", "Delete")
FULL_STATES = (*CLOSED_STATES, "Claimed", "Matched", "Preempting")


@dataclass(frozen=True)
class Slot:
    """A static or partitionable slot: what it has, and what of it is free. Memory in MiB, disk in KiB."""

    name: str
    whole: tuple[float, float, float]
    free: tuple[float, float, float]

    @classmethod
    def of_ad(cls, ad: Mapping[str, Any]) -> Slot:
        has = tuple(_number(ad.get(name)) for name in ("Cpus", "Memory", "Disk"))
        total = tuple(_number(ad.get(f"TotalSlot{name}")) for name in ("Cpus", "Memory", "Disk"))
        partitionable = ad.get("SlotType") == "Partitionable"
        state = str(ad.get("State", ""))
        full = state in (CLOSED_STATES if partitionable else FULL_STATES)
        whole = tuple(max(pair) for pair in zip(has, total, strict=True)) if partitionable else has
        free = (0.0, 0.0, 0.0) if full else has
        return cls(str(ad.get("Name", "")), (whole[0], whole[1], whole[2]), (free[0], free[1], free[2]))


@dataclass(frozen=True)
class SlotMatch:
    """How many slots there are for a worker's job.

    Attributes
    ----------
    slots : int
        Static and partitionable ones of the pool.
    suitable : int or None
        Those that satisfy the requirements; None: they could not be judged.
    large_enough : int
        Those of them that have the cores, memory and disk when nothing runs in them.
    with_room : int
        Those of them that have so much free now.
    most_cores : int
        Of a suitable slot.
    most_memory : int
        Likewise, MiB.
    """

    need: Need
    slots: int
    suitable: int | None
    large_enough: int
    with_room: int
    most_cores: int = 0
    most_memory: int = 0

    @property
    def can_match(self) -> bool:
        """Whether the pool as it is could ever run such a job."""
        return self.large_enough > 0

    @property
    def sentence(self) -> str:
        """What follows, in one sentence."""
        if not self.slots:
            return "The pool shows no slot at all."
        if self.suitable == 0:
            return f"None of the pool's slots ({self.slots}) satisfies the requirements."
        if not self.large_enough:
            fitting = self.slots if self.suitable is None else self.suitable
            return (
                f"No slot of {fitting} is large enough for a worker: the most that one has is"
                f" {self.most_cores} cores and {gib(self.most_memory)}."
            )
        size = "" if self.suitable is not None else " in size; the requirements could not be judged"
        room = f"{self.with_room or 'none'} with room now"
        return f"Of {self.slots} slot{'s' * (self.slots != 1)}, {self.large_enough} match{size}: {room}."

    @property
    def remedy(self) -> str:
        """What to do now."""
        if not self.slots:
            return "`condor_status` shows the slots of the pool."
        if self.suitable == 0:
            return "Leave node_match_expr out, or give another; the site's own part is its administrator's."
        if not self.large_enough:
            return "Ask for smaller workers: new_cluster(worker_cores=…, worker_memory=…)."
        if not self.with_room:
            return "They start when slots become free; wait, or ask for smaller workers."
        return "HTCondor gives slots to jobs in turns, by the owners' priorities."

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SlotMatch:
        """Make it from a gateway's answer; what a newer gateway adds is left out."""
        known = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        return cls(**{**known, "need": Need.from_json(data["need"])})


def judge(need: Need, slots: Iterable[Slot], suitable: Set[str] | None) -> SlotMatch:
    """Count.

    Parameters
    ----------
    need : Need
    slots : iterable of Slot
        All of the pool.
    suitable : set of str or None
        Names of those that satisfy the requirements; None: it could not be judged, all count.
    """
    everything = list(slots)
    fitting = everything if suitable is None else [slot for slot in everything if slot.name in suitable]
    asked = (need.cores, need.memory, need.disk)
    large = [slot for slot in fitting if _covers(slot.whole, asked)]
    return SlotMatch(
        need,
        len(everything),
        None if suitable is None else len(fitting),
        len(large),
        sum(_covers(slot.free, asked) for slot in large),
        most_cores=int(max((slot.whole[0] for slot in fitting), default=0)),
        most_memory=int(max((slot.whole[1] for slot in fitting), default=0)),
    )


def _covers(has: tuple[float, float, float], asked: tuple[int, int, int]) -> bool:
    return all(there >= wanted for there, wanted in zip(has, asked, strict=True))


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
