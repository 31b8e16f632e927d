"""Logs of workers: put together, found, shown, and asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed import Scheduler, Worker
from distributed.core import rpc
from tests.unit.client.conftest import Answers

from htcdaskgateway import HTCGateway, WorkerRecord, WorkerState
from htcdaskgateway.client.log_sources import collect, running_logs
from htcdaskgateway.client.logs import NO_OUTPUT, Logs, WorkerLog, find, lines_asked, merge
from htcdaskgateway.client.session_sandbox import SessionSandbox
from htcdaskgateway.errors import InvalidRequestError

CLUSTER = "c1"
RAN = WorkerRecord("aaaa1", WorkerState.RUNNING, "12.0", "ap", "slot1@node")
HELD = WorkerRecord(
    "aaaa2", WorkerState.FAILED, "12.1", "ap", reason="HTCondor held the job: [13/2] no space"
)
IDLE = WorkerRecord("bbbb3", WorkerState.IDLE, "13.0", "ap")
NEW = WorkerRecord("bbbb4", WorkerState.WANTED)
RECORDS = (RAN, HELD, IDLE, NEW)


# -- put together, found, shown ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("worker", "found"),
    [
        ("aaaa1", RAN),
        ("bbbb4", NEW),
        ("htcdask-worker_12_1", HELD),
        ("13.0", IDLE),
        ("aaaa", "Cluster c1 has 2 workers 'aaaa'."),
        ("bbbb3x", "Cluster c1 has no worker 'bbbb3x'."),
        ("", "Cluster c1 has no worker ''."),
        ("1", "Cluster c1 has no worker '1'."),
    ],
)
def test_a_worker_is_found(worker: str, found: WorkerRecord | str) -> None:
    if isinstance(found, WorkerRecord):
        assert find(RECORDS, worker, CLUSTER) is found
        return
    with pytest.raises(InvalidRequestError) as caught:
        find(RECORDS, worker, CLUSTER)
    assert caught.value.sentence == found
    assert "aaaa1" in str(caught.value)


def test_a_beginning_is_enough() -> None:
    assert find(RECORDS[:1], "aa", CLUSTER) is RAN
    assert find((RAN, WorkerRecord("aaaa1-x", WorkerState.IDLE)), "aaaa1", CLUSTER) is RAN


@pytest.mark.parametrize("tail", [0, -1, True, 1.5, "3"])
def test_what_is_no_number_of_lines(tail: Any) -> None:
    with pytest.raises(InvalidRequestError, match="tail must be a number of lines, at least 1, not "):
        lines_asked(tail)


def test_each_worker_says_what_there_is_of_it() -> None:
    written = {"aaaa2": {"out": "", "err": "broke\n"}, "old": {"err": "long ago\n"}}
    logs = Logs(CLUSTER, merge(RECORDS, written, {"aaaa1": {"worker": "began\n"}}, {}))
    assert list(logs) == ["old", "aaaa1", "aaaa2", "bbbb3", "bbbb4"]
    assert str(logs) == (
        "== old\n-- standard error\nlong ago\n"
        "== aaaa1 running, job 12.0 of ap, on slot1@node\n-- its own log, so far\nbegan\n"
        "== aaaa2 failed, job 12.1 of ap\n   HTCondor held the job: [13/2] no space\n"
        "-- standard error\nbroke\n"
        "== bbbb3 idle, job 13.0 of ap\n   Its job waits in the queue.\n"
        "== bbbb4 wanted\n   It has no job yet."
    )
    assert logs["12.1"].streams["err"] == "broke\n"
    assert "12.1" in logs
    assert "14.0" not in logs


def test_silence_is_said() -> None:
    running, held = merge((RAN, HELD), {}, {}, {"aaaa1": "It did not give its log: no answer."})
    assert running.facts == ["It did not give its log: no answer."]
    assert held.facts == [HELD.reason, NO_OUTPUT]
    assert str(Logs(CLUSTER, [])) == "Cluster c1 has had no workers."


def test_html_shows_text_as_text() -> None:
    log = WorkerLog("w", HELD, {"err": "<script>&</script>"}, "a<b")
    html = Logs(CLUSTER, [log], ["x<y"])._repr_html_()
    assert "&lt;script&gt;&amp;&lt;/script&gt;" in html
    assert "<script>" not in html
    assert "a&lt;b" in html
    assert "x&lt;y" in html


# -- asked for -----------------------------------------------------------------------------------


@pytest.fixture
def gateway(answers: Answers) -> Answers:
    report = {
        "revision": 1, "status": "running", "count": 3, "maximum": None, "gave_up": False, "problem": "",
        "workers": [HELD.to_json(), IDLE.to_json()],
    }  # fmt: skip
    answers.more["/api/v1/clusters/c1/workers"] = 200, report
    answers.more["/api/v1/clusters/c1/logs"] = 200, {"logs": {"aaaa2": {"err": "broke\n"}}}
    return answers


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SessionSandbox]:
    with dask.config.set({"htcdaskgateway.sandbox": f"{tmp_path}/boxes/{{cluster}}"}):
        yield SessionSandbox.configured(CLUSTER)


async def ask(gateway: Answers, worker: str | None = None, tail: int | None = None) -> Logs:
    async with HTCGateway(gateway.url, asynchronous=True) as client:
        return await collect(client, CLUSTER, worker, tail)


async def test_of_all_workers(gateway: Answers) -> None:
    logs = await ask(gateway)
    assert logs["aaaa2"].streams == {"err": "broke\n"}
    assert logs.notes == ()
    assert gateway.asked[-1] == "/api/v1/clusters/c1/logs"


async def test_of_one_worker(gateway: Answers) -> None:
    logs = await ask(gateway, "12.1", tail=3)
    assert list(logs) == ["aaaa2"]
    assert gateway.asked[-1] == "/api/v1/clusters/c1/logs?worker=aaaa2&tail=3"
    with pytest.raises(InvalidRequestError, match="Cluster c1 has no worker 'x&tail=1'"):
        await ask(gateway, "x&tail=1")


async def test_where_no_session_is_attached(gateway: Answers, sandbox: SessionSandbox) -> None:
    why = "No session of analyst is attached to cluster c1."
    gateway.more["/api/v1/clusters/c1/logs"] = 422, {"error": why}
    logs = await ask(gateway)
    assert logs.notes == (f"What jobs wrote cannot be shown. {why}",)
    assert logs["aaaa2"].facts == [HELD.reason, NO_OUTPUT]
    sandbox.prepare({"worker-aaaa2.err": "from here\n"})
    logs = await ask(gateway)
    assert logs.notes == (f"{why} What this account has in its own sandbox is shown.",)
    assert logs["aaaa2"].streams == {"err": "from here\n"}


async def test_another_gateway_keeps_no_logs(answers: Answers) -> None:
    with pytest.raises(InvalidRequestError, match="404"):
        await ask(answers)
    answers.site = None
    with pytest.raises(InvalidRequestError, match="keeps no logs of workers: it is no HTCDaskGateway"):
        await ask(answers)


async def test_asked_of_workers_that_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "distributed.worker")  # other tests make it quiet
    silent = WorkerRecord("silent", WorkerState.RUNNING, "12.1")
    gone = WorkerRecord("gone", WorkerState.RUNNING, "12.2")
    plain = WorkerRecord("plain", WorkerState.RUNNING, "12.3")
    forever = asyncio.Event()
    async with (
        Scheduler(host="127.0.0.1", port=0, dashboard_address=":0") as scheduler,
        Worker(scheduler.address, name=RAN.dask_name, host="127.0.0.1") as first,
        Worker(scheduler.address, name=silent.dask_name, host="127.0.0.1") as second,
        Worker(scheduler.address, name="plain", host="127.0.0.1"),
        rpc(scheduler.address) as asked,
    ):
        logging.getLogger("distributed.worker").warning("first line\nsecond line")

        async def never(**_: Any) -> None:
            await forever.wait()

        second.handlers["get_logs"] = never
        logged, why = await running_logs(asked, [RAN, silent, gone, plain], 1, 1.0)
        forever.set()
        assert first.name == "htcdask-worker_12_0"
    assert logged["aaaa1"]["worker"] == "second line\n"
    assert logged["plain"]["worker"] == "second line\n"
    assert why == {
        "silent": "It did not give its log: no answer within 1 s.",
        "gone": "The scheduler does not name it as one of its workers.",
    }
