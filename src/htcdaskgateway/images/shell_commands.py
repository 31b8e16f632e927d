"""What the simple commands of a shell script do to variables: assignments, ``export``, ``unset``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile

from htcdaskgateway.images import shell_conditions
from htcdaskgateway.images.shell_conditions import Truth
from htcdaskgateway.images.shell_words import UNKNOWN, Budget, NotUnderstoodError, expand

OTHER_CODE = {".", "source", "eval", "conda", "mamba", "micromamba", "module", "ml"}

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=(.*)", re.DOTALL)
_DEFAULT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*):?=")
_DECLARATIONS = {"export", "readonly", "declare", "typeset", "local"}


_MOST_NOTES = 50
_LONGEST = 80  # characters of a script in a note


class ScriptEndsError(Exception):
    """The script does nothing after this command."""


@dataclass
class Variables:
    """What scripts have made of a shell's variables.

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
    budget : Budget
        How much more is read.
    """

    is_there: Callable[[str, str], Truth]
    matters: frozenset[str]
    variables: dict[str, str] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)


class Commands:
    """The simple commands of one script.

    Parameters
    ----------
    shell : Variables
        What they change.
    name : str
        What notes call the script.
    """

    def __init__(self, shell: Variables, name: str) -> None:
        self.shell, self.name = shell, name

    def do(self, words: list[str], runs: Truth, *, in_function: bool) -> Truth:
        """Do one command, for sure or, where ``runs`` is None, perhaps; gives its status.

        Raises
        ------
        NotUnderstoodError
        ScriptEndsError
        """
        prefixes = len(list(takewhile(("command", "builtin").__contains__, words)))
        words = words[prefixes:]
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
        if name in OTHER_CODE:
            self._note(f"runs {_shown(words)}, which is not followed")
        elif name in ("return", "exit") and not in_function:
            if runs is None:
                raise NotUnderstoodError("it may end early")
            if name == "exit":  # of the shell that would start the command: the scripts are sourced
                self._note(f"has {_shown(words)}, which ends the container's start")
            raise ScriptEndsError
        elif name in ("[", "[[", "test"):
            shell = self.shell
            if runs:
                return shell_conditions.holds(name, arguments, shell.variables, shell.is_there, shell.budget)
            return None
        return False if name == "false" else None

    def _declare(self, kind: str, words: list[str], runs: Truth) -> None:
        for word in words:
            found = _ASSIGNMENT.fullmatch(word)
            if found:
                self._assign(word, runs)
            elif not re.fullmatch(r"\w+", word):
                self._note(f"has {_shown([kind, word])}, which is not understood")
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
        added = expand(value, self.shell.variables, self.shell.budget)
        self.shell.variables[name] = (self.shell.variables.get(name, "") if plus else "") + added

    def _set_defaults(self, word: str, runs: Truth) -> None:
        for found in _DEFAULT.finditer(word):
            if runs:
                expand(word, self.shell.variables, self.shell.budget)
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
        if name in self.shell.matters:
            self._note(f"has {_shown([words])}, which depends on what is not known here")
        else:
            self.shell.variables[name] = UNKNOWN

    def _note(self, what: str) -> None:
        if len(self.shell.notes) < _MOST_NOTES:
            self.shell.notes.append(f"{self.name} {what}")


def _shown(words: list[str]) -> str:
    text = " ".join(word[: _LONGEST + 1] for word in words[: _LONGEST + 1])
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
