"""What a shell script would do to variables, as far as that can be told without running it.

The scripts are those that set a container's environment: assignments, and conditions around them. What is
not understood changes nothing and is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from htcdaskgateway.images.shell_commands import OTHER_CODE, Commands, ScriptEndsError, Variables
from htcdaskgateway.images.shell_conditions import Truth, both, negated
from htcdaskgateway.images.shell_words import REDIRECTION, UNKNOWN, NotUnderstoodError, TooMuchError, split

_OPERATORS = {"\n", ";", ";;", "&", "&&", "|", "||", "(", ")"}
_LOOPS = {"for", "while", "until", "select", "case"}
_MAX_BLOCKS = 100  # one in another
_ENDS = {"fi", "done", "esac", "}", ")"}


@dataclass
class _Block:
    end: str
    outer: Truth  # whether what it stands in is run
    runs: Truth
    taken: Truth = False  # whether one of an `if`'s branches was
    function: bool = False


class Shell(Variables):
    """Reads scripts one after another."""

    @property
    def is_spent(self) -> bool:
        """Whether nothing more is read."""
        return min(self.budget.words, self.budget.characters) < 0

    def source(self, script: str, name: str) -> None:
        """Take in a script; ``name`` is what notes call it."""
        try:
            if UNKNOWN in script:
                raise NotUnderstoodError("it is no text")
            _Run(self, name).commands(list(split(script, self.budget)))
        except ScriptEndsError:
            pass
        except TooMuchError as error:
            self.notes.append(f"{name} is not read to its end, {error}")
        except NotUnderstoodError as error:
            if _mentions(script, self.matters):
                self.notes.append(f"{name} is not understood, {error}")


def _mentions(script: str, names: frozenset[str]) -> bool:
    words = set(re.findall(r"[A-Za-z0-9_.]+", script))
    return bool(words & (names | OTHER_CODE)) or UNKNOWN in script


class _Run:
    def __init__(self, shell: Shell, name: str) -> None:
        self.simple = Commands(shell, name)
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
                self._begin(_Block(")", self._runs(before), False))
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
            return both(runs, self.status)
        return both(runs, negated(self.status)) if before == "||" else runs

    def _command(self, words: list[str], before: str, after: str) -> None:
        runs, inverted = self._runs(before), False
        at = 0
        while at < len(words):
            first = words[at]
            block = self.blocks[-1]
            if first in _ENDS:
                self._end(first, after)
                return
            if first in ("then", "else", "elif") and block.end == "fi":
                self._branch(first, block)
                runs = block.runs
            elif first == "if":
                self._begin(_Block("fi", runs, runs))
            elif first == "{":
                runs = both(runs, None) if self.defines else runs  # it may be called, or not
                self._begin(_Block("}", runs, runs, function=self.defines))
                self.defines = False
            elif first in _LOOPS:
                self._begin(_Block("esac" if first == "case" else "done", runs, both(runs, None)))
                if first in ("for", "select", "case"):
                    return
                runs = self.blocks[-1].runs
            elif first == "!":
                inverted = not inverted
            elif first != "do":
                break
            at += 1
        words = words[at:]
        if not words or runs is False:
            return
        if self.defines or words[0] == "function":
            raise NotUnderstoodError("it has an unusual function")
        # A part of a pipeline is a subshell.
        self.status = None if "|" in (before, after) or after == "&" else self._simple(words, runs)
        if runs is None:
            self.status = None
        elif inverted:
            self.status = negated(self.status)

    def _begin(self, block: _Block) -> None:
        if len(self.blocks) > _MAX_BLOCKS:
            raise NotUnderstoodError("it nests too deeply")
        self.blocks.append(block)

    def _branch(self, word: str, block: _Block) -> None:
        if word != "then":
            block.runs = both(block.outer, negated(block.taken))
            return
        block.runs = both(both(block.outer, negated(block.taken)), self.status)
        if block.taken is not True and self.status is not False:
            block.taken = self.status

    def _end(self, word: str, after: str) -> None:
        if self.blocks[-1].end != word or after == "|":
            raise NotUnderstoodError(f"it has an unexpected {word}")
        self.blocks.pop()
        self.status = None

    def _simple(self, words: list[str], runs: Truth) -> Truth:
        return self.simple.do(words, runs, in_function=any(block.function for block in self.blocks))
