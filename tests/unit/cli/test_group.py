from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

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
