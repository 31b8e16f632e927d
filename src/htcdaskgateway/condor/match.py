"""Which machines a user wants their workers on: ``rank = EXPR`` or ``requirements = EXPR``. Pure.

An expression is taken word by word, so that it can end neither its line nor the parentheses that it is
put into: what the site requires is required all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from htcdaskgateway.errors import InvalidRequestError, shown

LONGEST = 1000
# Those that look at their arguments only: others read files, call programs or evaluate text.
FUNCTIONS = frozenset({
    "abs", "ceiling", "floor", "ifthenelse", "int", "isboolean", "iserror", "isinteger", "isreal", "isstring",
    "isundefined", "max", "member", "min", "pow", "real", "regexp", "round", "size", "strcat", "strcmp",
    "stricmp", "string", "stringlistimember", "stringlistmember", "substr", "time", "tolower", "toupper",
    "versioneq", "versionge", "versiongt", "versionle", "versionlt",
})  # fmt: skip
_ASSIGNMENT = re.compile(r"\s*(rank|requirements)\s*=(?![=?!])\s*(\S.*?)\s*", re.IGNORECASE | re.ASCII)
_WORD = re.compile(
    r"""
    (?P<space>[ ]+)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)
  | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
  | (?P<string>"(?:[A-Za-z0-9 _.,:;/@*+?^|()\[\]{}<>=!~%&#'-]|\$(?=["|)]))*")
  | (?P<operator>=\?=|=!=|\|\||&&|==|!=|<=|>=|[-<>+*/%!?:,(){}])
    """,
    re.VERBOSE | re.ASCII,
)
_CLOSES = {")": "(", "}": "{"}


@dataclass(frozen=True)
class MatchExpression:
    """What jobs say of machines.

    Attributes
    ----------
    command : str
        ``rank``: what they prefer; ``requirements``: what they insist on.
    expression : str
        A ClassAd expression in one piece.
    """

    command: str
    expression: str

    def __str__(self) -> str:
        return f"{self.command} = {self.expression}"

    @classmethod
    def parse(cls, text: object) -> MatchExpression:
        """Read ``rank = EXPR`` or ``requirements = EXPR``.

        Raises
        ------
        InvalidRequestError
            It is neither, or the expression is not one that can be put into a submit description.
        """
        match = _ASSIGNMENT.fullmatch(text) if isinstance(text, str) and len(text) <= LONGEST else None
        if match is None:
            given = shown(text) if isinstance(text, str) else repr(text)[:200]
            raise InvalidRequestError(
                f"node_match_expr={given} is neither 'rank = EXPRESSION' nor 'requirements = EXPRESSION'.",
                remedy="Such as node_match_expr='rank = (isDaskNode == True)'.",
            )
        if why := _why_not(match[2]):
            raise InvalidRequestError(f"node_match_expr={shown(match[0])} cannot be used: {why}.")
        return cls(match[1].lower(), match[2])

    def added_to(self, commands: Mapping[str, str]) -> dict[str, str]:
        """Give the site's submit commands with this one: its requirements hold too, its rank gives way."""
        site = {name: value for name, value in commands.items() if name.lower() == self.command}
        others = {name: value for name, value in commands.items() if name not in site}
        terms = [*site.values(), self.expression] if self.command == "requirements" else [self.expression]
        return {**others, self.command: " && ".join(f"({term})" for term in terms)}


def _why_not(expression: str) -> str:
    """Why it is no expression to be trusted; empty if it is one."""
    opened: list[str] = []
    at, name = 0, ""
    while at < len(expression):
        word = _WORD.match(expression, at)
        if word is None:
            return f"{expression[at : at + 20]!r} in it is not understood"
        text, at = word[0], word.end()
        if text in ("(", "{"):
            if name and name.lower() not in FUNCTIONS:
                return f"{name!r} is no function that it may call"
            opened.append(text)
        elif text in _CLOSES and (not opened or opened.pop() != _CLOSES[text]):
            return f"{text!r} closes nothing"
        if word.lastgroup != "space":
            name = text if word.lastgroup == "name" else ""
    return f"{opened[-1]!r} is not closed" if opened else ""
