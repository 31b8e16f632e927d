from __future__ import annotations

from typing import Any

import pytest

from htcdaskgateway.client.report import WorkersReport, check_seconds, worker_count
from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.records import WorkerRecord, WorkerState


def report(*workers: WorkerRecord, problem: str = "") -> WorkersReport:
    return WorkersReport(1, "running", 3, None, False, problem, workers)


def worker(state: str, reason: str = "", since: float = 0) -> WorkerRecord:
    return WorkerRecord("w", WorkerState(state), reason=reason, since=since)


@pytest.mark.parametrize("value", ["3", 2.0, None, True, [], float("nan")])
def test_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        worker_count(value)
    assert str(caught.value) == f"n must be a whole number of workers, not {value!r}."


def test_a_negative_number() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        worker_count(-1)
    assert str(caught.value) == "n must not be negative, got -1."


def test_any_integer_is_taken() -> None:
    class Index:
        def __index__(self) -> int:
            return 7

    assert [worker_count(value) for value in (0, 10, Index())] == [0, 10, 7]


def test_states_in_one_line() -> None:
    assert report().states == "none"
    mixed = [worker(state) for state in ("idle", "running", "finished", "running", "failed", "wanted")]
    assert report(*mixed).states == "2 running, 1 idle, 1 wanted, 1 failed"
    assert report(*mixed).running == 2


def test_why_is_the_problem_else_the_latest_reason() -> None:
    workers = [worker("failed", "first", 1), worker("failed", "second", 2), worker("idle", since=3)]
    assert report().why == ""
    assert report(*workers).why == "second"
    assert report(*workers, problem="Gave up").why == "Gave up"


def test_an_answer_of_a_newer_gateway_is_understood() -> None:
    record: dict[str, Any] = {"name": "w", "state": "idle", "job_id": "1.0", "from_the_future": 1}
    data = {"revision": 4, "status": "running", "count": 1, "maximum": 9, "gave_up": False, "problem": ""}
    parsed = WorkersReport.from_json({**data, "workers": [record], "from_the_future": 1})
    assert parsed.workers == (WorkerRecord("w", WorkerState.IDLE, job_id="1.0"),)
    assert parsed.maximum == 9
    assert not parsed.has_ended


@pytest.mark.parametrize(
    ("adapts", "count", "maximum", "most", "decided"),
    [
        (None, 2, 9, 2, "the cluster is scaled to 2"),
        ([0, 3], 0, 9, 3, "the load decides, between 0 and 3; it asks for 0 now"),
        ([2, None], 2, 9, 9, "the load decides, between 2 and 9; it asks for 2 now"),
        ([None, 30], 1, 9, 9, "the load decides, between 0 and 9; it asks for 1 now"),
        ([None, None], 1, None, None, "the load decides, 0 or more; it asks for 1 now"),
    ],
)
def test_who_decides_how_many_there_are(
    adapts: list[int | None] | None, count: int, maximum: int | None, most: int | None, decided: str
) -> None:
    data = {"revision": 4, "status": "running", "gave_up": False, "problem": "", "workers": []}
    told = WorkersReport.from_json({**data, "count": count, "maximum": maximum, "adapts": adapts})
    assert (told.most, told.decided) == (most, decided)


@pytest.mark.parametrize("timeout", [None, 0, 0.5, 10])
def test_times_to_wait(timeout: float | None) -> None:
    check_seconds(timeout)


@pytest.mark.parametrize("timeout", [-1, -0.1, float("nan"), True, "10"])
def test_no_times_to_wait(timeout: object) -> None:
    with pytest.raises(InvalidRequestError, match="timeout must be a number of seconds, not negative, got"):
        check_seconds(timeout)


@pytest.mark.parametrize(
    ("told", "lacks"),
    [
        ({"submitter": "session", "session": None}, True),
        ({"submitter": "session", "session": {"host": "h"}}, False),
        ({"submitter": "gateway", "session": None}, False),
        ({}, False),  # of an older gateway
    ],
)
def test_whether_a_session_is_missing(told: dict[str, Any], lacks: bool) -> None:
    data = {"revision": 4, "status": "running", "count": 1, "maximum": 9, "gave_up": False, "problem": ""}
    assert WorkersReport.from_json({**data, "workers": [], **told}).lacks_session is lacks
