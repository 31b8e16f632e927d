"""Each piece of a gateway's configuration in the documentation is one with which a gateway starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from dask_gateway_server.models import User
from tests.unit.examples.gateway_files import load
from tests.unit.test_docs import PAGES, ROOT
from tests.unit.test_docs_code import blocks
from traitlets import TraitError

from htcdaskgateway.errors import ConfigurationError
from htcdaskgateway.server.traits import HTCondorClusterConfig
from htcdaskgateway.server.workers import jobs

# What a page leaves out; a piece that says otherwise wins.
AROUND = 'c.DaskGateway.backend_class = "htcdaskgateway.server.HTCondorBackend"\n'
LOCAL = 'c.LocalLauncher.command_prefix = ["sudo", "-nu", "{user}", "--"]\n'
KUBERNETES = (
    'c.HTCondorBackend.launcher_class = "htcdaskgateway.launchers.kubernetes.KubernetesLauncher"\n'
    'c.HTCondorBackend.worker_contact = "gateway-proxy"\n'
)
HUBS = re.compile(r"^c\.(JupyterHub|Spawner)\b", re.MULTILINE)


def pieces() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for number, (language, content) in enumerate(blocks(page.read_text(encoding="utf-8"))):
            if (
                language == "python"
                and re.search(r"^c\.", content, re.MULTILINE)
                and not HUBS.search(content)
            ):
                found.append((f"{page.relative_to(ROOT)}-{number}", content))
    return found


def backend_with(piece: str, tmp_path: Path) -> Any:
    file = tmp_path / "dask_gateway_config.py"
    state = f"c.HTCondorBackend.state_directory = {str(tmp_path / 'state')!r}\n"
    file.write_text(AROUND + (KUBERNETES if "KubernetesLauncher" in piece else LOCAL) + state + piece)
    return load(file)[1]


@pytest.mark.parametrize("piece", [piece for _, piece in pieces()], ids=[name for name, _ in pieces()])
def test_a_gateway_takes_it(piece: str, tmp_path: Path) -> None:
    assert backend_with(piece, tmp_path)


def test_there_are_some() -> None:
    assert len(pieces()) > 5


@pytest.mark.parametrize(
    "piece",
    [
        "c.HTCondorBackend.imgae = 'a:1'\n",
        "c.HTCondorBackend.submitter = 'nobody'\n",
        "c.HTCondorBackend.image = 'a b'\n",
    ],
)
def test_what_a_gateway_does_not_take_is_found(piece: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, TraitError, ConfigurationError), match=r"imgae|submitter|no image"):
        backend_with(piece, tmp_path)


@pytest.mark.parametrize(("gpus", "asked"), [(0, None), (1, "1")])
async def test_the_option_for_gpus_becomes_a_submit_command(
    gpus: int, asked: str | None, tmp_path: Path
) -> None:
    [piece] = [piece for name, piece in pieces() if name.startswith("docs/guide/gpu.md")]
    backend = backend_with(piece, tmp_path)
    user = User("analyst")
    options = await backend.get_cluster_options(user)
    assert {"gpus", "worker_cores", "worker_memory", "image"} <= {field.field for field in options.fields}
    request = {"gpus": gpus, "worker_cores": 2, "worker_memory": 4.0}
    config = HTCondorClusterConfig(
        parent=backend, **options.get_configuration(options.parse_options(request), user)
    )
    commands = jobs(backend, "gw", "c1", "analyst", config, ["w1"]).commands
    assert (commands.get("request_gpus"), commands["request_cpus"], commands["request_memory"]) == (
        asked,
        "2",
        "4096",
    )
