"""However many look, the collector is asked once in a while."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.errors import CollectorUnavailableError
from htcdaskgateway.condor.need import Need
from htcdaskgateway.condor.schedd import SubmitDescription
from htcdaskgateway.condor.slots import SlotMatch, judge
from htcdaskgateway.server import slot_routes
from htcdaskgateway.server.slot_routes import SlotMatches

Asked = list[tuple[str, Need]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What a collector was asked, and as whom; a need of 7 cores finds it away."""
    calls: Asked = []

    async def ask_slots(access: Access, need: Need) -> SlotMatch:
        calls.append((access.token, need))
        await asyncio.sleep(0)
        if need.cores == 7:
            raise CollectorUnavailableError("pool", "it is away")
        return judge(need, [], None)

    def jobs(site: object, gateway: str, cluster: str, user: str, config: int, names: list[str]) -> Any:
        return SubmitDescription({"request_cpus": str(config), "request_memory": "1"}, tuple(names))

    monkeypatch.setattr(slot_routes, "ask_slots", ask_slots)
    monkeypatch.setattr(slot_routes, "jobs", jobs)
    return calls


def site(submitter: str = "gateway", interface: str = "tools", tokens: str = "") -> Any:
    access = SimpleNamespace(
        interface=interface, token_directory=tokens, access=lambda user: Access("tools", token=user)
    )
    return SimpleNamespace(submitter=submitter, condor_access=access)


async def test_one_query_for_all_who_need_the_same(asked: Asked) -> None:
    matches = SlotMatches(site())
    told = await asyncio.gather(*(matches.of("user", f"c{n}", 1 + n % 2) for n in range(20)))
    assert [need.cores for _, need in asked] == [1, 2]
    assert told[0]["need"] == vars(Need(1, 1))
    assert SlotMatch.from_json(told[0]["match"]).sentence == "The pool shows no slot at all."


async def test_it_is_asked_again_after_a_while(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    matches = SlotMatches(site())
    await matches.of("user", "c", 1)
    monkeypatch.setattr(slot_routes, "FRESH", 0.0)
    await matches.of("user", "c", 1)
    assert len(asked) == 2


async def test_where_each_user_has_a_token_each_asks_with_it(asked: Asked) -> None:
    matches = SlotMatches(site(tokens="/tokens"))
    for user in ("a", "b", "a"):
        await matches.of(user, "c", 1)
    assert [token for token, _ in asked] == ["a", "b"]


@pytest.mark.parametrize("one", [site("session"), site(interface="processes")])
async def test_where_it_is_not_the_gateway_s_to_ask(asked: Asked, one: Any) -> None:
    assert await SlotMatches(one).of("user", "c", 1) == {
        "need": vars(Need(1, 1)), "match": None, "problem": "",
    }  # fmt: skip
    assert not asked


async def test_a_collector_that_is_away_is_no_error_of_the_gateway(asked: Asked) -> None:
    told = await SlotMatches(site()).of("user", "c", 7)
    assert told["match"] is None
    assert "it is away" in told["problem"]
    assert "\n" not in told["problem"]
