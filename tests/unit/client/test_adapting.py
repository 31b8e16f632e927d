from __future__ import annotations

import asyncio

import pytest

from htcdaskgateway.client.adapting import Adapting


async def test_it_happens_though_nobody_awaits_it() -> None:
    done = asyncio.Event()

    async def request() -> None:
        done.set()

    adapting = Adapting(request(), 1, None)
    assert (adapting.minimum, adapting.maximum) == (1, None)
    await asyncio.wait_for(done.wait(), 5)
    await adapting


async def test_who_awaits_it_learns_what_went_wrong() -> None:
    async def request() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Adapting(request(), 0, 2)
