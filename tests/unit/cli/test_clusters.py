"""Clusters and workers in a terminal, and what changes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from tests.unit.client.conftest import Answers, answers

from htcdaskgateway.cli import change
from htcdaskgateway.cli.gateway import pick
from htcdaskgateway.cli.group import COMMANDS, htcdask
from htcdaskgateway.cli.views_show import ViewsShow
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.views.model import ClusterView, look
from htcdaskgateway.condor.need import Need
from htcdaskgateway.condor.slots import SlotMatch
from htcdaskgateway.errors import HTCDaskError, InvalidRequestError, LimitError
from htcdaskgateway.records import WorkerRecord, WorkerState

__all__ = ["answers"]

NAME = "0123456789abcdef" * 2
NOW = 1_000_000.0
HELD = WorkerRecord("w1", WorkerState.FAILED, "12.0", "ap", reason="held: [1/0] by me\x1b[2J", since=NOW - 5)
IDLE = WorkerRecord("w2", WorkerState.IDLE, "12.1", "access-point@", since=NOW - 65)
RUNS = WorkerRecord(
    "w3" * 16, WorkerState.RUNNING, "12.2", "ap", "slot1_1@execute-point@a.long.name.of.a.host"
)
GONE = WorkerRecord("w4", WorkerState.FINISHED, "12.3")


def cluster(name: str, **more: Any) -> dict[str, Any]:
    times = {"start_time": 1000, "stop_time": None}
    return {"name": name, "status": "RUNNING", "options": {}, "dashboard_route": None, **times, **more}


def serve(answers: Answers, *names: str) -> None:
    answers.more["/api/v1/clusters/"] = (200, {name: cluster(name) for name in names})
    match = SlotMatch(Need(1, 1024), 8, 8, 8, 0, 4, 4096)
    for name in names:
        at = f"/api/v1/clusters/{name}"
        records = [one.to_json() for one in (HELD, IDLE, RUNS, GONE)]
        told = {"revision": 1, "status": "running", "count": 3, "maximum": 9, "gave_up": False, "problem": ""}
        answers.more[at] = (200, cluster(name, tls_cert=None, tls_key=None))
        answers.more[f"{at}/workers"] = (200, {**told, "workers": records, "cores": 1, "memory": 2**30})
        answers.more[f"{at}/match"] = (
            200,
            {"need": vars(match.need), "match": match.to_json(), "problem": ""},
        )


def run(answers: Answers, *arguments: str) -> Any:
    return CliRunner().invoke(htcdask, [*arguments, "--address", answers.url])


def test_clusters(answers: Answers) -> None:
    serve(answers)
    assert run(answers, "clusters").output == "You have no cluster.\n"
    serve(answers, NAME, "b" * 32)
    ran = run(answers, "clusters")
    assert ran.exit_code == 0, ran.output
    assert NAME in ran.output
    assert "1 of 3: 1 running, 1 idle, 1 held" in ran.output
    told = json.loads(run(answers, "clusters", "--json").output)
    assert [(one["name"], one["running"], one["wanted"]) for one in told] == [(NAME, 1, 3), ("b" * 32, 1, 3)]


def test_workers_with_the_reasons_of_those_that_do_not_come(answers: Answers) -> None:
    serve(answers, NAME)
    ran = run(answers, "workers")
    assert ran.exit_code == 0, ran.output
    for words in (
        f"Cluster {NAME}: running", "1 of 3 workers (1 core, 1.0 GiB)", "12.1", "1 held",
        "[1/0] by me", "Somebody held the job", "8 match: none with room now. A worker needs 1 core,",
    ):  # fmt: skip
        assert words in ran.output
    assert "w4" not in ran.output
    assert "w4" in run(answers, "workers", "--all").output
    told = json.loads(run(answers, "workers", NAME[:4], "--json").output)
    assert [one["name"] for one in told["workers"]] == ["w1", "w2", RUNS.name]
    assert [one["kind"] for one in told["reasons"]] == ["idle", "held"]


@pytest.mark.parametrize("arguments", [["workers", "zz"], ["scale", "zz", "1"], ["shutdown", "zz"]])
def test_a_cluster_that_is_none(answers: Answers, arguments: list[str]) -> None:
    serve(answers, NAME)
    ran = run(answers, *arguments)
    assert ran.exit_code == 1
    assert "Error: None of your clusters begins with 'zz'." in ran.output
    assert NAME in ran.output


@pytest.mark.parametrize(
    ("names", "meant", "found"),
    [
        (["ab", "ac"], "ab", "ab"),
        (["ab", "abc"], "ab", "ab"),
        (["ab", "ac"], "a", "Several of your clusters begin with 'a'."),
        (["ab"], "", "None of your clusters begins with ''."),
        (["ab"], None, "ab"),
        (["ab", "ac"], None, "You have 2 clusters: say which."),
        ([], None, "You have no cluster."),
    ],
)
def test_which_cluster_is_meant(names: list[str], meant: str | None, found: str) -> None:
    if found in names:
        assert pick(names, meant) == found
        return
    with pytest.raises(InvalidRequestError) as caught:
        pick(names, meant)
    assert caught.value.sentence == found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scale", "c", "many"], "'many' is not a valid integer range"),
        (["scale", "c"], "Missing argument 'N'"),
        (["shutdown"], "Name the clusters, or give --all."),
        (["shutdown", "c", "--all"], "Name the clusters, or give --all."),
    ],
)
def test_wrong_usage(answers: Answers, arguments: list[str], words: str) -> None:
    ran = run(answers, *arguments)
    assert ran.exit_code == 2
    assert words in ran.output


def test_a_gateway_with_an_error_inside(answers: Answers) -> None:
    answers.more["/api/v1/clusters/"] = (500, {"error": "oops"})
    ran = run(answers, "clusters")
    assert ran.exit_code == 1
    assert "Error: The gateway could not do this." in ran.output


def test_tables_at_80_columns() -> None:
    report = WorkersReport(
        1, "running", 3, 9, False, "", (HELD, IDLE, RUNS), 1, 2**30, "registry/" + "i" * 80
    )
    console = Console(width=80, record=True, force_terminal=False, highlight=False)
    show = ViewsShow(console)
    view = look(NAME, report, NOW)
    show.clusters([view])
    show.workers(view, report.workers)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "1 idle, for 1 min 5 s: " in text
    assert "held" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_screen(name: str) -> None:
    ran = CliRunner().invoke(htcdask, [name, "--help"], terminal_width=80)
    lines = ran.output.splitlines()
    assert ran.exit_code == 0
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def changed(monkeypatch: pytest.MonkeyPatch, error: HTCDaskError | None = None) -> None:
    """Clusters change without a gateway."""

    async def scale(address: str | None, cluster: str, n: int, wait: float | None) -> ClusterView:
        if error:
            raise error
        return look(NAME, WorkersReport(1, "running", n, 9, False, "", (RUNS,)), NOW)

    async def stop(address: str | None, meant: tuple[str, ...], every: bool) -> list[str]:
        return [NAME] if every else list(meant)

    monkeypatch.setattr(change, "scale_cluster", scale)
    monkeypatch.setattr(change, "stop_clusters", stop)


def test_changes_for_people_and_programs(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch)
    assert run(answers, "scale", "01", "2").output == f"Cluster {NAME} is scaled to 2 workers: 1 running.\n"
    told = json.loads(run(answers, "scale", "01", "1", "--json").output)
    assert (told["name"], told["wanted"], told["running"]) == (NAME, 1, 1)
    listed = look(NAME, WorkersReport(1, "running", 1, 9, False, "", (RUNS,)), NOW).to_json()
    assert set(told) == set(listed)  # as `clusters --json` has it
    assert run(answers, "shutdown", "--all").output == f"Cluster {NAME} is shut down.\n"
    assert json.loads(run(answers, "shutdown", "--all", "--json").output) == {"shut_down": [NAME]}


def test_what_to_do_is_said_for_a_shell(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, LimitError(10000, 200))
    ran = run(answers, "scale", "01", "10000", "--json")
    assert ran.exit_code == 1
    assert ran.output.endswith("\nAsk for at most 200: `htcdask scale 01 200`.\n")
    serve(answers, NAME)
    failed = WorkerRecord("w5" * 16, WorkerState.FAILED, "12.4", "ap", reason="it ended", since=NOW)
    answers.more[f"/api/v1/clusters/{NAME}/workers"][1]["workers"] = [failed.to_json()]
    assert f"`htcdask logs {NAME[:8]} w5w5w5w5` shows what it wrote." in run(answers, "workers").output
