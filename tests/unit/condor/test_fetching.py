"""Output is fetched however often that fails; nothing is fetched twice, tried for ever, or in others' way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from htcdaskgateway.condor.errors import OutputError
from htcdaskgateway.condor.fetching import Tries, fetch
from htcdaskgateway.condor.schedd import Action
from htcdaskgateway.errors import ScheddSilentError, ScheddUnavailableError


class Queue:
    """Completed jobs; the transfer of a bad one fails, with all that come after it in the same call."""

    name = "ap@"

    def __init__(self, number: int, iwd: str, bad: Sequence[str] = ()) -> None:
        self.ads = {
            f"1.{proc}": {
                "ClusterId": 1, "ProcId": proc, "JobStatus": 4, "EnteredCurrentStatus": 9, "StageInFinish": 1,
                "SUBMIT_Iwd": iwd,
            }
            for proc in range(number)
        }  # fmt: skip
        self.bad = set(bad)
        self.forgets = False
        self.error: Exception | None = None
        self.transfers: list[list[str]] = []
        self.redirected: list[str] = []
        self.removed: list[str] = []
        self.now = 0.0
        self.takes = 0.0

    def clock(self) -> float:
        return self.now

    async def outputs(self, job_ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        return [self.ads[job_id] for job_id in job_ids if job_id in self.ads]

    async def redirect(self, job_ids: Sequence[str], sandbox: str) -> None:
        self.redirected += job_ids
        for job_id in job_ids:
            self.ads[job_id]["SUBMIT_Iwd"] = sandbox

    async def transfer(self, job_ids: Sequence[str], sandbox: str) -> None:
        self.transfers.append(list(job_ids))
        self.now += self.takes
        if self.error:
            raise self.error
        for job_id in job_ids:
            assert self.ads[job_id]["SUBMIT_Iwd"] == sandbox
            if job_id in self.bad:
                raise OutputError(self.name, job_ids, "disk full")
            self.ads[job_id]["StageOutFinish"] = 0 if self.forgets else 10

    async def act(self, action: Action, job_ids: Sequence[str]) -> int:
        assert action is Action.REMOVE
        self.removed += job_ids
        for job_id in job_ids:
            del self.ads[job_id]
        return len(job_ids)


async def run(queue: Queue, tries: Tries, sandbox: Path, seconds: float = 30) -> list[str]:
    return await fetch(queue, tries, list(queue.ads), str(sandbox), seconds, queue.clock)


async def test_each_once(tmp_path: Path) -> None:
    queue, tries = Queue(250, str(tmp_path)), Tries()
    assert len(await run(queue, tries, tmp_path)) == 250
    assert [len(batch) for batch in queue.transfers] == [100, 100, 50]
    assert await run(queue, tries, tmp_path) == []
    assert len(queue.transfers) == 3
    assert queue.redirected == []


async def test_schedd_that_does_not_say_that_it_has_sent_it(tmp_path: Path) -> None:
    queue, tries = Queue(1, str(tmp_path)), Tries(limit=3, pause=60)
    queue.forgets = True
    for _ in range(3):
        assert await run(queue, tries, tmp_path) == ["1.0"]
        assert await run(queue, tries, tmp_path) == []
        assert queue.removed == []
        queue.now += 60
    assert await run(queue, tries, tmp_path) == []
    assert (len(queue.transfers), queue.removed) == (3, ["1.0"])


async def test_one_bad_job_is_not_in_the_way_and_is_given_up(tmp_path: Path) -> None:
    queue, tries = Queue(3, str(tmp_path), bad=["1.1"]), Tries(limit=4, pause=60)
    with pytest.raises(OutputError, match="disk full"):
        await run(queue, tries, tmp_path)
    with pytest.raises(OutputError):
        await run(queue, tries, tmp_path)  # one by one, at once
    assert queue.transfers == [["1.0", "1.1", "1.2"], ["1.1"], ["1.2"]]
    for pause in (60, 120):
        queue.now += pause - 1
        assert await run(queue, tries, tmp_path) == []  # not yet
        queue.now += 1
        with pytest.raises(OutputError):
            await run(queue, tries, tmp_path)
    assert queue.transfers[3:] == [["1.1"], ["1.1"]]
    assert queue.removed == ["1.1"]
    queue.now += 10_000
    assert await run(queue, tries, tmp_path) == []


async def test_failure_that_passes(tmp_path: Path) -> None:
    queue, tries = Queue(2, str(tmp_path), bad=["1.0"]), Tries()
    with pytest.raises(OutputError):
        await run(queue, tries, tmp_path)
    queue.bad = set()
    assert await run(queue, tries, tmp_path) == ["1.0", "1.1"]
    assert queue.removed == []


async def test_overdue_transfer_counts_as_a_try(tmp_path: Path) -> None:
    queue, tries = Queue(1, str(tmp_path)), Tries(limit=2, pause=0)
    queue.error = ScheddSilentError("ap@", "the transfer", 30)
    for _ in range(2):
        with pytest.raises(ScheddSilentError):
            await run(queue, tries, tmp_path)
    assert queue.removed == ["1.0"]


async def test_schedd_that_is_away_counts_as_none(tmp_path: Path) -> None:
    queue, tries = Queue(1, str(tmp_path)), Tries(limit=2, pause=0)
    queue.error = ScheddUnavailableError("ap@", "Failed to connect")
    for _ in range(5):
        with pytest.raises(ScheddUnavailableError):
            await run(queue, tries, tmp_path)
    assert queue.removed == []
    queue.error = None
    assert await run(queue, tries, tmp_path) == ["1.0"]


async def test_time_is_bounded_and_the_rest_comes_next(tmp_path: Path) -> None:
    queue, tries = Queue(300, str(tmp_path)), Tries()
    queue.takes = 20
    assert len(await run(queue, tries, tmp_path, seconds=30)) == 200
    assert len(await run(queue, tries, tmp_path, seconds=30)) == 100


async def test_output_comes_to_the_sandbox_of_this_session(tmp_path: Path) -> None:
    queue = Queue(2, "/somewhere/else")
    queue.ads["1.0"]["SUBMIT_Iwd"] = str(tmp_path)
    assert await run(queue, Tries(), tmp_path) == ["1.0", "1.1"]
    assert queue.redirected == ["1.1"]


async def test_no_directory_is_made(tmp_path: Path) -> None:
    queue = Queue(1, str(tmp_path / "gone"))
    with pytest.raises(OutputError, match=f"No such directory: {tmp_path}/gone"):
        await run(queue, Tries(), tmp_path / "gone")
    assert queue.transfers == []


async def test_nothing_is_asked_for_nothing(tmp_path: Path) -> None:
    queue = Queue(0, "")
    queue.outputs = None  # type: ignore[method-assign,assignment]  # a call of it fails
    assert await run(queue, Tries(), tmp_path) == []


def test_memory_is_bounded() -> None:
    tries = Tries()
    tries.failed([f"1.{proc}" for proc in range(20_000)], 0)
    assert len(tries._tried) == 10_000
    assert "1.19999" in tries._tried
