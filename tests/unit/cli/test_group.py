from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from htcdaskgateway.cli.group import COMMANDS, htcdask


def test_help_lists_every_command_with_its_line() -> None:
    answer = CliRunner().invoke(htcdask, ["--help"])
    assert answer.exit_code == 0
    for name, (where, line) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", answer.output, re.MULTILINE)
        module, _, attribute = where.partition(":")
        assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)


def test_help_needs_neither_server_nor_analysis() -> None:
    code = (
        "import sys, json\nfrom htcdaskgateway.cli.group import htcdask\n"
        "htcdask(['--help'], standalone_mode=False)\nhtcdask(['demo', '--help'], standalone_mode=False)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(ran.stdout.splitlines()[-1]))
    assert not loaded & {
        "dask_gateway_server",
        "uproot",
        "awkward",
        "matplotlib",
        "htcondor2",
        "rich",
    }


def test_python_m_is_the_same_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "htcdaskgateway", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ran.stdout.startswith("Usage: htcdask ")


def test_an_unknown_command() -> None:
    answer = CliRunner().invoke(htcdask, ["dmeo"])
    assert answer.exit_code == 2
    assert "No such command 'dmeo'" in answer.output


@pytest.mark.parametrize(("module", "extra"), [("rich", "cli"), ("uproot", "demo"), ("click", "cli")])
def test_what_is_not_installed_is_named_with_its_extra(tmp_path: Path, module: str, extra: str) -> None:
    (tmp_path / "a.root").write_bytes(b"root")
    # A process of its own: modules that are imported twice in one are not the same to other tests.
    program = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv[1:] = ['demo', '--input', 'a.root'];"
        "from htcdaskgateway.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr == f"Error: {module} is not installed: pip install 'htcdaskgateway[{extra}]'\n"


def main(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run htcdask with what Python does without buffers, too."""
    program = "from htcdaskgateway.cli.main import main; main()"
    command = [sys.executable, *options.pop("python", []), "-c", program, *arguments]
    given = {"stdout": subprocess.PIPE, **options}
    return subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True, timeout=60, **given)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
@pytest.mark.parametrize("python", [[], ["-u"]])
@pytest.mark.parametrize("arguments", [["--help"], ["completion", "zsh"], ["check", "--json"], ["check"]])
def test_output_that_cannot_be_written(arguments: list[str], python: list[str]) -> None:
    environment = {**os.environ, "DASK_GATEWAY__ADDRESS": "http://127.0.0.1:9"}
    environment.pop("PYTHONUNBUFFERED", None)
    with Path("/dev/full").open("w") as full:
        ran = main(*arguments, stdout=full, python=python, env=environment)
    assert ran.returncode == 1
    assert ran.stderr == "Error: Standard output cannot be written to: No space left on device.\n"


@pytest.mark.parametrize(
    ("text", "words"), [("a: [", "expected the node content"), ("- a", "got a list instead")]
)
def test_a_configuration_that_dask_cannot_read(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    environment = {**os.environ, "DASK_CONFIG": str(tmp_path)}
    for arguments in (["check", "--json"], ["workers"], ["images"]):
        ran = main(*arguments, env=environment)
        assert ran.returncode == 1
        assert ran.stderr.startswith("Error: Dask's configuration cannot be read.\n  dask says: ")
        assert f"{tmp_path}/mine.yaml" in ran.stderr
        assert words in ran.stderr
        assert ran.stderr.splitlines()[-1].startswith("Mend that file.")
    assert main("--help", env=environment).returncode == 0


@pytest.mark.parametrize("kind", ["ValueError", "OSError"])
def test_errors_of_something_else_are_not_hidden(kind: str) -> None:
    program = (
        "import htcdaskgateway.cli.group as group, htcdaskgateway.cli.main as main\n"
        f"def broken(**_): raise {kind}('mine')\n"
        "group.htcdask = broken; main.main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )
    assert ran.stderr.splitlines()[-1] == f"{kind}: mine"
