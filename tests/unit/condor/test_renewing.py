"""A renewed X.509 proxy comes to all jobs that do not have it, and only to those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from htcdaskgateway.condor.errors import NotRenewedError
from htcdaskgateway.condor.renewing import renew, with_x509
from htcdaskgateway.errors import InvalidRequestError


class Queue:
    name = "ap@"

    def __init__(self, in_place: int, spooled: int, takes: float = 0.0) -> None:
        mine = {"ClusterId": 1, "x509UserProxy": "/s/x509.pem"}
        self.ads: list[dict[str, Any]] = [{**mine, "ProcId": proc} for proc in range(in_place)]
        self.ads += [{"ClusterId": 2, "ProcId": proc, "StageInFinish": 9} for proc in range(spooled)]
        self.bad: set[str] = set()
        self.just_started: set[int] = set()
        self.constraints: list[str] = []
        self.handed: list[str] = []
        self.changed: dict[str, str] = {}
        self.now, self.takes = 0.0, takes

    def clock(self) -> float:
        return self.now

    async def select(self, constraint: str) -> Sequence[Mapping[str, Any]]:
        self.constraints.append(constraint)
        if "ShadowBday" in constraint:
            return [ad for ad in self.ads if ad["ProcId"] in self.just_started]
        return self.ads

    async def hand_over(self, job_ids: Sequence[str], path: str) -> Mapping[str, str]:
        assert path == "/s/x509.pem"
        self.now += self.takes * len(job_ids)
        self.handed += job_ids
        return {name: "Failed to send proxy file" for name in job_ids if name in self.bad}

    async def change(self, job_ids: Sequence[str], attribute: str, value: str) -> None:
        assert job_ids
        assert (attribute, value) == ("HTCDaskX509Until", "1800000000")
        self.changed |= dict.fromkeys(job_ids, value)

    async def renew(self, seconds: float = 30) -> int:
        return await renew(self, "c1", "/s/x509.pem", 1.8e9 + 0.9, seconds, self.clock)


async def test_spooled_jobs_are_handed_it_and_the_others_find_it() -> None:
    queue = Queue(in_place=2, spooled=45)
    assert await queue.renew() == 0
    assert queue.handed == [f"2.{proc}" for proc in range(45)]
    assert set(queue.changed) == {"1.0", "1.1", *queue.handed}
    assert queue.constraints[:1] == [
        'HTCDaskCluster =?= "c1" && JobStatus =!= 3 && JobStatus =!= 4 && HTCDaskX509Until != 1800000000'
        ' && (StageInFinish =!= undefined || x509userproxy =?= "/s/x509.pem" || JobStatus =?= 2)'
    ]


async def test_nothing_is_changed_where_nothing_is_left() -> None:
    queue = Queue(0, 0)
    assert await queue.renew() == 0
    assert (queue.handed, queue.changed) == ([], {})


async def test_it_ends_in_time_and_says_how_many_are_left() -> None:
    queue = Queue(in_place=1, spooled=100, takes=1.0)
    assert await queue.renew(seconds=30) == 60
    assert len(queue.handed) == 40
    assert len(queue.changed) == 41


async def test_one_that_has_just_started_is_given_it_again() -> None:
    queue = Queue(in_place=0, spooled=3, takes=0.5)
    queue.just_started = {1}
    assert await queue.renew() == 1
    assert set(queue.changed) == {"2.0", "2.2"}
    assert queue.constraints[1] == (
        "((ClusterId == 2 && ProcId >= 0 && ProcId <= 2)) && ShadowBday >= time() - 3"
    )


async def test_one_that_is_refused_is_not_in_the_way_of_others() -> None:
    queue = Queue(in_place=0, spooled=3)
    queue.bad = {"2.1"}
    with pytest.raises(NotRenewedError) as caught:
        await queue.renew()
    assert (caught.value.job_ids, set(queue.changed)) == (("2.1",), {"2.0", "2.2"})
    assert "Failed to send proxy file" in str(caught.value)


async def test_jobs_with_the_file_of_another_session_are_told_of() -> None:
    """After all others have been renewed: they run on, and what they have ends."""
    queue = Queue(in_place=2, spooled=25, takes=1.0)
    queue.ads[1]["x509UserProxy"] = "/t/x509.pem"
    assert await queue.renew(seconds=10) == 5
    queue.ads = queue.ads[:2]
    with pytest.raises(NotRenewedError) as caught:
        await queue.renew()
    assert caught.value.job_ids == ("1.1",)
    assert "file of a session that submitted before" in str(caught.value)
    assert "1.0" in queue.changed
    assert "1.1" not in queue.changed


@pytest.mark.parametrize("path", ['/a" || true || "', "/a\\b", "/a\nb"])
async def test_a_path_cannot_break_out_of_the_constraint(path: str) -> None:
    queue = Queue(1, 1)
    with pytest.raises(InvalidRequestError):
        await renew(queue, "c1", path, 1.8e9, 30, queue.clock)
    assert queue.constraints == []


def test_the_sites_requirements_hold_too() -> None:
    told = with_x509({"Requirements": "isDaskNode || x", "rank": "1"}, "/s/$x", 1.8e9)
    assert told == {
        "rank": "1",
        "requirements": "(isDaskNode || x) && (time() < HTCDaskX509Until - 60)",
        "x509userproxy": "/s/$(DOLLAR)x",
        "+HTCDaskX509Until": "1800000000",
    }
