"""The slots of the real pool, asked by both ways to HTCondor."""

from __future__ import annotations

import pytest
from tests.contract.conftest import REAL, Subject
from tests.support.pool import Pool

from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.need import Need
from htcdaskgateway.condor.slot_query import SlotsUnknownError, ask_slots


@pytest.mark.parametrize("subject", REAL, indirect=True)
async def test_how_many_match(subject: Subject, pool: Pool, as_owner: dict[str, str]) -> None:
    programs = {"condor_status": f"{pool.home}/bin/condor_status"} if subject.kind == "tools" else {}

    def access(at: str = "") -> Access:
        return Access(interface=subject.kind, pool=at, programs=programs, environment=as_owner)

    async def counted(need: Need) -> tuple[int, int | None, int]:
        match = await ask_slots(access(), need)
        assert match.with_room <= match.large_enough
        return match.slots, match.suitable, match.large_enough

    all_of_it = await ask_slots(access(), Need(1, 128))
    total = all_of_it.slots
    assert total >= 1  # static and partitionable ones, without the parts of these
    assert await counted(Need(1, 128)) == (total, total, total)
    assert await counted(Need(all_of_it.most_cores + 1, 128)) == (total, total, 0)
    assert await counted(Need(1, all_of_it.most_memory + 1)) == (total, total, 0)
    assert await counted(Need(1, 128, 10**15)) == (total, total, 0)
    assert await counted(Need(1, 128, 0, 'TARGET.OpSys == "LINUX" && Memory >= RequestMemory')) == (
        total, total, total,
    )  # fmt: skip
    assert await counted(Need(1, 128, 0, 'OpSys == "PLAN9"')) == (total, 0, 0)
    assert await counted(Need(1, 128, 0, "OpSys (")) == (total, None, total)  # it cannot be judged
    assert await counted(Need(1, 128, 0, "MY.Owner == 1")) == (total, None, total)
    with pytest.raises(SlotsUnknownError, match=r"The collector 127\.0\.0\.1:1 cannot be asked for"):
        await ask_slots(access("127.0.0.1:1"), Need(1, 128))
