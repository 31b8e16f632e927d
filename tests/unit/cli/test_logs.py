from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from tests.unit.client.conftest import Answers, answers

from htcdaskgateway import WorkerRecord, WorkerState
from htcdaskgateway.cli import logs as command
from htcdaskgateway.cli.group import htcdask
from htcdaskgateway.client.logs import Logs, WorkerLog
from htcdaskgateway.errors import InvalidRequestError

__all__ = ["answers"]

HELD = WorkerRecord("w1", WorkerState.FAILED, "12.0", "ap", reason="HTCondor held the job: disk full")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the gateway was asked; it knows one worker of cluster c1."""
    calls: list[tuple[object, ...]] = []

    async def ask(cluster: str, *more: object) -> Logs:
        calls.append((cluster, *more))
        if cluster != "c1":
            raise InvalidRequestError(f"Cluster {cluster!r} not found")
        return Logs("c1", [WorkerLog("w1", HELD, {"err": "grüße\n"})], ["A note."])

    monkeypatch.setattr(command, "ask", ask)
    return calls


def test_for_people(asked: list[tuple[object, ...]]) -> None:
    answer = CliRunner().invoke(htcdask, ["logs", "c1", "w1", "--tail", "5", "--address", "http://here"])
    assert answer.exit_code == 0
    assert answer.output == (
        "A note.\n== w1 failed, job 12.0 of ap\n   HTCondor held the job: disk full\n"
        "-- standard error\ngrüße\n"
    )
    assert asked == [("c1", "w1", 5, "http://here")]


def test_nothing_of_a_log_acts_on_the_terminal() -> None:
    assert command.readable("a\tb\r\n1 %\r2 %\n\x1b[31mred\x9b2J\u202e\u2028grüße\0") == (
        "a\tb\n1 %\n2 %\n\ufffd[31mred\ufffd2J\ufffd\ufffdgrüße\ufffd"
    )


def test_hold_reasons_and_logs_are_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(*_: object) -> Logs:
        return Logs("c1", [WorkerLog("w1", replace(HELD, reason="\x1b]0;x\a"), {"err": "\x1b[2J\n"})], [])

    monkeypatch.setattr(command, "ask", ask)
    assert "\x1b" not in CliRunner().invoke(htcdask, ["logs", "c1"], color=True).output
    told = json.loads(CliRunner().invoke(htcdask, ["logs", "c1", "--json"]).output)
    assert told["workers"][0]["streams"]["err"] == "\x1b[2J\n"


def test_for_programs(asked: list[tuple[object, ...]]) -> None:
    answer = CliRunner().invoke(htcdask, ["logs", "c1", "--json"])
    assert asked == [("c1", None, None, None)]
    told = json.loads(answer.output)
    assert (told["cluster"], told["notes"]) == ("c1", ["A note."])
    (worker,) = told["workers"]
    assert worker["streams"] == {"err": "grüße\n"}
    assert (worker["state"], worker["dask_name"]) == ("failed", "htcdask-worker_12_0")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["other"], 1, "Error: Cluster 'other' not found"),
        (["c1", "--tail", "0"], 2, "0 is not in the range x>=1"),
        ([], 2, "Missing argument 'CLUSTER'"),
    ],
)
def test_refused(asked: list[tuple[object, ...]], arguments: list[str], code: int, words: str) -> None:
    answer = CliRunner().invoke(htcdask, ["logs", *arguments])
    assert answer.exit_code == code
    assert words in answer.output


def test_no_gateway_answers() -> None:
    answer = CliRunner().invoke(htcdask, ["logs", "c1", "--address", "http://127.0.0.1:9"])
    assert answer.exit_code == 1
    assert "No gateway answers at http://127.0.0.1:9." in answer.output


@pytest.mark.parametrize(("meant", "asked_for"), [("ab", "abcdef"), ("ended", "ended")])
def test_the_beginning_of_a_name_is_enough_while_it_runs(
    answers: Answers, monkeypatch: pytest.MonkeyPatch, meant: str, asked_for: str
) -> None:
    names = list[str]()

    async def collect(gateway: object, cluster: str, *more: object) -> Logs:
        names.append(cluster)
        return Logs(cluster, [])

    monkeypatch.setattr(command, "collect", collect)
    one: dict[str, object] = {"name": "abcdef", "status": "RUNNING", "options": {}, "dashboard_route": None}
    answers.more["/api/v1/clusters/"] = (200, {"abcdef": {**one, "start_time": 0, "stop_time": None}})
    answer = CliRunner().invoke(htcdask, ["logs", meant, "--address", answers.url])
    assert answer.exit_code == 0, answer.output
    assert names == [asked_for]
