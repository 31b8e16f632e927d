"""Why jobs have left the queue: the sentences as a table, and where they are from."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from dask_gateway_server.backends.db_base import Cluster
from tests.doubles import FakeSchedd

from htcdaskgateway.condor.schedd import EndedJob, JobStatus, ObservedJob
from htcdaskgateway.server import endings
from htcdaskgateway.server.endings import Ending, find_endings, waited_too_long, why_it_ended

LOG = logging.getLogger("test")


def worker(job_id: str, job_status: JobStatus = JobStatus.RUNNING) -> Any:
    state = {"job_id": job_id, "job_status": int(job_status)}
    return SimpleNamespace(name=f"w{job_id}", cluster=None, state=state)


class Words:
    """Notes for which workers it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, cluster: Cluster, name: str) -> str:
        self.asked.append(name)
        return f"of {name}"


@pytest.mark.parametrize(
    ("code", "signal", "removed", "words", "sentence"),
    [
        (1, None, "", "no dask", "its job ended with exit code 1; last words: no dask"),
        (0, None, "", "", "its job ended with exit code 0"),
        (None, 9, "", "", "its job was ended by signal 9"),
        (None, None, "via condor_rm", "", "its job was removed: via condor_rm"),
        (None, None, "", "", "its job has left the queue; the history does not say why"),
        (
            68,
            None,
            "",
            "start_worker.sh on node: the image 'x' is not there.",
            "on node: the image 'x' is not there",
        ),
        (68, None, "", "of the user's", "its job ended with exit code 68; last words: of the user's"),
        (
            70,
            None,
            "",
            "start_worker.sh on n: x.",
            "its job ended with exit code 70; last words: start_worker.sh on n: x.",
        ),
        (255, None, "", "FATAL: no", "its job ended with exit code 255; last words: FATAL: no"),
    ],
)
def test_why_it_ended(code: int | None, signal: int | None, removed: str, words: str, sentence: str) -> None:
    assert why_it_ended(EndedJob("7.0", JobStatus.COMPLETED, code, signal, removed), words) == sentence


def test_nothing_is_known_of_it() -> None:
    assert why_it_ended(None, "") == "its job has left the queue; the history does not say why"


OURS = "The job attribute PeriodicRemove expression '(JobStatus =?= 1 && ...)' evaluated to TRUE"


@pytest.mark.parametrize(
    ("last_seen", "status", "reason", "so"),
    [
        (JobStatus.IDLE, JobStatus.REMOVED, OURS, True),
        (JobStatus.HELD, JobStatus.REMOVED, OURS, False),
        (JobStatus.RUNNING, JobStatus.REMOVED, OURS, False),
        (JobStatus.IDLE, JobStatus.REMOVED, "via condor_rm (by user alice)", False),
        (JobStatus.IDLE, JobStatus.REMOVED, "The system macro SYSTEM_PERIODIC_REMOVE expression", False),
        (JobStatus.IDLE, JobStatus.COMPLETED, "", False),
    ],
)
def test_what_waited_too_long(last_seen: JobStatus, status: JobStatus, reason: str, so: bool) -> None:
    assert waited_too_long(int(last_seen), EndedJob("7.0", status, removed_because=reason)) is so
    assert not waited_too_long(int(last_seen), None)


async def test_one_search_of_the_history_for_all_that_the_queue_does_not_show() -> None:
    schedd, words = FakeSchedd(), Words()
    schedd.history = {
        "7.1": EndedJob("7.1", JobStatus.COMPLETED, 1),
        "7.2": EndedJob("7.2", JobStatus.REMOVED, removed_because=OURS),
    }
    shown = ObservedJob("7.0", "cluster", "w7.0", JobStatus.COMPLETED, exit_code=3)
    gone: list[Any] = [
        (worker("7.0"), shown),
        (worker("7.1"), None),
        (worker("7.2", JobStatus.IDLE), None),
        (worker("7.3"), None),
    ]
    assert await find_endings(gone, schedd, words, LOG) == {
        "w7.0": Ending("its job ended with exit code 3; last words: of w7.0"),
        "w7.1": Ending("its job ended with exit code 1; last words: of w7.1"),
        "w7.2": Ending(f"its job was removed: {OURS}; last words: of w7.2", waited_too_long=True),
        "w7.3": Ending("its job has left the queue; the history does not say why; last words: of w7.3"),
    }
    assert schedd.searches == 1
    assert await find_endings(gone[:1], schedd, words, LOG)
    assert await find_endings([], schedd, words, LOG) == {}
    assert schedd.searches == 1


async def test_a_history_that_cannot_be_read_leaves_the_reason_open(caplog: pytest.LogCaptureFixture) -> None:
    schedd = FakeSchedd()
    schedd.unavailable = "no route to host"
    with caplog.at_level(logging.INFO):
        found = await find_endings([(worker("7.1"), None)], schedd, Words(), LOG)
    assert found["w7.1"].reason.startswith("its job has left the queue; the history does not say why")
    assert "No history of jobs 7.1" in caplog.text


async def test_not_more_logs_are_read_than_a_look_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "MOST_WORDS", 2)
    words = Words()
    gone = [(worker(f"7.{number}"), None) for number in range(4)]
    found = await find_endings(gone, FakeSchedd(), words, LOG)
    assert words.asked == ["w7.0", "w7.1"]
    assert ["last words" in ending.reason for ending in found.values()] == [True, True, False, False]
