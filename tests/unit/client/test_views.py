"""What a cluster looks like: from reports to counts and reasons, as text and as HTML."""

from __future__ import annotations

import html as standard
import pickle
import re

import pytest
from hypothesis import given
from tests.hostile import HOSTILE

from htcdaskgateway.client.errors import WorkersMissingError
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.slot_match import Found
from htcdaskgateway.client.views.feed import versions_line
from htcdaskgateway.client.views.html import html, link_html
from htcdaskgateway.client.views.model import ClusterView, Surroundings, look
from htcdaskgateway.client.views.reasons import SCALE_AGAIN, reasons
from htcdaskgateway.client.views.text import bar, line, text
from htcdaskgateway.condor.need import Need
from htcdaskgateway.condor.slots import SlotMatch
from htcdaskgateway.records import WorkerRecord, WorkerState
from htcdaskgateway.versions import Column

NOW = 1_000_000.0
BUSY = Found(Need(1, 2048), SlotMatch(Need(1, 2048), 8, 8, 8, 0, 4, 8192))
TOO_LARGE = Found(Need(64, 2048), SlotMatch(Need(64, 2048), 8, 8, 0, 0, 4, 8192))
HELD = "held: [34/102] Job has gone over cgroup memory limit"


def workers(states: str, reason: str = "", since: float = NOW - 125) -> tuple[WorkerRecord, ...]:
    """Of words such as ``idle idle running``."""
    return tuple(
        WorkerRecord(f"w{number}", WorkerState(state), reason=reason, since=since)
        for number, state in enumerate(states.split())
    )


def report(
    records: tuple[WorkerRecord, ...], count: int = 3, problem: str = "", gave_up: bool = False
) -> WorkersReport:
    return WorkersReport(7, "running", count, 20, gave_up, problem, records, 2, 4 * 2**30, "r/i:1")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("", "none"),
        ("running running running", "3 running"),
        ("wanted idle starting", "1 starting, 1 idle, 1 unsubmitted"),
        ("running leaving finished", "1 running, 1 leaving"),
        ("failed running", "1 running, 1 failed"),
    ],
)
def test_counts(states: str, expected: str) -> None:
    view = look("c", report(workers(states)), NOW)
    assert view.states == expected
    assert dict(view.counts)["running"] == states.split().count("running")
    assert view.cores == 2 * view.running
    assert view.memory == view.running * 4 * 2**30


def test_held_jobs_are_counted_apart() -> None:
    records = (*workers("failed failed", HELD), *workers("failed", "its job was removed"))
    view = look("c", report(records), NOW)
    assert (view.held, view.failed) == (2, 1)
    assert [(one.title, one.text) for one in view.reasons] == [
        ("2 held", "[34/102] Job has gone over cgroup memory limit"),
        ("1 failed", "its job was removed"),
    ]
    assert view.reasons[0].remedy.startswith("Ask for more: new_cluster(worker_memory=…)")
    assert view.reasons[1].remedy == 'cluster.logs("w0") shows what it wrote.'
    assert [view.age(one) for one in view.reasons] == ["2 min 5 s ago"] * 2


@pytest.mark.parametrize(
    ("states", "slots", "kinds", "words"),
    [
        ("running running running", BUSY, [], ""),
        ("running idle", None, ["idle"], "wait in HTCondor's queue for a free slot."),
        ("idle idle", BUSY, ["idle"], "Of 8 slots, 8 match: none with room now. A worker needs 1 core,"),
        ("idle", TOO_LARGE, ["idle"], "No slot of 8 is large enough for a worker"),
        ("idle", Found(problem="it is away"), ["idle"], "How many slots match is not known: it is away"),
        ("wanted", None, ["unsubmitted"], "about to submit"),
        ("starting idle", None, ["idle", "starting"], "queue"),
        ("failed running running running", None, [], ""),  # all are there: old failures are none
    ],
)  # fmt: skip
def test_reasons(states: str, slots: Found | None, kinds: list[str], words: str) -> None:
    told = reasons(report(workers(states)), slots)
    assert [reason.kind for reason in told] == kinds
    assert not kinds or words in told[0].text


def test_what_the_gateway_says_of_the_cluster_comes_first_and_giving_up_says_how_to_go_on() -> None:
    told = reasons(report(workers("failed", HELD), problem="Gave up: no", gave_up=True))
    assert [reason.title for reason in told] == ["cluster", "1 held"]
    assert told[1].remedy.endswith(SCALE_AGAIN)
    [ended] = reasons(WorkersReport(1, "failed", 3, None, False, "The scheduler ended.", workers("idle")))
    assert ended.text == "The scheduler ended."


def test_as_json_each_thing_stands_once() -> None:
    told = look("c", report(workers("idle")), NOW, None, Surroundings("http://d", "/s", "dask 1")).to_json()
    assert (told["dashboard"], told["sandbox"], told["versions"]) == ("http://d", "/s", "dask 1")
    assert "around" not in told


def test_many_kinds_of_failures_are_few_lines() -> None:
    records = tuple(
        WorkerRecord(f"w{n}", WorkerState.FAILED, reason=f"reason {n}", since=NOW + n) for n in range(50)
    )
    told = reasons(report(records))
    assert [reason.text for reason in told] == [f"reason {n}" for n in range(49, 43, -1)]


