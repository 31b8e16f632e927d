from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from htcdaskgateway.cli.demo_result import Result
from htcdaskgateway.cli.demo_show import RichShow, RichStep
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.demo.analysis import MASS_EDGES, PEAKS
from htcdaskgateway.demo.run import Outcome
from htcdaskgateway.demo.spectrum import Spectrum
from htcdaskgateway.records import WorkerRecord, WorkerState


def console(encoding: str = "utf-8", width: int = 80, terminal: bool = False) -> tuple[Console, io.BytesIO]:
    raw = io.BytesIO()
    text = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    return Console(
        file=text, width=width, force_terminal=terminal, highlight=False, _environ={"TERM": "xterm"}
    ), raw


def report(*states: WorkerState, reason: str = "") -> WorkersReport:
    workers = tuple(
        WorkerRecord(f"w{number}", state, f"7.{number}", reason=reason if state is WorkerState.FAILED else "")
        for number, state in enumerate(states)
    )
    return WorkersReport(
        revision=1, status="running", count=2, maximum=None, gave_up=False, problem="", workers=workers
    )


def outcome() -> Outcome:
    spectrum = Spectrum(events=2000, pairs=1500, candidates=1001)
    spectrum.counts = np.zeros(len(MASS_EDGES) - 1)
    spectrum.counts[np.searchsorted(MASS_EDGES, 91.2) - 1] = 1000
    spectrum.peaks[list(PEAKS).index("Z")] = (10, 900, 10, -8.8)
    return Outcome(spectrum, "Generated sample, not data", Path("dimuon_mass.png"))


@pytest.mark.parametrize("terminal", [False, True])
def test_steps_are_told_when_done_with_their_times(terminal: bool) -> None:
    times = iter([10.0, 11.5, 20.0, 20.25])
    out, raw = console(terminal=terminal)
    show = RichShow(out, clock=lambda: next(times))
    with show.step("Gateway") as step:
        step.detail = "http://127.0.0.1:1"
    with pytest.raises(RuntimeError), show.step("Workers"):
        raise RuntimeError
    assert [(step.title, step.seconds) for step in show.steps] == [("Gateway", 1.5), ("Workers", 0.25)]
    if not terminal:
        assert raw.getvalue().decode().splitlines() == ["✓ Gateway    http://127.0.0.1:1", "✗ Workers"]


def test_workers_without_a_terminal_one_line_a_change() -> None:
    out, raw = console()
    show = RichShow(out)
    idle, failed, running = WorkerState.IDLE, WorkerState.FAILED, WorkerState.RUNNING
    with show.step("Workers"):
        for one in (
            report(idle, idle),
            report(idle, idle),
            report(running, failed, idle, reason="held: [13/2] no"),
            report(running, running),
        ):
            show.workers(2, one)
    lines = [line.rstrip() for line in raw.getvalue().decode().splitlines()]
    assert lines[:3] == ["  2 idle", "  a worker failed: held: [13/2] no", "  1 running, 1 idle, 1 failed"]
    assert lines[3].split() == ["worker", "state", "job", "host"]
    assert lines[4].split() == ["w0", "running", "7.0"]
    assert len(lines) == 7


def test_a_terminal_shows_the_way() -> None:
    out, raw = console(terminal=True)
    show = RichShow(out)
    with show.step("Analysis"):
        show.tasks(3, 12)
        time.sleep(0.4)
    assert "3 of 12 tasks" in raw.getvalue().decode()


@pytest.mark.parametrize(("encoding", "width"), [("utf-8", 80), ("utf-8", 200), ("utf-8", 40), ("ascii", 80)])
def test_the_result_fits_and_can_be_written(encoding: str, width: int) -> None:
    out, raw = console(encoding, width)
    result = Result(out)
    result.outcome(outcome())
    result.times([RichStep("Gateway", "", 1.26), RichStep("Workers", "", 2.0)])
    text = raw.getvalue().decode(encoding)
    assert max(map(len, text.splitlines())) <= width
    if width >= 80:
        for words in (
            "2,000",
            "1,500",
            "1,001",
            "81.20 to 101.20",
            "91.190",
            "dimuon_mass.png",
            "3.3",
            "not found",
        ):
            assert words in text
        assert ("880 ± 30" if encoding == "utf-8" else "880 +- 30") in text
    if encoding == "ascii":
        assert "#" in text


def test_what_is_to_be_copied_is_not_wrapped() -> None:
    out, raw = console(width=40)
    lines = ["x" * 100, "y" * 60, "z"]
    Result(out).kept(lines, "htcdask demo --stop /tmp/htcdask-demo-a-rather-long-name")
    said = raw.getvalue().decode().splitlines()
    assert [line for line in said if line in lines] == lines
    assert said[-1] == "htcdask demo --stop /tmp/htcdask-demo-a-rather-long-name"
