"""The configuration file of the demo's gateway. Secrets stand in files beside it, mode 0600."""

from __future__ import annotations

import os
import pwd
import secrets
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from htcdaskgateway.demo.pool import Pool
from htcdaskgateway.errors import ConfigurationError

PASSWORD_FILE = "password"  # noqa: S105 - the name of a file
CONFIG_FILE = "config.py"
STATE, SCHEDULERS = "state", "schedulers"

# Not PR_SET_PDEATHSIG: the kernel sends that once for each thread of the parent, and the second SIGTERM
# would break off what the gateway does at the first.
ENDS_WITH_DEMO = """
import os
import signal
import threading

def end_with_demo():
    os.read(0, 1)  # standard input ends with the demo, also if that is killed
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_demo, daemon=True).start()
"""


@dataclass(frozen=True)
class GatewaySettings:
    """One gateway of one person, on loopback.

    Attributes
    ----------
    directory : Path
        Private directory that holds all it writes.
    user : str
        Account that runs it, and the only one that it serves.
    password : str
    port : int
        Of the gateway proxy: REST, dashboards and schedulers.
    pool : Pool
        Where its workers run.
    workers : int
        How many of them at a time.
    outlives : bool
        Whether it runs on when its standard input ends, that is, when the demo has ended.
    """

    directory: Path
    user: str
    password: str = field(repr=False)
    port: int
    pool: Pool
    workers: int
    outlives: bool

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def password_file(self) -> Path:
        return self.directory / PASSWORD_FILE

    @property
    def config_file(self) -> Path:
        return self.directory / CONFIG_FILE


def new_settings(directory: Path, pool: Pool, workers: int, outlives: bool) -> GatewaySettings:
    """Settings with this process's account, a free port and a random password."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    return GatewaySettings(directory, user, secrets.token_urlsafe(24), free_port(), pool, workers, outlives)


def free_port() -> int:
    """A port that nobody listened at on loopback just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dask_program() -> str:
    """The ``dask`` of this environment: versions of client, scheduler and workers then agree."""
    program = Path(sys.executable).parent / "dask"
    if not os.access(program, os.X_OK):
        raise ConfigurationError(
            f"There is no program {str(program)!r}.",
            remedy="Install distributed into the environment that runs htcdask: pip install distributed",
        )
    return str(program)


def configuration(settings: GatewaySettings) -> str:
    """Text of the configuration file. Every value is written by ``repr``."""
    dask = dask_program()
    values: dict[str, object] = {
        "DaskGateway.backend_class": "htcdaskgateway.server.HTCondorBackend",
        "DaskGateway.authenticator_class": "dask_gateway_server.auth.SimpleAuthenticator",
        "DaskGateway.address": "127.0.0.1:0",
        "Proxy.address": f"127.0.0.1:{settings.port}",
        "LocalLauncher.single_user": settings.user,
        "LocalLauncher.host": "127.0.0.1",
        "LocalLauncher.directory": str(settings.directory / SCHEDULERS),
        "HTCondorBackend.state_directory": str(settings.directory / STATE),
        "HTCondorBackend.instance": settings.directory.name,
        "HTCondorBackend.runtime": "none",
        "LocalLauncher.stop_grace": 3.0,
        "HTCondorBackend.stop_clusters_on_shutdown": True,
        "HTCondorBackend.queue_poll_period": 1.0,
        "HTCondorBackend.cluster_heartbeat_period": 1,
        "HTCondorBackend.removal_grace": 2.0,
        "HTCondorBackend.worker_host": "127.0.0.1",
        "HTCondorAccess.interface": "bindings" if settings.pool.usable else "processes",
        "HTCondorAccess.schedd_name": settings.pool.schedd,
        "HTCondorAccess.slots": settings.workers,
        "HTCondorClusterConfig.scheduler_cmd": [dask, "scheduler"],
        "HTCondorClusterConfig.worker_cmd": [dask, "worker"],
    }
    if settings.pool.requirements:
        values["HTCondorClusterConfig.submit_commands"] = {"requirements": settings.pool.requirements}
    lines = [f"c.{name} = {value!r}" for name, value in values.items()]
    lines.append("from pathlib import Path")
    lines.append(f"c.SimpleAuthenticator.password = Path({str(settings.password_file)!r}).read_text()")
    if not settings.outlives:
        lines.append(ENDS_WITH_DEMO)
    return "\n".join([*lines, ""])


def write_configuration(settings: GatewaySettings) -> None:
    """Write password and configuration, for this account's eyes only."""
    for name in (STATE, SCHEDULERS):
        (settings.directory / name).mkdir(mode=0o700, exist_ok=True)
    for path, content in (
        (settings.password_file, settings.password),
        (settings.config_file, configuration(settings)),
    ):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w") as stream:
            stream.write(content)
