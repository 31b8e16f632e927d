"""What a shell script would do to variables, as far as that can be told without running it.

The scripts are those that set a container's environment: assignments, and conditions around them. What is
not understood changes nothing and is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile

from htcdaskgateway.images.shell_words import REDIRECTION, UNKNOWN, NotUnderstoodError, expand, split

Truth = bool | None  # None: cannot be known here

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=(.*)", re.DOTALL)
_DEFAULT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*):?=")
_OPERATORS = {"\n", ";", ";;", "&", "&&", "|", "||", "(", ")"}
_DECLARATIONS = {"export", "readonly", "declare", "typeset", "local"}
_OTHER_CODE = {".", "source", "eval", "conda", "mamba", "micromamba", "module", "ml"}
_LOOPS = {"for", "while", "until", "select", "case"}
_ENDS = {"fi", "done", "esac", "}", ")"}
_ABOUT_FILES = {"-d", "-e", "-f", "-r", "-x"}


@dataclass
class _Block:
    end: str
    outer: Truth  # whether what it stands in is run
    runs: Truth
    taken: Truth = False  # whether one of an `if`'s branches was
    function: bool = False


class _ScriptEndsError(Exception):
    pass


@dataclass
class Shell:
    """Reads scripts one after another.

    Attributes
    ----------
    is_there : callable
        Whether ``[ -d path ]`` and its like hold in the container; None where that cannot be known.
    matters : set of str
        Variables of which is said when a script may have changed them.
    variables : dict of str to str
        Parts that are not known are `UNKNOWN`.
    exported : set of str
    notes : list of str
        What was left out.
    """

    is_there: Callable[[str, str], Truth]
    matters: frozenset[str]
    variables: dict[str, str] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def source(self, script: str, name: str) -> None:
        """Take in a script; ``name`` is what notes call it."""
        try:
            if UNKNOWN in script:
                raise NotUnderstoodError("it is no text")
            _Run(self, name).commands(list(split(script)))
        except _ScriptEndsError:
            pass
        except NotUnderstoodError as error:
            if _mentions(script, self.matters):
                self.notes.append(f"{name} is not understood, {error}")


def _mentions(script: str, names: frozenset[str]) -> bool:
    words = set(re.findall(r"[A-Za-z0-9_.]+", script))
    return bool(words & (names | _OTHER_CODE)) or UNKNOWN in script


class _Run:
    def __init__(self, shell: Shell, name: str) -> None:
        self.shell, self.name = shell, name
        self.blocks: list[_Block] = [_Block("", True, True)]
        self.status: Truth = True
        self.defines = False  # the next block is a function

    def commands(self, marks: list[str]) -> None:
        words: list[str] = []
        before, at = "\n", 0
        while at <= len(marks):
            mark = marks[at] if at < len(marks) else "\n"
            at += 1
            if mark == REDIRECTION:
                if "[[" in words:
                    raise NotUnderstoodError("it compares with < or >")
                at += 1  # the file
            elif mark not in _OPERATORS:
                words.append(mark)
            elif mark == "(" and words:
                if marks[at : at + 1] != [")"] or len(words) > 1:
                    raise NotUnderstoodError("it has a list in parentheses")
                self.defines, words, at = True, [], at + 1
            elif mark == "(":
                # What a subshell sets ends with it.
                self.blocks.append(_Block(")", self._runs(before), False))
                before = "\n"
            else:
                if words:
                    self._command(words, before, mark)
                if mark == ")" and self.blocks[-1].end != "esac":
                    self._end(")", marks[at] if at < len(marks) else "\n")
                if words or mark not in "\n":
                    before = mark
                words = []
        if len(self.blocks) > 1:
            raise NotUnderstoodError(f"a {self.blocks[-1].end} is missing")

    def _runs(self, before: str) -> Truth:
        runs = self.blocks[-1].runs
        if before == "&&":
            return _both(runs, self.status)
        return _both(runs, _not(self.status)) if before == "||" else runs

    def _command(self, words: list[str], before: str, after: str) -> None:
        runs, negated = self._runs(before), False
        while words:
            first, rest = words[0], words[1:]
            block = self.blocks[-1]
            if first in _ENDS:
                self._end(first, after)
                return
            if first in ("then", "else", "elif") and block.end == "fi":
                self._branch(first, block)
                runs = block.runs
            elif first == "if":
                self.blocks.append(_Block("fi", runs, runs))
            elif first == "{":
                runs = _both(runs, None) if self.defines else runs  # it may be called, or not
                self.blocks.append(_Block("}", runs, runs, function=self.defines))
                self.defines = False
            elif first in _LOOPS:
                self.blocks.append(_Block("esac" if first == "case" else "done", runs, _both(runs, None)))
                if first in ("for", "select", "case"):
                    return
                runs = self.blocks[-1].runs
            elif first == "!":
                negated = not negated
            elif first != "do":
                break
            words = rest
        if not words or runs is False:
            return
        if self.defines or words[0] == "function":
            raise NotUnderstoodError("it has an unusual function")
        # A part of a pipeline is a subshell.
        self.status = None if "|" in (before, after) or after == "&" else self._simple(words, runs)
        if runs is None:
            self.status = None
        elif negated:
            self.status = _not(self.status)

    def _branch(self, word: str, block: _Block) -> None:
        if word != "then":
            block.runs = _both(block.outer, _not(block.taken))
            return
        block.runs = _both(_both(block.outer, _not(block.taken)), self.status)
        if block.taken is not True and self.status is not False:
            block.taken = self.status

    def _end(self, word: str, after: str) -> None:
        if self.blocks[-1].end != word or after == "|":
            raise NotUnderstoodError(f"it has an unexpected {word}")
        self.blocks.pop()
        self.status = None

    def _simple(self, words: list[str], runs: Truth) -> Truth:
        """Do one command, for sure or, where ``runs`` is None, perhaps."""
        while words and words[0] in ("command", "builtin"):
            words = words[1:]
        count = len(list(takewhile(_ASSIGNMENT.fullmatch, words)))
        name, arguments = (words[count], words[count + 1 :]) if count < len(words) else ("", [])
        if not name:
            for word in words:
                self._assign(word, runs)
            return None if any("$(" in word or "`" in word for word in words) else True
        if count and name in {":", "unset", "return", "exit", "eval", ".", *_DECLARATIONS}:
            raise NotUnderstoodError("shells differ in what it means")
        if name not in _DECLARATIONS:
            for word in words:
                self._set_defaults(word, runs)
        if name in _DECLARATIONS:
            self._declare(name, [word for word in arguments if not word.startswith("-")], runs)
            return True
        if name == "unset":
            for argument in arguments:
                self._unset(argument, runs)
            return True
        if name in (":", "true"):
            return True
        if name in _OTHER_CODE:
            self.shell.notes.append(f"{self.name} runs {_shown(words)}, which is not followed")
        elif name in ("return", "exit") and not any(block.function for block in self.blocks):
            if runs is None:
                raise NotUnderstoodError("it may end early")
            if name == "exit":  # of the shell that would start the command: the scripts are sourced
                self.shell.notes.append(f"{self.name} has {_shown(words)}, which ends the container's start")
            raise _ScriptEndsError
        elif name in ("[", "[[", "test"):
            return self._test(name, arguments) if runs else None
        return False if name == "false" else None

    def _declare(self, kind: str, words: list[str], runs: Truth) -> None:
        for word in words:
            found = _ASSIGNMENT.fullmatch(word)
            if found:
                self._assign(word, runs)
            elif not re.fullmatch(r"\w+", word):
                self.shell.notes.append(f"{self.name} has {_shown([kind, word])}, which is not understood")
            if kind == "export" and runs:
                self.shell.exported.add(found.group(1) if found else word)

    def _assign(self, word: str, runs: Truth) -> None:
        found = _ASSIGNMENT.fullmatch(word)
        if not found:
            raise NotUnderstoodError(f"it has {_shown([word])}")
        name, plus, value = found.groups()
        if not runs:
            self._lose(name, word)
            return
        added = expand(value, self.shell.variables)
        self.shell.variables[name] = (self.shell.variables.get(name, "") if plus else "") + added

    def _set_defaults(self, word: str, runs: Truth) -> None:
        for found in _DEFAULT.finditer(word):
            if runs:
                expand(word, self.shell.variables)
                return
            self._lose(found.group(1), word)

    def _unset(self, name: str, runs: Truth) -> None:
        if not runs:
            self._lose(name, f"unset {name}")
            return
        self.shell.variables.pop(name, None)
        self.shell.exported.discard(name)

    def _lose(self, name: str, words: str) -> None:
        """A variable is perhaps set."""
        if name not in self.shell.matters:
            self.shell.variables[name] = UNKNOWN
            return
        self.shell.notes.append(f"{self.name} has {_shown([words])}, which depends on what is not known here")

    def _test(self, name: str, words: list[str]) -> Truth:
        if name != "test":
            if words[-1:] != [{"[": "]", "[[": "]]"}[name]]:
                return None  # [[ a && b ]]
            words = words[:-1]
        values = []
        for word in words:
            value = expand(word, self.shell.variables)
            if name != "[[" and not re.search(r"['\"]", word):
                if re.search(r"\s", value):
                    return None  # several words
                if not value:
                    continue  # no word at all
            values.append(value)
        return self._holds(values)

    def _holds(self, values: list[str]) -> Truth:
        if any(UNKNOWN in value or value in ("-a", "-o", "(", "&&", "||") for value in values):
            return None
        if len(values) < 2:
            return bool(values and values[0])
        if len(values) == 3 and values[1] in ("=", "==", "!="):
            pattern = re.search(r"[*?\[\\]", values[2])
            return None if pattern else (values[0] == values[2]) == (values[1] != "!=")
        if values[0] == "!":
            return _not(self._holds(values[1:]))
        if len(values) == 2 and values[0] in ("-z", "-n"):
            return bool(values[1]) == (values[0] == "-n")
        if len(values) == 2 and values[0] in _ABOUT_FILES:
            return self.shell.is_there(values[0], values[1])
        return None


def _both(one: Truth, other: Truth) -> Truth:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _not(one: Truth) -> Truth:
    return None if one is None else not one


def _shown(words: list[str]) -> str:
    text = " ".join(words)
    return repr(text if len(text) <= 80 else f"{text[:80]}…")