def test_as_text() -> None:
    around = Surroundings("http://here/status", "/home/me/sandbox", "python 3.11")
    records = (*workers("running idle"), *workers("failed", HELD))
    assert text(look("c7", report(records), NOW, BUSY, around)).splitlines() == [
        "Cluster c7: running",
        "  [##########....................] 1 of 3 workers: 1 running, 1 idle, 1 held",
        "  workers have: 2 cores, 4.0 GiB",
        "  image:        r/i:1",
        "  versions:     python 3.11",
        "  dashboard:    http://here/status",
        "  sandbox:      /home/me/sandbox",
        "  1 idle, for 2 min 5 s: Of 8 slots, 8 match: none with room now. A worker needs 1 core, 2.0 GiB.",
        "    They start when slots become free; wait, or ask for smaller workers.",
        "  1 held, 2 min 5 s ago: [34/102] Job has gone over cgroup memory limit",
        "    Ask for more: new_cluster(worker_memory=…), in GB, or smaller tasks.",
    ]


def test_as_a_line() -> None:
    view = look("c7", report((*workers("running"), *workers("failed", HELD))), NOW)
    assert line(view, 3) == (
        "[##########....................] 1 of 3 workers: 1 running, 1 held;"
        " held: [34/102] Job has gone over cgroup memory limit"
    )


@pytest.mark.parametrize(
    ("done", "total", "full"), [(0, 0, 30), (0, 3, 0), (1, 3, 10), (3, 3, 30), (9, 3, 30)]
)
def test_a_bar(done: int, total: int, full: int) -> None:
    assert bar(done, total) == f"[{'#' * full}{'.' * (30 - full)}]"


def tags(page: str) -> list[str]:
    return re.findall(r"<[^>]*>", page)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_html_shows_what_others_say_and_takes_none_of_it_for_html(
    name: str, reason: str, image: str, place: str
) -> None:
    def page(name: str, reason: str, image: str, place: str) -> str:
        records = (*workers("failed", reason), *workers("idle"))
        told = WorkersReport(1, "running", 5, None, False, reason, records, image=image)
        slots = Found(problem=reason)
        return html(look(name, told, NOW, slots, Surroundings("", place, place)))

    hostile = page(name, f"<script>{reason}", f"<b>{image}", f'"><img src=x>{place}')
    assert tags(hostile) == tags(page("c", "r", "i", "p"))
    assert standard.escape(name) in hostile
    assert standard.escape(f"<script>{reason}".removeprefix("held: ")) in hostile
    assert "<script" not in hostile


@given(HOSTILE, HOSTILE)
def test_text_has_no_control_characters_of_others(reason: str, place: str) -> None:
    told = text(
        look("c", report(workers("failed", f"x\x1b[2J{reason}")), NOW, None, Surroundings(place, place))
    )
    assert all(char == "\n" or char.isprintable() for char in told)


@pytest.mark.parametrize(
    ("address", "is_link"),
    [
        ("http://h/x", True),
        ("https://h", True),
        ("javascript:alert(1)", False),
        ("", False),
        ("http://[", False),
        ('http://h/"onclick="x', True),
    ],
)
def test_only_web_addresses_are_links(address: str, is_link: bool) -> None:
    page = link_html(address)
    assert page.startswith("<a ") == is_link
    assert page.count('"') == 8 * is_link


def test_a_view_without_news() -> None:
    assert text(ClusterView("c")).startswith("Cluster c: no news yet")
    over = ClusterView("c", "running", closed=True)
    for told in (text(over), html(over)):
        assert "Cluster c: closed here; last seen running" in told
    assert [view.is_over for view in (ClusterView("c"), over, ClusterView("c", "failed"))] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({}, ""),
        ({"python": "3.11.7", "dask": "2026.8.0"}, "python 3.11.7, dask 2026.8.0; they fit this notebook"),
        (
            {"python": "3.10.1", "dask": "2026.8.0"},
            "python 3.10.1, dask 2026.8.0; this notebook differs: python 3.11.2",
        ),
    ],
)
def test_versions_in_a_line(scheduler: dict[str, str], expected: str) -> None:
    here = {"python": "3.11.2", "dask": "2026.8.0"}
    assert versions_line(here, Column("scheduler", scheduler)) == expected


def test_the_error_of_a_wait_in_vain_says_what_each_waits_for() -> None:
    records = (*workers("running idle idle"), *workers("failed", HELD))
    told = report(records, count=5)
    error = WorkersMissingError(5, 1, 60.0, told.why, told.states, reasons(told, TOO_LARGE))
    assert str(error) == (
        "1 of 5 workers are running after 60 s.\n"
        "  workers: 1 running, 2 idle, 1 failed\n"
        "  2 idle:  No slot of 8 is large enough for a worker: the most that one has is 4 cores and 8.0 GiB."
        " A worker needs 64 cores, 2.0 GiB.\n"
        "  1 held:  [34/102] Job has gone over cgroup memory limit\n"
        "Ask for smaller workers: new_cluster(worker_cores=…, worker_memory=…).\n"
        "Ask for more: new_cluster(worker_memory=…), in GB, or smaller tasks.\n"
        "cluster.workers() lists each with its reason."
    )
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.reasons) == (str(error), error.reasons)
