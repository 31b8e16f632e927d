"""Which process this is, so that another one on the same machine can see whether it has ended."""

from __future__ import annotations

import os
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")


def this_process() -> str:
    """Machine since its start, namespace of pids, pid and start time; empty where nothing tells."""
    try:
        return f"{_machine()} {os.getpid()} {_started(os.getpid())}"
    except (OSError, ValueError, IndexError):
        return ""


def has_ended(process: str) -> bool:
    """Whether a process, as `this_process` names it, has ended. Of one that cannot be seen here: False."""
    machine, _, of_it = process.partition("] ")  # the end of a namespace's name
    try:
        if f"{machine}]" != _machine():
            return False
        pid, started = of_it.split()
        os.kill(int(pid), 0)
        return _started(int(pid)) != started
    except ProcessLookupError:
        return True
    except (OSError, ValueError, IndexError, OverflowError):
        return False


def _machine() -> str:
    return f"{BOOT.read_text().strip()} {NAMESPACE.readlink()}"


def _started(pid: int) -> str:
    """Ticks since the machine's start; empty for one that has ended and nobody has waited for."""
    # The second field is a name, in parentheses, with anything in it.
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]
