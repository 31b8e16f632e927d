"""The environment of a worker, as the file that ``start_worker.sh`` reads. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from htcdaskgateway.condor.quoting import shown
from htcdaskgateway.errors import InvalidRequestError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PORTS = re.compile(r"([0-9]{1,5}):([0-9]{1,5})")
# Variables that a shell sets or obeys itself (sh may be bash): the script would go wrong, or the value
# would not arrive. BASH* likewise.
_OF_THE_SHELL = {
    "IFS", "PWD", "OLDPWD", "PPID", "OPTIND", "OPTARG", "ENV", "SHELLOPTS", "UID", "EUID", "LINENO", "PS1",
    "PS2", "PS4", "POSIXLY_CORRECT", "SECONDS", "RANDOM", "SRANDOM", "EPOCHSECONDS", "EPOCHREALTIME",
    "FUNCNAME", "GROUPS", "DIRSTACK", "HISTCMD", "_",
}  # fmt: skip
RUNTIMES = ("none",)


def worker_env(
    *,
    command: Sequence[str],
    contact: str,
    nthreads: int,
    memory_limit: int,
    death_timeout: float,
    sni: str = "",
    worker_port: str = "",
    nanny_port: str = "",
    host: str = "",
    runtime: str = "none",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Write ``worker.env``.

    Parameters
    ----------
    command : sequence of str
        Words that start a worker: ``["dask", "worker"]``.
    contact : str
        Address of the scheduler, or of the gateway proxy before it: ``tls://host:port``.
    nthreads : int
    memory_limit : int
        Bytes.
    death_timeout : float
        Seconds without a scheduler after which a worker ends.
    sni : str, optional
        Name by which the gateway proxy knows the scheduler.
    worker_port, nanny_port : str, optional
        ``LOW:HIGH``; empty: any port.
    host : str, optional
        Address that the worker listens at.
    runtime : str
        What the worker runs in; ``none``: what the execute point has.
    environment : mapping of str to str, optional
        Variables of the user and the site.

    Raises
    ------
    InvalidRequestError
        A name that is no variable's, or one that is not free; a value that no variable can have.
    """
    settings = {
        "HTCDASK_CONTACT": contact,
        "HTCDASK_SNI": sni,
        "HTCDASK_COMMAND": " ".join(map(_quoted, command)),
        "HTCDASK_NTHREADS": str(nthreads),
        "HTCDASK_MEMORY_LIMIT": str(memory_limit),
        "HTCDASK_DEATH_TIMEOUT": str(death_timeout),
        "HTCDASK_WORKER_PORT": _ports(worker_port),
        "HTCDASK_NANNY_PORT": _ports(nanny_port),
        "HTCDASK_WORKER_HOST": host,
        "HTCDASK_RUNTIME": runtime,
    }
    if not command or not command[0]:
        raise InvalidRequestError("The command that starts a worker is empty.")
    if runtime not in RUNTIMES:
        raise InvalidRequestError(f"The worker runtime {shown(runtime)} is none of: {', '.join(RUNTIMES)}.")
    for name in environment or {}:
        if not _NAME.fullmatch(name):
            raise InvalidRequestError(f"{shown(name)} is not the name of an environment variable.")
        if name.startswith(("HTCDASK_", "_CONDOR_", "BASH")) or name in _OF_THE_SHELL:
            raise InvalidRequestError(f"The environment variable {name} cannot be set for workers.")
    lines = [f"export {name}={_quoted(value)}" for name, value in {**(environment or {}), **settings}.items()]
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    if "\0" in text:
        raise InvalidRequestError(f"{shown(text)} holds a NUL, which no environment variable can.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"{shown(text)} is not text: {error.reason}.") from error
    return shlex.quote(text)


def _ports(text: str) -> str:
    match = _PORTS.fullmatch(text)
    if text and not (match and 0 < int(match[1]) <= int(match[2]) < 65536):
        raise InvalidRequestError(f"The port range {shown(text)} is not LOW:HIGH.")
    return text
