"""What is Python on a page of the documentation, run in order; and whether it does what the page shows."""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```\n(?:\n?\1```text\n(.*?)^\1```$)?", re.DOTALL | re.MULTILINE)
_ERROR = re.compile(r"(?:[\w.]+\.)?([A-Z]\w+(?:Error|Warning)): ")
_SAME = re.compile(r"[\d.]+|\d+ tasks (?s:.*)")  # what a page shows and comes of it each time
CONFIGURATION = re.compile(r"^c\.", re.MULTILINE)
CLUSTER = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass(frozen=True)
class Piece:
    """Code, and what the page shows of it.

    Attributes
    ----------
    error : str
        Class of the error that it is to raise; empty: none.
    shows : str
        A single line that comes of it, where that is the same each time.
    """

    source: str
    error: str = ""
    shows: str = ""


def pieces(text: str) -> Iterator[Piece]:
    """Give the code of a page that a session runs: blocks, and what is typed at Python's prompt."""
    for indent, language, content, below in _BLOCK.findall(text):
        source = textwrap.dedent(content) if indent else content
        if language == "pycon":
            for example in doctest.DocTestParser().get_examples(source):
                shows = example.want.strip() if _SAME.fullmatch(example.want.strip()) else ""
                yield Piece(example.source, _error(example.want), shows)
        elif language == "python" and not CONFIGURATION.search(source):
            shows = below.strip() if _SAME.fullmatch(below.strip()) else ""
            yield Piece(source, _error(below), shows)


def _error(shown: str) -> str:
    found = _ERROR.match(shown)
    return found[1] if found and not found[1].endswith("Warning") else ""


def run(piece: Piece, names: dict[str, Any]) -> None:
    """Run it in these names, as a notebook would.

    Raises
    ------
    AssertionError
        It raises another error than the page shows, or none, or shows something else.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            value = _value(ast.parse(piece.source), names)
    except Exception as error:
        if type(error).__name__ != piece.error:
            raise AssertionError(f"{type(error).__name__}: {error}\nin\n{piece.source}") from error
        return
    assert not piece.error, f"no {piece.error} came of\n{piece.source}"
    shown = printed.getvalue() + ("" if value is None else repr(value))
    assert not piece.shows or piece.shows == shown.strip(), f"{shown!r} came of\n{piece.source}"


def _value(tree: ast.Module, names: dict[str, Any]) -> Any:
    """Run it; the value of the last expression, if it ends with one."""
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<page>", "exec", dont_inherit=True), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "<page>", "eval", dont_inherit=True), names)
