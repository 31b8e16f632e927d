"""How many slots match: counted, and said."""

from __future__ import annotations

from typing import Any

import pytest

from htcdaskgateway.condor.need import Need
from htcdaskgateway.condor.slots import Slot, SlotMatch, judge


def partitionable(name: str, total: int, free: int, state: str = "Unclaimed") -> dict[str, Any]:
    has = {"Cpus": free, "Memory": 1024 * free, "Disk": 10_000}
    whole = {"TotalSlotCpus": total, "TotalSlotMemory": 1024 * total, "TotalSlotDisk": 10_000.0}
    return {"Name": name, "State": state, "SlotType": "Partitionable", **has, **whole}


def static(name: str, cores: int, state: str) -> dict[str, Any]:
    has = {"Cpus": cores, "Memory": 1024 * cores, "Disk": 10_000}
    machine = {"TotalSlotCpus": 64, "TotalSlotMemory": 65536}
    return {"Name": name, "State": state, "SlotType": "Static", **has, **machine}


ADS = [
    partitionable("p1", 8, 2),
    partitionable("p2", 4, 4),
    partitionable("drained", 4, 4, "Drained"),
    static("s1", 1, "Unclaimed"),
    static("s2", 1, "Claimed"),
    {"Name": "odd", "Cpus": "many"},
]


@pytest.mark.parametrize(
    ("need", "suitable", "counted", "sentence"),
    [
        (Need(1, 1024), None, (6, None, 5, 3), "the requirements could not be judged: 3 with room now."),
        (Need(1, 1024), {"p1", "p2", "s2"}, (6, 3, 3, 2), "Of 6 slots, 3 match: 2 with room now."),
        (Need(4, 1024), {"p1", "p2"}, (6, 2, 2, 1), "Of 6 slots, 2 match: 1 with room now."),
        (Need(8, 1024), {"p1", "p2"}, (6, 2, 1, 0), "Of 6 slots, 1 match: none with room now."),
        (Need(16, 1024), {"p1", "p2"}, (6, 2, 0, 0), "the most that one has is 8 cores and 8.0 GiB."),
        (Need(1, 9000), {"p1"}, (6, 1, 0, 0), "8.0 GiB."),
        (Need(1, 1, 20_000), {"p1"}, (6, 1, 0, 0), "No slot of 1"),
        (Need(1, 1024), set(), (6, 0, 0, 0), "None of the pool's slots (6) satisfies the requirements."),
    ],
)  # fmt: skip
def test_what_matches(
    need: Need, suitable: set[str] | None, counted: tuple[int, int | None, int, int], sentence: str
) -> None:
    match = judge(need, [Slot.of_ad(ad) for ad in ADS], suitable)
    assert (match.slots, match.suitable, match.large_enough, match.with_room) == counted
    assert match.sentence.endswith(sentence) or match.sentence.startswith(sentence)
    assert match.can_match == bool(match.large_enough)
    assert match.remedy
    assert SlotMatch.from_json({**match.to_json(), "from_the_future": 1}) == match


def test_an_empty_pool() -> None:
    assert judge(Need(1, 1), [], None).sentence == "The pool shows no slot at all."


@pytest.mark.parametrize(
    ("requirements", "constraint"),
    [
        ("", ""),
        ("isDaskNode == true", "isDaskNode == true"),
        ('TARGET.OpSys == "LINUX"', 'OpSys == "LINUX"'),
        ("target . Memory > RequestMemory && Cpus >= MY.RequestCpus", "Memory > 2048 && Cpus >= 2"),
        ('regexp("TARGET.x RequestCpus", Machine)', 'regexp("TARGET.x RequestCpus", Machine)'),
        (r'Machine == "a\"TARGET.b"', r'Machine == "a\"TARGET.b"'),
        ("MY.Owner == 3", ""),  # of the job, and not known here
        ("$(x) == 3", ""),  # of the submit description
    ],
)
def test_requirements_as_a_query_of_slots(requirements: str, constraint: str) -> None:
    assert Need(2, 2048, 0, requirements).constraint == constraint


def test_a_need_is_read_from_submit_commands() -> None:
    commands = {"request_cpus": "2", "request_memory": "2048", "Requirements": "a == 1", "rank": "b"}
    need = Need.of_commands(commands)
    assert need == Need(2, 2048, 0, "a == 1")
    assert str(need) == "2 cores, 2.0 GiB, requirements = a == 1"
    assert str(Need(1, 512, 1048576)) == "1 core, 0.5 GiB, 1.0 GiB of disk"
