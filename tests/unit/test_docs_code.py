"""Code in the documentation can be read by what it is for, and the doctests of the package run."""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import re
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from docs._ext.error_pages import modules
from tests.unit.test_docs import PAGES

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def python(code: str) -> None:
    """Compile; a notebook's cell may await."""
    compile(code, "<page>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def doctest_sources(code: str) -> list[str]:
    """Give what is typed at Python's prompt."""
    return [example.source for example in doctest.DocTestParser().get_examples(code)]


def session(code: str) -> None:
    """Compile what is typed at Python's prompt."""
    typed = doctest_sources(code)
    assert typed, "nothing is typed"
    for source in typed:
        python(source)


def shell(code: str) -> None:
    """Let bash read it, without running any of it."""
    read = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True, timeout=30, check=False)
    assert not read.returncode, read.stderr


def console(text: str) -> None:
    """Let bash read the commands: what follows a prompt, with the lines that they go on in."""
    commands = re.findall(r"^[$#] ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert commands, "no command"
    shell("\n".join(commands))


def documents(text: str) -> None:
    assert list(yaml.safe_load_all(text))


READ: dict[str, Callable[[str], object]] = {
    "bash": shell, "console": console, "json": json.loads, "pycon": session, "python": python, "sh": shell,
    "yaml": documents,
}  # fmt: skip


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Give language and content of each block of code."""
    for _, language, content in _BLOCK.findall(text):
        yield language, textwrap.dedent(content)


def unreadable(text: str) -> list[str]:
    """Give the blocks that cannot be read, each with the reason."""
    found = []
    for language, content in blocks(text):
        try:
            READ.get(language, str)(content)
        except (SyntaxError, ValueError, AssertionError, yaml.YAMLError) as error:
            found.append(f"{error}\n{content}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_can_be_read(page: Path) -> None:
    assert unreadable(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("language", "content"),
    [
        ("python", "cluster.scale(3"),
        ("pycon", ">>> cluster.scale(3\n"),
        ("pycon", "cluster.scale(3)"),
        ("console", '$ echo "a'),
        ("console", "echo a"),
        ("bash", "if true; then"),
        ("yaml", "a: [b"),
        ("json", "{a}"),
    ],
)
def test_what_cannot_be_read_is_found(language: str, content: str) -> None:
    assert len(unreadable(f"Text\n\n```{language}\n{content}\n```\n")) == 1


def test_what_can_be_read() -> None:
    assert (
        unreadable("```console\n$ a \\\n  b\noutput (\n```\n  ```python\n  await a\n  ```\n```text\n(\n```\n")
        == []
    )
    assert len(list(blocks("```text\n(\n```\n  ```python\n  await a\n  ```\n"))) == 2


def doctests(module: ModuleType) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]


def test_doctests() -> None:
    tried = failed = 0
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for name in modules():
        for test in doctests(importlib.import_module(name)):
            result = runner.run(test, out=said.append)
            tried, failed = tried + result.attempted, failed + result.failed
    assert not failed, "".join(said)
    assert tried
