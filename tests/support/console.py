"""Commands that a page of the documentation shows, to be run as a reader would."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
ANYBODY, ROOT = "$ ", "# "  # prompts


def commands(page: str, prompt: str = ANYBODY) -> Iterator[str]:
    """Give the commands of an account's console blocks, without what they print."""
    for block in CONSOLE.findall(page):
        begun = ""
        for line in block.splitlines():
            if begun:
                begun += f"\n{line}"
            elif line.startswith(prompt):
                begun = line.removeprefix(prompt)
            if begun and is_whole(begun):
                yield begun
                begun = ""
        assert not begun, f"a command without an end: {begun}"


def is_whole(command: str) -> bool:
    """Whether a shell would begin to run this: no quote, here-document or line is open."""
    if command.endswith("\\"):
        return False
    tried = subprocess.run(["bash", "-n", "-c", command], capture_output=True, check=False, timeout=10)
    return not (tried.returncode or tried.stderr)


def run(command: str, cwd: Path, environment: Mapping[str, str], deadline: float) -> str:
    """Run one in a shell; its standard output, all of its output in the error."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=deadline, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{command}\nended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
