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
            return [one for one in shown if one[0] in ("display_data", "execute_result", "error", "stream")]

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
