"""Each part is judged by what was seen of it, and one that hangs or fails is one line."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from click.testing import CliRunner
from rich.console import Console
from tests.unit.client.conftest import Answers, MakeImage, answers, client, make_image

from htcdaskgateway.cli import check_local
from htcdaskgateway.cli.check_probes import PARTS, bounded
from htcdaskgateway.cli.check_show import CheckShow
from htcdaskgateway.cli.check_verdicts import (
    Finding,
    Level,
    as_information,
    is_well,
    of_apptainer,
    of_credential,
    of_gateway,
    of_image,
    of_image_root,
    of_sandbox,
    of_silence,
    of_slots,
)
from htcdaskgateway.cli.group import htcdask
from htcdaskgateway.client.images import Choice
from htcdaskgateway.client.slot_match import Found
from htcdaskgateway.condor.need import Need
from htcdaskgateway.condor.slots import SlotMatch
from htcdaskgateway.credentials.errors import CredentialMissingError
from htcdaskgateway.credentials.policy import Rule, Use
from htcdaskgateway.credentials.tokens import BearerToken
from htcdaskgateway.credentials.words import TOKEN
from htcdaskgateway.errors import LimitError
from htcdaskgateway.images.contents import ImageContents
from htcdaskgateway.images.reference import ImageReference
from htcdaskgateway.versions import versions_here

__all__ = ["answers", "client", "make_image"]

OK, WARNING, FAILURE, UNUSED = Level.OK, Level.WARNING, Level.FAILURE, Level.UNUSED
NOW = 1_000_000.0
MISSING = CredentialMissingError(TOKEN, ("/tmp/bt_u1",), "", "htgettoken")
NAMED = CredentialMissingError(TOKEN, ("/x",), "BEARER_TOKEN_FILE", "htgettoken")


def token(seconds: float) -> BearerToken:
    return BearerToken("/t", "me", "https://issuer", (), NOW - 10, NOW + seconds, "ab")


def slots(large_enough: int, with_room: int) -> Found:
    return Found(Need(1, 1), SlotMatch(Need(1, 1), 8, 8, large_enough, with_room, 4, 4096))


@pytest.mark.parametrize(
    ("finding", "level", "words"),
    [
        (of_gateway("http://g", {"version": "1"}, "pass"), OK, "dask-gateway 1 answers at http://g"),
        (of_gateway("http://g", {}, "warn"), WARNING, "of an unknown version answers at http://g, and says"),
        (of_slots(slots(8, 3)), OK, "Of 8 slots, 8 match: 3 with room now"),
        (of_slots(slots(8, 0)), WARNING, "none with room now"),
        (of_slots(slots(0, 0)), FAILURE, "No slot of 8 is large enough"),
        (of_slots(Found(problem="it is away")), WARNING, "not known whether a job would match: it is away"),
        (of_slots(Found(Need(1, 1))), UNUSED, "without HTCondor"),
        (of_credential(TOKEN, Rule(Use.NEVER), None, NOW), UNUSED, "get none"),
        (of_credential(TOKEN, Rule(Use.IF_PRESENT), MISSING, NOW), UNUSED, "requires none"),
        (of_credential(TOKEN, Rule(Use.IF_PRESENT), NAMED, NOW), WARNING, "There is no bearer token at"),
        (of_credential(TOKEN, Rule(Use.REQUIRED), MISSING, NOW), FAILURE, "There is no bearer token at"),
        (of_credential(TOKEN, Rule(Use.REQUIRED), token(7300), NOW), OK, "valid for 2 h 1 min"),
        (of_credential(TOKEN, Rule(Use.REQUIRED), token(600), NOW), WARNING, "valid for 10 min"),
        (of_credential(TOKEN, Rule(Use.REQUIRED), token(-5), NOW), FAILURE, "expired"),
        (of_credential(TOKEN, Rule(Use.IF_PRESENT), token(-5), NOW), WARNING, "expired"),
        (of_credential(TOKEN, Rule(Use.REQUIRED, 9000), token(7300), NOW), FAILURE, "bearer token"),
        (of_image_root("/cvmfs/x", 3), OK, "images below /cvmfs/x"),
        (of_image_root("/cvmfs/x", 0), FAILURE, "/cvmfs/x is empty."),
        (of_apptainer("apptainer", "apptainer version 1.4"), OK, "apptainer version 1.4"),
        (of_apptainer("apptainer", ""), WARNING, "no program 'apptainer'"),
        (of_sandbox("/home/CLUSTER", "/home", True, 2**40), OK, "/home/CLUSTER"),
        (of_sandbox("/home/CLUSTER", "/home", False, 2**40), FAILURE, "No directory can be made in /home."),
        (of_sandbox("/home/CLUSTER", "/home", True, 2**20), WARNING, "/home has 1 MiB left."),
    ],
)
def test_verdicts(finding: Finding, level: Level, words: str) -> None:
    assert finding.level is level
    assert words in finding.text
    assert bool(finding.remedy) or level in (OK, UNUSED) or finding.part in ("gateway", "slots")
    assert is_well([finding]) == (level is not FAILURE)
    assert json.loads(json.dumps(finding.to_json()))["level"] == str(level)


@pytest.mark.parametrize(
    "why", ["there is no dask in its PATH", "/opt/x, which its dask names, is not there"]
)
def test_an_image_that_cannot_start_workers(why: str) -> None:
    reference = ImageReference("registry.example.org", "lab/a", "1")
    contents = ImageContents("/image", "3", "/python", versions_here(), (why, "more"), runs_dask=False)
    finding = of_image(Choice(reference, "error", contents=contents))
    assert finding.level is FAILURE
    assert finding.text == f"{reference} cannot start workers: {why}."
    assert "--fits" in finding.remedy


async def hangs() -> Finding:
    await asyncio.sleep(60)
    raise AssertionError


async def fails() -> Finding:
    raise LimitError(5, 3)


async def breaks() -> Finding:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        (hangs, "no answer within 0.1 s"),
        (fails, "5 workers are more than the site allows in one cluster: 3."),
        (breaks, "OSError: [Errno 5] Input/output error"),
    ],
)
async def test_a_part_that_hangs_or_fails_is_a_failure_of_its_own(probe: Any, words: str) -> None:
    finding = await bounded("here", probe, 0.1)
    assert (finding.part, finding.level, finding.text) == ("here", FAILURE, words)


def ready(answers: Answers, runtime: str = "apptainer") -> None:
    answers.more["/api/health"] = (200, {"status": "pass"})
    answers.more["/api/version"] = (200, {"version": "2026.3.0"})
    answers.more["/api/v1/clusters/"] = (200, {})
    match = {"match": slots(8, 3).match, "problem": ""}
    told = {"need": vars(Need(1, 1)), "problem": "", "match": match["match"].to_json()}  # type: ignore[union-attr]  # there
    answers.more["/api/v1/match"] = (200, told)
    assert answers.site is not None
    answers.site["runtime"] = runtime


def checked(answers: Answers, *more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    ran = CliRunner().invoke(htcdask, ["check", "--json", "--address", answers.url, *more])
    told = json.loads(ran.stdout)
    assert told["well"] == (ran.exit_code == 0)
    return ran.exit_code, {one["part"]: one for one in told["checks"]}


def test_a_site_where_all_is_well(answers: Answers, make_image: MakeImage) -> None:
    make_image("site/default:1")
    ready(answers)
    code, told = checked(answers)
    assert code == 0
    assert tuple(told) == PARTS
    levels = {part: one["level"] for part, one in told.items() if part != "Apptainer"}
    assert {part for part, level in levels.items() if level == "ok"} == {
        "gateway", "authentication", "slots", "CVMFS", "image",
    }  # fmt: skip
    assert set(levels.values()) == {"ok", "unused"}


def test_an_image_that_does_not_fit_and_one_that_is_not_there(
    answers: Answers, make_image: MakeImage
) -> None:
    ready(answers)
    code, told = checked(answers)
    assert code == 1
    assert told["image"]["level"] == told["CVMFS"]["level"] == "failure"
    make_image("site/default:1", dask="1.0")
    code, told = checked(answers)
    assert code == 1
    assert told["image"]["text"].endswith("does not fit this environment.")
    assert told["image"]["facts"]["dask"].endswith(" here, 1.0 in the image")


def test_one_part_that_hangs_does_not_hang_the_others(
    answers: Answers, make_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image("site/default:1")
    ready(answers)

    def hang(directory: object) -> int:
        time.sleep(20)  # as CVMFS can
        return 0

    monkeypatch.setattr(check_local, "count_entries", hang)
    start = time.monotonic()
    code, told = checked(answers, "--seconds", "3")
    assert time.monotonic() - start < 10
    assert code == 1
    assert [part for part, one in told.items() if one["level"] == "failure"] == ["CVMFS"]
    assert told["CVMFS"]["text"] == "no answer within 3 s"


def test_without_images(answers: Answers) -> None:
    ready(answers, runtime="none")
    code, told = checked(answers)
    assert code == 0
    assert [told[part]["level"] for part in ("CVMFS", "Apptainer", "image")] == ["unused"] * 3
    assert answers.site is not None
    answers.site["credentials"] = {"x509": {"use": "required"}}  # of jobs that this machine does not submit
    assert checked(answers)[1]["X.509 proxy"]["level"] == "unused"


def test_where_sessions_submit_this_machine_needs_htcondor(
    answers: Answers, make_image: MakeImage, tmp_path: Any
) -> None:
    make_image("site/default:1")
    ready(answers)
    assert answers.site is not None
    answers.site["submitter"] = "session"
    settings = {
        "htcdaskgateway.condor": {"interface": "tools", "tools": {"condor_q": "/no/such/condor_q"}},
        "htcdaskgateway.sandbox": f"{tmp_path}/none/{{cluster}}",
    }
    with dask.config.set(settings):
        code, told = checked(answers)
    assert code == 1
    assert told["HTCondor"]["level"] == "failure"
    assert told["sandbox"]["level"] == "ok"
    assert told["sandbox"]["text"] == f"{tmp_path}/none/CLUSTER"


def test_a_gateway_that_does_not_answer_or_does_not_know_you(answers: Answers) -> None:
    ran = CliRunner().invoke(htcdask, ["check", "--address", "http://127.0.0.1:9"])
    assert ran.exit_code == 1
    assert "No gateway answers at http://127.0.0.1:9." in ran.output
    ready(answers)
    answers.more["/api/v1/clusters/"] = (401, {"error": "who are you"})
    code, told = checked(answers)
    assert code == 1
    assert told["authentication"]["text"].endswith("did not accept your credentials.")
    assert tuple(told) == PARTS
    assert {told[part]["level"] for part in ("HTCondor", "slots", "image", "sandbox")} == {"unused"}


def test_a_gateway_of_somebody_else(answers: Answers) -> None:
    ready(answers)
    answers.site = None
    code, told = checked(answers)
    assert code == 0
    assert told["gateway"]["text"].endswith("is no HTCDaskGateway.")


def told_of(*arguments: str) -> dict[str, dict[str, Any]]:
    """Look at everything where it has failed."""
    ran = CliRunner().invoke(htcdask, ["check", "--json", *arguments])
    assert ran.exit_code == 1
    told = json.loads(ran.stdout)
    assert not told["well"]
    return {one["part"]: one for one in told["checks"]}


def test_no_address() -> None:
    with dask.config.set({"gateway.address": None}):
        told = told_of()
        shown = CliRunner().invoke(htcdask, ["check"])
    assert tuple(told) == PARTS
    assert [part for part, one in told.items() if one["level"] == "failure"] == ["gateway"]
    assert told["gateway"]["text"].startswith("There is no gateway to ask")
    assert "--address=URL" in told["gateway"]["remedy"]
    assert shown.exit_code == 1
    assert "FAILURE  gateway         There is no gateway to ask" in shown.output


def test_no_way_to_authenticate(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    ready(answers)
    with dask.config.set({"gateway.auth.type": "jupyterhub", "gateway.auth.kwargs": {}}):
        told = told_of("--address", answers.url)
    assert [part for part, one in told.items() if one["level"] == "failure"] == ["authentication"]
    assert told["gateway"]["level"] == "ok"
    assert "export JUPYTERHUB_API_TOKEN=…" in told["authentication"]["remedy"]


def test_what_is_here_is_told_where_nobody_says_what_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images/registry").mkdir(parents=True)
    (tmp_path / "token").write_text("no token")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "none/x509"))
    settings = {"htcdaskgateway.image-root": str(tmp_path / "images"), "htcdaskgateway.apptainer": "/no/such"}
    with dask.config.set(settings):
        told = told_of("--address", "http://127.0.0.1:9")
    levels = {part: told[part]["level"] for part in ("X.509 proxy", "bearer token", "CVMFS", "Apptainer")}
    assert levels == {
        "X.509 proxy": "warning", "bearer token": "warning", "CVMFS": "ok", "Apptainer": "warning",
    }  # fmt: skip
    assert str(tmp_path / "none/x509") in told["X.509 proxy"]["text"]
    assert [part for part, one in told.items() if one["level"] == "failure"] == ["gateway"]
    for variable in ("BEARER_TOKEN_FILE", "X509_USER_PROXY"):
        monkeypatch.delenv(variable)
    missing = as_information(of_credential(TOKEN, Rule(), MISSING, NOW))
    assert (missing.level, missing.text) == (
        UNUSED, "there is no bearer token; the gateway would say whether one is needed",
    )  # fmt: skip
    hung = as_information(of_silence("CVMFS", 15))
    assert (hung.level, hung.text) == (WARNING, "no answer within 15 s")


@pytest.mark.parametrize(("seconds", "more"), [(0.1, 60), (15, 60), (100, 400)])
def test_who_waited_in_vain_is_told_how_to_wait_longer(seconds: float, more: int) -> None:
    assert of_silence("slots", seconds).remedy == f"`htcdask check --seconds {more}` waits longer."


Render = Callable[[list[Finding]], str]


def test_at_80_columns() -> None:
    console = Console(width=80, record=True, force_terminal=False, highlight=False)
    show = CheckShow(output=console)
    long = "word " * 40
    show.all([Finding("gateway", OK, "fine"), Finding("slots", FAILURE, long, "Do this.\x1b[2J", {"a": "b"})])
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].rstrip() == "ok       gateway  fine"
    assert "\x1b" not in "".join(lines)
    assert [line.strip() for line in lines[-3:]] == ["a: b", "Do this.\ufffd[2J", "1 failure"]
