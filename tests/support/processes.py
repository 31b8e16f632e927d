"""Processes of other accounts: run one, find what one has left behind."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

ENVIRONMENT = Path(sys.prefix)  # the virtual environment that runs the tests
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(user: str, **more: str) -> dict[str, str]:
    """Nothing of the caller's: what a service manager would give a process of this account."""
    return {
        "PATH": f"{ENVIRONMENT}/bin:{SYSTEM_PATH}",
        "HOME": pwd.getpwnam(user).pw_dir,
        "USER": user,
        "LOGNAME": user,
        "LANG": "C.UTF-8",
        **more,
    }


def identity(user: str) -> dict[str, Any]:
    """Arguments of Popen that make the process this account's; only root can become another."""
    account = pwd.getpwnam(user)
    if account.pw_uid == os.geteuid():
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def output(
    command: Sequence[str], named: str = "", *, deadline: float = 60, text: str = "", **options: Any
) -> str:
    """Run a command; its standard output, all of its output in the error.

    Parameters
    ----------
    named : str
        What the error calls it; without, it has the whole command.
    text : str
        Its standard input.
    options
        Of `subprocess.run`.
    """
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=deadline, check=False, **options
    )
    if done.returncode:
        words = f"{done.stdout}\n{done.stderr}".strip()
        raise RuntimeError(f"{named or ' '.join(command)} ended with {done.returncode}: {words}")
    return done.stdout


def run(
    command: Sequence[str],
    user: str,
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
    deadline: float = 60,
) -> str:
    """Run a command as this account, as `output`."""
    given = environment(user) if env is None else dict(env)
    named = f"{user}: {' '.join(command)}"
    return output(command, named, deadline=deadline, env=given, cwd=cwd, **identity(user))


def spawn(
    command: Sequence[str], user: str, env: Mapping[str, str], cwd: Path, log: Path
) -> subprocess.Popen[bytes]:
    """Start a command as this account in a session of its own, its output appended to a file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            **identity(user),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def mentioning(word: str) -> list[psutil.Process]:
    """Processes, not we, whose arguments, working directory or environment hold this word."""
    found = []
    for process in psutil.process_iter():
        try:
            texts = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(word in text for text in texts):
            found.append(process)
    return found


def end(processes: Sequence[psutil.Process]) -> list[str]:
    """Kill them; what they were."""
    described = []
    for process in processes:
        try:
            described.append(f"{process.pid} {process.username()}: {' '.join(process.cmdline())[:200]}")
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(list(processes), timeout=10)
    return described
