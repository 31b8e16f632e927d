"""What is installed in an image: told by its own Python, where the image can be run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from htcdaskgateway.errors import shown
from htcdaskgateway.images.contents import ImageContents
from htcdaskgateway.images.errors import LONGEST, ImageUnusableError, printable
from htcdaskgateway.images.file_errors import words
from htcdaskgateway.images.packages import VERSION, normalized
from htcdaskgateway.images.python import absent

# As a worker is started: nothing of the caller's environment, and no packages of the caller's home.
_OPTIONS = ("--cleanenv", "--contain", "--no-home", "--pwd", "/")
_MARK = "htcdaskgateway-versions:"  # the image's own scripts may print before it
_MAX_SAID, _MAX_COMPLAINED = 4 * 2**20, 2**16  # bytes
_MAX_NOTES, _MAX_PATH, _CHUNK = 20, 4096, 65536
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
_LAST_LINES, _LAST_CHARACTERS = 3, 500

_START = "import sys; exec(sys.argv[1])"
# Runs in the image, under any Python since 3.8. `dask` may belong to another Python than `python3`.
_QUESTION = f"""
import json, os, platform, re, shutil, sys
from importlib.metadata import distributions
command = shutil.which(sys.argv[2])
if command and len(sys.argv) == 3:
    with open(command, "rb") as file:
        first = file.readline(4096).split() or [b""]
    python = os.fsdecode(first[0][2:]) if first[0].startswith(b"#!") else ""
    if re.match("python[0-9.]*$", os.path.basename(python)) and os.access(python, os.X_OK):
        os.execv(python, [python, "-c", {_START!r}, *sys.argv[1:], "again"])
found = {{}}
for one in distributions():
    name = one.metadata["Name"]
    if name and one.version:
        found.setdefault(name, one.version)
answer = {{"python": platform.python_version(), "executable": sys.executable}}
print({_MARK!r} + json.dumps({{**answer, "dask": bool(command), "found": found}}))
"""


def ask_image(
    path: str | Path,
    packages: Collection[str] | None = None,
    *,
    command: str = "dask",
    apptainer: str = "apptainer",
    timeout: float = 60.0,
) -> ImageContents:
    """Run the image's Python and ask it for its version and its packages.

    Parameters
    ----------
    path : str or Path
        The image path.
    packages : collection of str, optional
        Only these are given; without it, all.
    command : str, optional
        The program of the image whose Python it is: a name, or an absolute path.
    apptainer : str, optional
        The program.
    timeout : float, optional
        Seconds after which it is ended.

    Raises
    ------
    ImageUnusableError
        With the last words of Apptainer or of the image; also where it prints more than 4 MiB.
    """
    image = str(path)
    arguments = [apptainer, "exec", *_OPTIONS, image, "python3", "-c", _START, _QUESTION, command]
    said, complained = _run(arguments, image, timeout)
    answer = _answer(said)
    if answer is None:
        raise ImageUnusableError(image, f"its Python gives no answer: {_last_words(said, complained)}")
    wanted = None if packages is None else {normalized(name) for name in packages}
    versions = {"python": answer["python"]}
    notes = [] if answer["dask"] else [absent(command)]
    for name, version in sorted(answer["found"].items()):
        package = normalized(name)
        if not _NAME.fullmatch(package) or package == "python" or not (wanted is None or package in wanted):
            continue
        if _is_version(version):
            versions[package] = version
        else:
            notes.append(f"{package}: {shown(str(version), LONGEST)} is no version")
    executable, runs = printable(answer["executable"]), bool(answer["dask"])
    return ImageContents(image, versions["python"], executable, versions, tuple(notes[:_MAX_NOTES]), runs)


def _run(arguments: Sequence[str], image: str, timeout: float) -> tuple[str, str]:
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ImageUnusableError(
            image,
            f"the program {arguments[0]} cannot be started ({words(error)})",
            "Images can be run where Apptainer is installed; reading them needs nothing.",
        ) from error
    except ValueError as error:  # NUL in a path
        raise ImageUnusableError(image, str(error)) from error
    with process:
        ended = False
        try:
            said, complained = _read(process, image, timeout)
            ended = True
        except subprocess.TimeoutExpired as error:
            raise ImageUnusableError(image, f"its Python gave no answer in {timeout:g} s") from error
        finally:
            if not ended:  # what it started is ended as well
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
    return said.decode("utf-8", "replace"), complained.decode("utf-8", "replace")


def _read(process: subprocess.Popen[bytes], image: str, timeout: float) -> tuple[bytes, bytes]:
    """Give what it prints until it ends, as long as that is not too much, nor too late."""
    end = time.monotonic() + timeout
    said, complained = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, held, most in (
            (process.stdout, said, _MAX_SAID),
            (process.stderr, complained, _MAX_COMPLAINED),
        ):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, (held, most))
        while selector.get_map():
            left = end - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, timeout)
            for key, _ in selector.select(left):
                held, most = key.data
                chunk = os.read(key.fd, _CHUNK)
                held += chunk
                if not chunk:
                    selector.unregister(key.fileobj)
                elif len(held) > most:
                    raise ImageUnusableError(image, f"it prints too much, more than {most // 1024} KiB")
    process.wait(max(0.0, end - time.monotonic()))
    return bytes(said), bytes(complained)


def _answer(said: str) -> dict[str, Any] | None:
    lines = [line for line in said.splitlines() if line.startswith(_MARK)]
    try:
        answer = json.loads(lines[-1].removeprefix(_MARK)) if lines else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict) or not {"python", "executable", "dask", "found"} <= answer.keys():
        return None
    executable = answer["executable"]
    is_path = isinstance(executable, str) and len(executable) <= _MAX_PATH
    return answer if isinstance(answer["found"], dict) and is_path and _is_version(answer["python"]) else None


def _is_version(value: object) -> bool:
    return isinstance(value, str) and VERSION.fullmatch(value) is not None


def _last_words(said: str, complained: str) -> str:
    lines = [line for line in f"{said}\n{complained}".splitlines() if line.strip()][-_LAST_LINES:]
    return "; ".join(printable(line.strip()) for line in lines)[-_LAST_CHARACTERS:] or "it prints nothing"
