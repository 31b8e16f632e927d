"""The last look after the gateway has ended: processes that it left in the demo's private directory."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from htcdaskgateway.launchers.scheduler_process import started


def processes_in(directory: Path) -> dict[int, int]:
    """Processes of this account that work inside a directory and have no terminal: pid and start time.

    All that a gateway starts is in a session without terminal; a person's shell, editor or pager that
    happens to be in there has one, and is left alone.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if entry.stat().st_uid != os.geteuid():
                continue
            place = (entry / "cwd").readlink()
            # proc(5): after the name in parentheses come state, ppid, pgrp, session, tty_nr.
            terminal = (entry / "stat").read_text().rpartition(")")[2].split()[4]
        except OSError:  # it has ended, or belongs to somebody else
            continue
        since = started(int(entry.name))
        if place.is_relative_to(directory) and terminal == "0" and since is not None:
            found[int(entry.name)] = since
    return found


def end_processes_in(directory: Path, grace: float = 5.0) -> int:
    """Ask them to end, then kill them; how many there were."""
    directory = directory.resolve()
    seen: set[int] = set()
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + grace
        asked: set[int] = set()
        while (left := processes_in(directory)) and time.monotonic() < end:
            for pid in left.keys() - asked:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
                asked.add(pid)
            seen |= asked
            time.sleep(0.1)
    return len(seen)
