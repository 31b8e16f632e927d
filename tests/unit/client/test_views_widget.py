"""The widget without a browser: traits, controls, and a gateway that fails."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from distributed.utils import LoopRunner
from tests.support.waiting import eventually

from htcdaskgateway.client.cluster import HTCGatewayCluster
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.views.feed import Feed
from htcdaskgateway.errors import AuthenticationError, GatewayUnreachableError, LimitError
from htcdaskgateway.records import WorkerRecord, WorkerState

pytest.importorskip("ipywidgets")

from htcdaskgateway.client.views.widget import ClusterWidget


class Gateway:
    """Tells reports as they are put here, with a revision each; the loop is a real one in a thread."""

    def __init__(self, runner: LoopRunner) -> None:
        self.loop, self.told, self.asked = runner.loop, list[WorkersReport | Exception](), 0

    async def _workers(self, name: str, since: int | None = None) -> WorkersReport:
        self.asked += 1
        while not self.told:  # noqa: ASYNC110 - another thread puts it there
            await asyncio.sleep(0.01)
        news = self.told.pop(0)
        if isinstance(news, Exception):
            raise news
        return news


class Cluster:
    name, status, sandbox, dashboard_link = "c7", "running", None, "http://here/status"
    scheduler_comm = _submitter = None
    _trouble = ""
    _bounds = staticmethod(HTCGatewayCluster._bounds)

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.calls: list[tuple[object, ...]] = []
        self.error: Exception | None = None
        self.may_end = threading.Event()
        self.may_end.set()

    async def _scale(self, *arguments: object) -> None:
        while not self.may_end.is_set():  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
        self.calls.append((threading.current_thread(), *arguments))
        if self.error:
            raise self.error

    async def _adapt(self, *arguments: object) -> None:
        await self._scale("adapt", *arguments)


def report(*states: str, count: int = 3, status: str = "running", reason: str = "") -> WorkersReport:
    records = tuple(WorkerRecord(f"w{n}", WorkerState(s), reason=reason) for n, s in enumerate(states))
    return WorkersReport(1, status, count, 20, False, "", records, 1, 2**30)


Made = tuple[Any, ClusterWidget]


@pytest.fixture
def made() -> Iterator[Made]:
    runner = LoopRunner(asynchronous=False)
    runner.start()
    cluster: Any = Cluster(Gateway(runner))
    feed = Feed(cluster)
    cluster._feed = feed
    yield cluster, ClusterWidget(cluster, feed)
    ended = threading.Event()

    def end() -> None:
        feed.end()
        ended.set()

    runner.loop.add_callback(end)
    assert ended.wait(5)
    runner.stop()


def shows(widget: ClusterWidget, *words: str) -> None:
    eventually(f"{words} in it", lambda: all(word in widget.status.value for word in words), 5)


def test_it_counts_as_workers_come(made: Made) -> None:
    cluster, widget = made
    assert "no news yet" in widget.status.value
    cluster.gateway.told.append(report("idle", "idle", "idle"))
    shows(widget, "<b>3</b> wanted", "3 idle", "0 running", "http://here/status", 'aria-valuenow="0"')
    assert widget.workers.value == 3
    assert widget.maximum.value == 3
    cluster.gateway.told.append(report("running", "running", "failed", reason="held: [34/102] too much"))
    shows(widget, "2 running", "(2 cores, 2.0 GiB)", "1 held", "[34/102] too much", 'aria-valuenow="2"')


def test_two_displays_are_fed_by_one_poll(made: Made) -> None:
    cluster, widget = made
    other = ClusterWidget(cluster, cluster._feed)
    cluster.gateway.told.append(report("running"))
    for one in (widget, other):
        shows(one, "1 running")
    time.sleep(0.5)
    assert cluster.gateway.asked == 2  # the answer, and the next long poll


def test_the_controls_leave_the_kernel_alone_and_do_what_they_say(made: Made) -> None:
    cluster, widget = made
    cluster.may_end.clear()
    widget.workers.value = 5
    widget.scale.click()  # returns, though what it does may not end
    assert widget.scale.disabled
    assert widget.adapt.disabled
    cluster.may_end.set()
    eventually("scaled", lambda: widget.message.value == "Scaled to 5.", 5)
    widget.minimum.value, widget.maximum.value = 1, 4
    widget.adapt.click()
    eventually("adapts", lambda: widget.message.value == "The load decides, between 1 and 4.", 5)
    assert [call[1:] for call in cluster.calls] == [(5,), ("adapt", 1, 4, True)]
    assert all(call[0] is not threading.current_thread() for call in cluster.calls)
    assert not widget.scale.disabled


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (LimitError(500, 20), "500 workers are more than the site allows in one cluster: 20."),
        (GatewayUnreachableError("http://gone", "refused"), "No gateway answers at http://gone."),
        (RuntimeError("<script>"), "&lt;script&gt;"),
        (KeyError(), "KeyError"),
    ],
)
@pytest.mark.parametrize("control", ["scale", "adapt"])
def test_an_error_stands_in_the_widget(
    made: Made, control: str, error: Exception, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster, widget = made
    cluster.error = error
    button = getattr(widget, control)
    button.click()
    eventually("the error", lambda: words in widget.message.value, 5)
    eventually("another try can be made", lambda: not button.disabled, 5)
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("button", "values", "words"),
    [
        ("scale", {"workers": -1}, "n must not be negative, got -1."),
        ("adapt", {"minimum": 5, "maximum": 2}, "minimum=5 is above maximum=2."),
    ],
)
def test_numbers_that_make_no_sense(made: Made, button: str, values: dict[str, int], words: str) -> None:
    cluster, widget = made
    for field, value in values.items():
        getattr(widget, field).value = value
    getattr(widget, button).click()
    assert words in widget.message.value
    assert not cluster.calls


def test_trouble_with_the_gateway_is_shown_and_goes_away(made: Made) -> None:
    cluster, widget = made
    cluster.gateway.told += [report("running"), GatewayUnreachableError("http://gone", "refused")]
    shows(widget, "1 running", "No gateway answers at http://gone.")
    cluster.gateway.told.append(report("running", "running"))
    shows(widget, "2 running")
    assert "No gateway" not in widget.status.value
    cluster.gateway.told += [AuthenticationError("http://x", 401, "no"), ValueError("no JSON")]
    shows(widget, "No news: no JSON")


def closes(cluster: Any) -> None:
    cluster.status = "closed"
    cluster.gateway.loop.add_callback(cluster._feed.end)


@pytest.mark.parametrize("how", ["closed here", "failed"])
def test_it_ends_with_the_cluster(made: Made, how: str) -> None:
    cluster, widget = made
    cluster.gateway.told.append(report("running"))
    shows(widget, "1 running")
    if how == "closed here":
        closes(cluster)
    else:
        cluster.gateway.told.append(report("running", status="failed"))
    shows(widget, how)
    eventually("the controls are off", lambda: widget.scale.disabled and widget.adapt.disabled, 5)
    asked = cluster.gateway.asked
    time.sleep(0.4)
    assert cluster.gateway.asked == asked
    cluster.status = "closed"
    widget.scale.disabled = False
    widget.scale.click()
    assert "gateway.connect(name)" in widget.message.value
    assert widget.scale.disabled
    assert widget.adapt.disabled


def test_what_fails_as_the_cluster_ends_leaves_the_controls_off(made: Made) -> None:
    cluster, widget = made
    cluster.may_end.clear()
    cluster.error = RuntimeError("it has ended")
    widget.scale.click()
    cluster.gateway.told.append(report("running", status="failed"))
    shows(widget, "failed")
    cluster.may_end.set()
    eventually("the error", lambda: "it has ended" in widget.message.value, 5)
    time.sleep(0.1)
    assert widget.scale.disabled
    assert widget.adapt.disabled


def test_neither_widget_nor_feed_keep_the_cluster_alive() -> None:
    runner = LoopRunner(asynchronous=False)
    runner.start()
    gateway = Gateway(runner)
    cluster: Any = Cluster(gateway)
    widget = ClusterWidget(cluster, Feed(cluster))
    gateway.told.append(report("running"))
    shows(widget, "1 running")
    eventually("the next long poll", lambda: gateway.asked == 2, 5)
    gone = weakref.ref(cluster)
    del cluster

    def collected() -> bool:
        gc.collect()
        return gone() is None

    eventually("the cluster is gone", collected, 5)
    gateway.told.append(report("running", "running"))  # the poll that was under way
    time.sleep(0.5)
    assert gateway.asked == 2
    widget.scale.click()
    assert "closed here" in widget.message.value
    runner.stop()
