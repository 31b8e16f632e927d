"""Which Python a command of the container runs: found by PATH and by the script's first lines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from htcdaskgateway.images.environment import is_mounted
from htcdaskgateway.images.files import ImageFiles
from htcdaskgateway.images.shell_words import UNKNOWN, Budget, NotUnderstoodError, expand, split

# Where images have a Python that their PATH may lack: an image unpacked without its settings.
USUAL_PLACES = (
    "/opt/conda/bin",
    "/usr/local/bin",
    "/opt/venv/bin",
    "/venv/bin",
    "/opt/python/bin",
    "/usr/bin",
)

_BEGINNING = 4096  # bytes of a script
_MAX_SCRIPT = 65536  # a larger file is a program; reading one may fetch all of it over the network
_MAX_SCRIPTS = 5  # one that starts another
_LINES = 20
_PYTHON = re.compile(r"(?:platform-)?python[0-9.]*t?[dm]*")
_VERSIONED = re.compile(r"(?:platform-)?python[0-9]+\.[0-9]+t?[dm]*")
_SHELL = re.compile(r"(?:ba|da|a|z|k)?sh")


@dataclass(frozen=True)
class Program:
    """A Python and how it was found.

    Attributes
    ----------
    path : str
        As the container would start it; perhaps a link.
    notes : tuple of str
    command : str
        Where the command is; empty: not in PATH.
    is_guess : bool
        How the command starts is not understood, and this is one of several Pythons.
    cannot_start : bool
        The command's first line names a program that is not there.
    """

    path: str
    notes: tuple[str, ...] = ()
    command: str = ""
    is_guess: bool = False
    cannot_start: bool = False


def find_python(files: ImageFiles, path: Sequence[str], command: str = "dask") -> Program | None:
    """Find the Python that runs a command, or else ``python3`` or ``python``.

    Parameters
    ----------
    files : ImageFiles
    path : sequence of str
        The directories of PATH.
    command : str, optional
        A name, or an absolute path in the image.

    Returns
    -------
    Program or None
        None: there is no Python.
    """
    notes = []
    cannot_start = False
    if script := which(files, path, command):
        found, note = _started(files, path, script, command)
        if not note:
            return Program(found, command=script)
        notes.append(note)
        cannot_start = not found and _lacks_interpreter(files, script)
    else:
        notes.append(absent(command))
    for places in (path, USUAL_PLACES):
        for name in ("python3", "python"):
            if found := which(files, places, name):
                if places is USUAL_PLACES:
                    notes.append(f"{found} is not in its PATH")
                started, note = _started(files, path, found, command)
                is_guess = bool(script) and not cannot_start and _has_several(files, path)
                said = tuple([*notes, note] if note else notes)
                return Program(started or found, said, script, is_guess, cannot_start)
    return None


def absent(command: str) -> str:
    """Say that the image has no such program."""
    return f"there is no {command}" if "/" in command else f"there is no {command} in its PATH"


def _lacks_interpreter(files: ImageFiles, script: str) -> bool:
    """Whether the system itself could not start the script, whatever happens before."""
    interpreter, _ = _first_line(files.read(script, _BEGINNING).decode("utf-8", "surrogateescape"))
    is_python = _PYTHON.fullmatch(interpreter.rpartition("/")[2].rstrip("\r"))
    if not is_python or not interpreter.startswith("/") or files.is_program(interpreter):
        return False
    return not any(is_mounted(place) for place in files.way(interpreter))


def _first_line(text: str) -> tuple[str, str]:
    """Give the interpreter and its argument, as the kernel does: only blanks and tabs are between them."""
    line = text.partition("\n")[0]
    if not line.startswith("#!"):
        return "", ""
    words = re.split(r"[ \t]+", line[2:].strip(" \t"), maxsplit=1)
    return words[0], "".join(words[1:])


def _has_several(files: ImageFiles, path: Sequence[str]) -> bool:
    places = (
        f"{directory.rstrip('/')}/{name}"
        for directory in (*path, *USUAL_PLACES)
        for name in ("python3", "python")
    )
    return len({files.resolve(place) for place in places if files.is_program(place)}) > 1


def _started(files: ImageFiles, path: Sequence[str], program: str, command: str) -> tuple[str, str]:
    """Follow scripts to the Python that runs them, or say why not."""
    for _ in range(_MAX_SCRIPTS):
        real = files.resolve(program)
        if _VERSIONED.fullmatch(real.rpartition("/")[2]):
            return program, ""
        if files.size(real) > _MAX_SCRIPT or not files.read(real, 2).startswith(b"#!"):
            is_python = _PYTHON.fullmatch(program.rpartition("/")[2])
            return (program, "") if is_python else ("", f"{_shown(program)} is no script of Python")
        interpreter = _interpreter(files, path, program, command)
        if not interpreter:
            return "", f"how {_shown(program)} starts is not understood"
        if not files.is_program(interpreter):
            return "", f"{_shown(program)} needs {_shown(interpreter)}, which is not there"
        program = interpreter
    return "", f"{_shown(program)} is started by too many scripts"


def which(files: ImageFiles, path: Sequence[str], name: str) -> str:
    """Give the first program of this name in these directories, or nothing; a path is itself."""
    if "/" in name:
        return name if name.startswith("/") and files.is_program(name) else ""
    places = (f"{directory.rstrip('/')}/{name}" for directory in path)
    return next((place for place in places if files.is_program(place)), "")


def _interpreter(files: ImageFiles, path: Sequence[str], script: str, command: str) -> str:
    text = files.read(script, _BEGINNING).decode("utf-8", "surrogateescape")
    program, argument = _first_line(text)
    name = program.rpartition("/")[2]
    if _PYTHON.fullmatch(name.rstrip("\r")):
        return program if program.startswith("/") else ""
    if name == "env" and not argument.endswith("\r"):
        started = next((word for word in _arguments(argument) if word[0] != "-" and "=" not in word), "")
        return _in_path(files, path, started)
    if _SHELL.fullmatch(name):
        found = set(_executed(files, path, script, text.split("\n")[1:_LINES], command))
        return found.pop() if len(found) == 1 else ""  # one of several depends on what is not known here
    return ""


def _arguments(text: str) -> list[str]:
    try:
        return [word for word in shlex.split(text) if word]
    except ValueError:
        return []


def _executed(
    files: ImageFiles, path: Sequence[str], script: str, lines: list[str], command: str
) -> Iterator[str]:
    """Give what ``exec python …`` in a shell script runs, also where Python reads the same file.

    A script may also execute the command itself, where it really is.
    """
    budget = Budget()
    for line in lines:
        try:
            words = list(split(line, budget))
            if "exec" in words[1:]:  # after a condition, which is not followed
                yield ""
            if len(words) < 2 or expand(words[0], {}, budget) != "exec":
                continue
            program = expand(words[1], {}, budget)
        except NotUnderstoodError:
            continue
        if program.startswith(UNKNOWN) and re.search(r"dirname.*\$0", words[1]):
            own = files.resolve(script) if re.search("realpath|readlink", words[1]) else script
            program = own.rpartition("/")[0] + program[1:]
        name = program.rpartition("/")[2]
        if UNKNOWN not in program and (name == command.rpartition("/")[2] or _PYTHON.fullmatch(name)):
            yield _in_path(files, path, program)


def _in_path(files: ImageFiles, path: Sequence[str], program: str) -> str:
    if "/" in program:
        return program if program.startswith("/") else ""
    return which(files, path, program) if _PYTHON.fullmatch(program) else ""


def _shown(path: str) -> str:
    return repr(path if len(path) <= 120 else f"{path[:120]}…")
