"""What a notebook cell shows, in a real kernel."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.conftest import Answers, MakeImage

jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")

Cell = Callable[[str], list[tuple[str, Any]]]
SHOWN = ("display_data", "update_display_data", "execute_result", "error", "stream")


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    """Runs a cell; what comes out of it, as kind and content."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    manager = jupyter_client.KernelManager(connection_file=str(tmp_path / "kernel.json"))
    manager.start_kernel(env=environment, cwd=str(tmp_path))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)

        def run(code: str) -> list[tuple[str, Any]]:
            shown: list[tuple[str, Any]] = []
            client.execute_interactive(
                code, timeout=60, output_hook=lambda one: shown.append((one["msg_type"], one["content"]))
            )
            return [one for one in shown if one[0] in SHOWN]

        yield run
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_a_wrong_image_shows_the_table(answers: Answers, make_image: MakeImage, cell: Cell) -> None:
    make_image("me/worker:1", dask="1.0")
    gateway = f"from htcdaskgateway import HTCGateway; gateway = HTCGateway({answers.url!r})\n"
    shown = cell(gateway + 'gateway.new_cluster(image="me/worker:1")')
    assert [kind for kind, _ in shown] == ["display_data", "error"]
    assert "<table" in shown[0][1]["data"]["text/html"]
    assert "must agree" in shown[0][1]["data"]["text/plain"]
    (line,) = shown[1][1]["traceback"]  # the table stands above it
    assert line.startswith("VersionMismatchError: Image ")
    assert line.endswith("/me/worker:1' does not fit this notebook: dask differs.")

    shown = cell('gateway.submit(image="me/worker:1", check_versions="warn")')
    assert [kind for kind, _ in shown] == ["display_data", "stream", "execute_result"]
    assert "<table" in shown[0][1]["data"]["text/html"]
    assert "does not fit this notebook: dask differs." in shown[1][1]["text"]
    assert "must agree" not in shown[1][1]["text"]
    assert len(answers.submitted) == 1


def test_a_cell_shows_a_table_of_its_own(cell: Cell) -> None:
    code = "from htcdaskgateway.versions import *; VersionTable((Column('notebook', versions_here()),))"
    ((kind, content),) = cell(code)
    assert kind == "execute_result"
    assert "<table" in content["data"]["text/html"]
    assert "\n" in content["data"]["text/plain"]


CLUSTER = """
import asyncio, logging, time
from types import SimpleNamespace
from distributed.utils import LoopRunner
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.client.views.progress import Progress
from htcdaskgateway.client.views.shown import Shown
from htcdaskgateway.records import WorkerRecord, WorkerState

def report(*states):
    records = tuple(WorkerRecord(f"w{n}", WorkerState(state)) for n, state in enumerate(states))
    return WorkersReport(1, "running", 2, None, False, "", records)

runner = LoopRunner(asynchronous=False)
runner.start()
news = [report("idle", "idle")]

async def tell(name, since=None):
    while len(news) < 2 and since is not None:
        await asyncio.sleep(0.05)
    return news.pop(0) if since is not None else news[0]

class Cluster(Shown):
    name, status, asynchronous, dashboard_link, sandbox = "c7", "running", False, None, None
    scheduler_comm, _submitter, _trouble = None, None, ""
    def __init__(self): pass
    def __del__(self): pass
    async def report(self): return news[0]
    gateway = SimpleNamespace(
        loop=runner.loop, _workers=tell,
        sync=lambda call, *more: asyncio.run_coroutine_threadsafe(
            call(*more), runner.loop.asyncio_loop).result(10))

cluster = Cluster()
cluster
"""


def test_a_cluster_as_the_last_line_of_a_cell(cell: Cell) -> None:
    pytest.importorskip("ipywidgets")
    [(kind, content)] = [one for one in cell(CLUSTER) if one[0] != "stream"]
    assert kind == "display_data"
    assert "application/vnd.jupyter.widget-view+json" in content["data"]
    assert "2 idle" in content["data"]["text/html"]
    assert "0 of 2 workers: 2 idle" in content["data"]["text/plain"]
    again = cell("cluster")
    view = "application/vnd.jupyter.widget-view+json"
    assert again[0][1]["data"][view] == content["data"][view]  # the same widget, a second time
    # What a button does is done by the loop's thread, and what goes wrong stands in the widget.
    clicked = (
        "widget = cluster._shown_widget; widget.scale.click(); time.sleep(1); print(widget.message.value)"
    )
    shown = cell(clicked)
    assert [one[0] for one in shown] == ["stream"]
    assert "has no attribute" in shown[0][1]["text"]


def test_without_ipywidgets_a_cluster_is_html(cell: Cell) -> None:
    block = "import sys; sys.modules['ipywidgets'] = None\n"
    [(kind, content)] = [one for one in cell(block + CLUSTER) if one[0] != "stream"]
    assert kind == "display_data"
    assert sorted(content["data"]) == ["text/html", "text/plain"]
    assert "2 idle" in content["data"]["text/html"]


def test_progress_is_one_output_that_another_thread_replaces(cell: Cell) -> None:
    code = CLUSTER.rpartition("cluster\n")[0] + (
        "import threading\nprogress = Progress('c7', 2)\n"
        "def go():\n    progress.show(report('running', 'idle'))\n    progress.end()\n"
        "one = threading.Thread(target=go); one.start(); one.join(); time.sleep(0.5)"
    )
    shown = cell(code)
    assert [kind for kind, _ in shown] == ["display_data", "update_display_data"]
    first, second = (content for _, content in shown)
    assert first["transient"]["display_id"] == second["transient"]["display_id"]
    assert "1 running" in second["data"]["text/html"]
