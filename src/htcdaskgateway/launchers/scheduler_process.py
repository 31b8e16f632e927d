"""Runs under the user's account, through the site's command prefix: starts, checks, stops a scheduler.

One request as JSON on standard input, one answer as JSON on standard output, so that nothing secret is
in an argument list and nothing needs quoting. Standard library only: it must run with any Python.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LOG = "scheduler.log"
IDENTITY = "process.json"
LOG_TAIL = 64 * 1024


def started(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, None if it has ended. With the pid it is unique.

    Source: proc(5), fields 3 and 22 of /proc/PID/stat; a zombie has ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def runs(process: Mapping[str, Any]) -> bool:
    # "started" is None where it had ended before it could be looked at
    return process.get("started") is not None and started(process["pid"]) == process["started"]


def identify(request: dict[str, Any]) -> dict[str, Any]:
    """The process that was started in a directory, also where the gateway ended before it heard of it."""
    if "pid" in request:
        return request
    try:
        return dict(json.loads((Path(request["directory"]) / IDENTITY).read_text()))
    except (OSError, ValueError):
        return {}


def start(request: dict[str, Any]) -> dict[str, Any]:
    directory = Path(request["directory"])
    directory.mkdir(mode=0o700)  # fails if anything is there: nobody prepared it for us
    try:
        for name, content in request["files"].items():
            file = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "w") as stream:
                stream.write(content)
        with os.fdopen(os.open(directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as log:
            process = subprocess.Popen(
                request["command"], cwd=directory, env={"TMPDIR": str(directory), **request["environment"]},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
    except OSError:
        shutil.rmtree(directory)
        raise
    identity = {"pid": process.pid, "started": started(process.pid)}
    (directory / IDENTITY).write_text(json.dumps(identity))
    process.returncode = 0  # it outlives us on purpose: no ResourceWarning
    return {**identity, "directory": str(directory)}


def check(request: dict[str, Any]) -> dict[str, Any]:
    return {"runs": runs(identify(request)), "log": tail(request)}


def stop(request: dict[str, Any]) -> dict[str, Any]:
    process = identify(request)
    if runs(process):
        # Asked alone: Apptainer passes the signal on, and a scheduler takes a second one for impatience.
        send(os.kill, process, signal.SIGTERM, request["grace"])
        # Then all of its group: what it has left behind too.
        send(os.killpg, process, signal.SIGKILL, 5)
    answer = {"runs": runs(process), "log": tail(request)}
    shutil.rmtree(request["directory"], ignore_errors=True)
    return answer


def send(
    how: Callable[[int, int], None], process: Mapping[str, Any], number: signal.Signals, seconds: float
) -> None:
    """Send a signal, and wait so long for the process to end."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ProcessLookupError):
        how(process["pid"], number)
    while runs(process) and time.monotonic() < deadline:
        time.sleep(0.05)


def tail(request: dict[str, Any]) -> str:
    try:
        with (Path(request["directory"]) / LOG).open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_TAIL))
            return base64.b64encode(log.read(LOG_TAIL)).decode()
    except OSError:
        return ""


def main() -> None:
    os.umask(0o077)
    request = json.load(sys.stdin)
    try:
        answer: dict[str, Any] = {"start": start, "check": check, "stop": stop}[request["op"]](request)
    except OSError as error:
        answer = {"error": f"{error.strerror}: {error.filename}"}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
