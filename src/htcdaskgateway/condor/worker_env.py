"""A worker's settings and environment, as the file that ``start_worker.sh`` reads. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from htcdaskgateway.errors import InvalidRequestError, shown
from htcdaskgateway.shell import exports, words

_PORTS = re.compile(r"([0-9]{1,5}):([0-9]{1,5})")


@dataclass(frozen=True)
class Container:
    """What Apptainer is told on the execute point.

    Attributes
    ----------
    image : str
        Image path.
    program : str
        Apptainer itself: a path, or a name that is looked up in ``PATH``.
    arguments : tuple of str
        Further options of ``apptainer exec``.
    """

    image: str
    program: str = "apptainer"
    arguments: tuple[str, ...] = ()


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
    container: Container | None = None,
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
    container : Container, optional
        What the worker runs in; without, it is what the execute point has.
    environment : mapping of str to str, optional
        Variables of the user and the site.

    Returns
    -------
    str
        Shell text: assignments of the settings, and a function that sets the environment. So the script
        reads the settings where a ``PATH`` of the user would mislead it, and the environment later.

    Raises
    ------
    InvalidRequestError
        A name that is no variable's, or one that is not free; a value that no variable can have.
    """
    if not command or not command[0]:
        raise InvalidRequestError("The command that starts a worker is empty.")
    settings = {
        "HTCDASK_CONTACT": contact,
        "HTCDASK_SNI": sni,
        "HTCDASK_COMMAND": words(command),
        "HTCDASK_NTHREADS": str(nthreads),
        "HTCDASK_MEMORY_LIMIT": str(memory_limit),
        "HTCDASK_DEATH_TIMEOUT": str(death_timeout),
        "HTCDASK_WORKER_PORT": _ports(worker_port),
        "HTCDASK_NANNY_PORT": _ports(nanny_port),
        "HTCDASK_WORKER_HOST": host,
        "HTCDASK_RUNTIME": "apptainer" if container else "none",
    }
    if container:
        settings["HTCDASK_IMAGE"] = container.image
        settings["HTCDASK_APPTAINER"] = container.program
        settings["HTCDASK_APPTAINER_ARGUMENTS"] = words(container.arguments)
    inside = exports(environment or {}, reserved=("HTCDASK_", "_CONDOR_"))
    return "\n".join([*exports(settings), "htcdask_environment() {", ":", *inside, "}", ""])


def _ports(text: str) -> str:
    match = _PORTS.fullmatch(text)
    if text and not (match and 0 < int(match[1]) <= int(match[2]) < 65536):
        raise InvalidRequestError(f"The port range {shown(text)} is not LOW:HIGH.")
    return text
