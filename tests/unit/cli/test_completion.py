"""What a shell is given, and what it then completes: asked as each shell asks, and by those that are here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.unit.cli.test_clusters import NAME, serve
from tests.unit.client.conftest import Answers, answers

from htcdaskgateway.cli.group import htcdask

__all__ = ["answers"]

# What makes each shell ask for words that go on as the line does.
ASKS = {
    "bash": 'COMP_WORDS=({line}); COMP_CWORD={last}; _htcdask_completion htcdask; echo "${{COMPREPLY[@]}}"',
    "zsh": (  # as its line editor does, which is not there
        'compadd() {{ :; }}; _describe() {{ print -l "${{(P@)3}}"; }}\n'
        "words=({line}); CURRENT=$(({last} + 1)); _htcdask_completion"
    ),
    "fish": 'complete -C "{line}"',
}
SOURCES = {
    "bash": 'eval "$(htcdask completion bash)"',
    "zsh": 'autoload -U compinit; compinit -D; eval "$(htcdask completion zsh)"',
    "fish": "htcdask completion fish | source",
}
BEGINS = {
    "bash": "_htcdask_completion() {",
    "zsh": "#compdef htcdask",
    "fish": "function _htcdask_completion;",
}
REGISTERS = {
    "bash": "complete -o nosort -F _htcdask_completion htcdask",
    "zsh": "compdef _htcdask_completion htcdask",
    "fish": 'complete --no-files --command htcdask --arguments "(_htcdask_completion)"',
}


def completed(shell: str, line: str) -> list[list[str]]:
    """Type, help and value of each, as the shell's function is given them."""
    words = line.split(" ")
    current = words[-1] if shell == "fish" else str(len(words) - 1)
    asked = {"COMP_WORDS": line, "COMP_CWORD": current, "_HTCDASK_COMPLETE": f"{shell}_complete"}
    output = CliRunner().invoke(htcdask, prog_name="htcdask", env=asked).output
    if shell == "bash":
        return [one.split(",") for one in output.splitlines()]
    if shell == "fish":
        return [one.replace("\t", ",").split(",") for one in output.splitlines()]
    lines = output.splitlines()
    return [lines[start : start + 3] for start in range(0, len(lines), 3)]


@pytest.mark.parametrize("shell", BEGINS)
def test_what_is_printed(shell: str) -> None:
    ran = CliRunner().invoke(htcdask, ["completion", shell])
    assert ran.exit_code == 0
    assert ran.output.strip().startswith(BEGINS[shell])
    assert REGISTERS[shell] in ran.output
    assert f"_HTCDASK_COMPLETE={shell}_complete" in ran.output


@pytest.mark.parametrize("shell", BEGINS)
def test_what_is_completed(answers: Answers, shell: str) -> None:
    [found] = completed(shell, "htcdask sc")
    assert found[:2] == ["plain", "scale"]
    assert "--tail" in completed(shell, "htcdask logs --ta")[0][1]
    assert {one[1] for one in completed(shell, "htcdask completion ")} == {"bash", "zsh", "fish"}
    serve(answers, NAME)
    [found] = completed(shell, f"htcdask workers --address {answers.url} 01")
    assert found[:2] == ["plain", NAME]
    assert not [
        one for one in completed(shell, "htcdask workers --address http://127.0.0.1:9 01") if any(one)
    ]


@pytest.mark.parametrize("shell", ASKS)
def test_in_the_shell_itself(tmp_path: Path, shell: str) -> None:
    if not (program := shutil.which(shell)):
        pytest.skip(f"there is no {shell} here")
    command = tmp_path / "htcdask"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m htcdaskgateway "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    script = f"{SOURCES[shell]}\n{ASKS[shell].format(line='htcdask sca', last=1)}\n"
    ran = subprocess.run(
        [program, "-c", script], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert ran.stderr == ""
    assert "scale" in ran.stdout
    assert "shutdown" not in ran.stdout
