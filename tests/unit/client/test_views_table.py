"""What ``rich.print(cluster)`` shows."""

from __future__ import annotations

import io
from typing import Any

import pytest

from htcdaskgateway.client.cluster import HTCGatewayCluster
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.records import WorkerRecord, WorkerState

rich_console = pytest.importorskip("rich.console")

RECORDS = (
    WorkerRecord("a1b2c3d4e5", WorkerState.RUNNING, job_id="7.0", schedd="s1", host="slot1@x"),
    WorkerRecord("failed99", WorkerState.FAILED, reason="held: [34/102] too \x1b[2Jmuch"),
    WorkerRecord("finished", WorkerState.FINISHED),
)


class Gateway:
    """Answers in the caller's thread."""

    def sync(self, call: Any, *arguments: Any) -> WorkersReport:
        asked = arguments[0]
        asked.close()
        return WorkersReport(1, "running", 2, 20, False, "", RECORDS, 1, 2**30)


class Cluster(HTCGatewayCluster):
    asynchronous = False

    def __del__(self) -> None:
        """There is nothing to clear away."""


def cluster(status: str = "running", is_ours: bool = True) -> HTCGatewayCluster:
    made: Any = Cluster.__new__(Cluster)
    made.name, made.status, made._is_ours = "c7", status, is_ours
    made.dashboard_link, made.__dict__["_gateway"] = None, Gateway()
    return made  # type: ignore[no-any-return]


def shown(what: HTCGatewayCluster, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors="replace")
    rich_console.Console(file=stream, width=100).print(what)
    stream.seek(0)
    return stream.read()


def test_the_workers_and_why_there_are_not_more() -> None:
    told = shown(cluster())
    assert told.startswith("Cluster c7: running\n[###############...............] 1 of 2 workers")
    for words in ("a1b2c3d4", "running", "7.0", "slot1@x", "1 held: [34/102]", "Ask for more"):
        assert words in told
    assert "finished" not in told
    assert "\x1b" not in told


def test_where_only_plain_letters_can_be_shown() -> None:
    table = [line for line in shown(cluster(), "ascii").splitlines() if set(line) >= {"-", "+"}]
    assert table


def test_the_last_news_of_one_that_is_closed() -> None:
    assert "Cluster c7: no news yet" in shown(cluster(status="closed"))


def test_a_cluster_of_another_gateway() -> None:
    assert "HTCGatewayCluster<c7, status=running>" in shown(cluster(is_ours=False))
