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

from htcdaskgateway.cli import main as main_module
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
def test_what_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in (module, "htcdaskgateway")]:
        if name not in ("htcdaskgateway", "htcdaskgateway.errors"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # import raises ModuleNotFoundError
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.root").write_bytes(b"root")
    monkeypatch.setattr(sys, "argv", ["htcdask", "demo", "--input", str(tmp_path / "a.root")])
    with pytest.raises(SystemExit) as caught:
        main_module.main()
    assert caught.value.code == f"Error: {module} is not installed: pip install 'htcdaskgateway[{extra}]'"
