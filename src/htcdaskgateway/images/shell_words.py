"""The words of a shell script and what they stand for: a part of the language, and nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

UNKNOWN = "\0"  # stands in a value for what cannot be known here; no variable can hold it
REDIRECTION = "<>"  # all of them: the word after it is a file

MAX_NESTING = 20
MAX_VALUE = 65536  # characters: each line of a script may double one
MAX_WORDS = 20_000
MAX_CHARACTERS = 2**18  # that are looked at, each time
_CHEAPER = 16  # is a character of a value: it is copied only

_BLANK = re.compile(r"(?:[ \t]|\\\n)+|#[^\n]*")
_OPERATOR = re.compile(r"\n|;;|;|&&|\|\||\||&(?!>)|\(|\)")
_REDIRECTION = re.compile(r"\d*(?:&>>?|>>|>&|<&|>\||<>|<|>)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?)([-=+])(.*))?", re.DOTALL)


class NotUnderstoodError(Exception):
    """The script has something that is not read here."""


class TooMuchError(NotUnderstoodError):
    """A budget is spent."""


@dataclass
class Budget:
    """How much may still be read, of all scripts of an image: words and operators, and characters."""

    words: int = MAX_WORDS
    characters: int = MAX_CHARACTERS

    def spend(self, *, words: int = 0, characters: int = 0) -> None:
        self.words -= words
        self.characters -= characters
        if self.words < 0 or self.characters < 0:
            raise TooMuchError("there is too much of it")


def split(script: str, budget: Budget) -> Iterator[str]:
    """Split a script into words, still quoted, and operators.

    Raises
    ------
    NotUnderstoodError
    """
    at, start = 0, True
    while at < len(script):
        if (blank := _BLANK.match(script, at)) and (start or not blank.group().startswith("#")):
            at, start = blank.end(), True
            continue
        if script.startswith("<<", at):
            raise NotUnderstoodError("it has a here-document")
        budget.spend(words=1)
        if found := _OPERATOR.match(script, at):
            yield found.group()
            at, start = found.end(), True
        elif found := _REDIRECTION.match(script, at):
            yield REDIRECTION
            at, start = found.end(), True
        else:
            end = at
            while end < len(script) and script[end] not in " \t\n;&|()<>":
                end = _piece_end(script, end, budget)
            if end == at:
                raise NotUnderstoodError(f"it has {script[at : at + 2]!r}")
            yield script[at:end]
            at, start = end, False


def expand(word: str, variables: dict[str, str], budget: Budget) -> str:
    """Give what a word stands for, without its quotes; it may set variables, as ``${X:=y}`` does.

    Parameters
    ----------
    word : str
        As `split` gives it.
    variables : dict of str to str
        What is not in it is not set.
    budget : Budget

    Raises
    ------
    NotUnderstoodError
    """
    value = "".join(_pieces(word, variables, budget, quoted=False, depth=0))
    return value if len(value) <= MAX_VALUE else UNKNOWN


def _pieces(
    text: str, variables: dict[str, str], budget: Budget, *, quoted: bool, depth: int
) -> Iterator[str]:
    at, size = 0, 0
    while at < len(text):
        end = _piece_end(text, at, budget, quoted=quoted, depth=depth)
        piece = text[at:end]
        value = _value(piece, variables, budget, quoted=quoted, depth=depth)
        if piece == "~" and not quoted and (at == 0 or text[at - 1] in ":="):
            value = UNKNOWN
        size += len(value)
        budget.spend(characters=len(value) // _CHEAPER)
        if size > MAX_VALUE:
            yield UNKNOWN
            return
        yield value
        at = end


def _value(piece: str, variables: dict[str, str], budget: Budget, *, quoted: bool, depth: int) -> str:
    if piece.startswith("\\"):
        follows = piece[1:]
        if follows == "\n":
            return ""
        return piece if quoted and follows not in tuple('$`"\\') else follows
    if piece.startswith("'") and not quoted:
        return piece[1:-1]
    if piece.startswith('"'):
        return "".join(_pieces(piece[1:-1], variables, budget, quoted=True, depth=depth + 1))
    if piece.startswith("${"):
        return _parameter(piece[2:-1], variables, budget, quoted=quoted, depth=depth + 1)
    if piece.startswith("`") or (piece.startswith("$") and len(piece) > 1 and not _NAME.match(piece, 1)):
        return UNKNOWN
    return variables.get(piece[1:], "") if piece.startswith("$") and len(piece) > 1 else piece


def _parameter(text: str, variables: dict[str, str], budget: Budget, *, quoted: bool, depth: int) -> str:
    found = _PARAMETER.fullmatch(text)
    if not found:
        return UNKNOWN  # ${X%y}, ${X/y/z}, ${#X}
    name, colon, operator, word = found.groups()
    value = variables.get(name, "")
    if UNKNOWN in value:
        return value if operator != "+" else UNKNOWN
    is_set = name in variables and not (colon and not value)
    if not operator or is_set != (operator == "+"):
        return value if operator != "+" else ""
    value = "".join(_pieces(word, variables, budget, quoted=quoted, depth=depth))
    if operator == "=":
        variables[name] = value
    return value


def _piece_end(text: str, at: int, budget: Budget, *, quoted: bool = False, depth: int = 0) -> int:
    """Give the index after the character, the quoted text or the expansion that begins here."""
    if depth > MAX_NESTING:
        raise NotUnderstoodError("it nests too deeply")
    budget.spend(characters=1)
    if text[at] == "\\":
        return min(at + 2, len(text))
    if text[at] == "'" and not quoted:
        return _end(text, at + 1, "'", budget, depth, plain=True)
    if text[at] == '"':
        return _end(text, at + 1, '"', budget, depth, quoted=True)
    if text[at] == "`":
        return _end(text, at + 1, "`", budget, depth, quoted=True)
    if text.startswith("${", at):
        return _end(text, at + 2, "}", budget, depth, quoted=quoted)
    if text.startswith("$(", at):
        return _end(text, at + 2, ")", budget, depth)
    if text.startswith(("$'", '$"'), at) and not quoted:
        raise NotUnderstoodError(f"it has {text[at : at + 2]}")
    if text[at] == "$" and at + 1 < len(text):
        name = _NAME.match(text, at + 1)
        return name.end() if name else at + 1 + (text[at + 1] in "0123456789@*#?-$!")
    return at + 1


def _end(
    text: str, at: int, closer: str, budget: Budget, depth: int, *, quoted: bool = False, plain: bool = False
) -> int:
    if plain:
        at = text.find(closer, at)
        if at >= 0:
            return at + 1
        raise NotUnderstoodError(f"a {closer} is missing")
    while at < len(text):
        if text[at] == closer:
            return at + 1
        if closer == ")" and text[at] == "(":
            at = _end(text, at + 1, ")", budget, depth + 1)
        else:
            at = _piece_end(text, at, budget, quoted=quoted, depth=depth + 1)
        if depth > MAX_NESTING:
            raise NotUnderstoodError("it nests too deeply")
    raise NotUnderstoodError(f"a {closer} is missing")
