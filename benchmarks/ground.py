"""What all alternatives share: pool, account, files, and the mark by which their jobs are found."""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import chown, rmtree

from dask_gateway import BasicAuth
from tests.support.accounts import Accounts, check_environment, sudo_for
from tests.support.gateway import GatewayServer
from tests.support.pool import Pool
from tests.support.waiting import eventually

from htcdaskgateway import HTCGateway

from .queue_log import QueueLog

MARK = "ScaleBenchmark"  # ClassAd attribute of every job of a run
NEVER = "NoSuchSlot =?= True"  # requirements of jobs that are to stay in the queue
CONFIGURATION = """
from dask_gateway_server.options import Bool, Options
c.HTCondorBackend.queue_poll_period = 5
c.Backend.cluster_options = Options(
    Bool("starts", True),
    handler=lambda options: {{"submit_commands": {{
        "+{mark}": '"{value}"', **({{}} if options.starts else {{"requirements": "{never}"}})}}}},
)
"""


@dataclass(frozen=True)
class Ground:
    """One run of the benchmark.

    Attributes
    ----------
    user : str
        The account that submits, for all alternatives.
    analyst : str
        The account that schedulers run under.
    directory : Path
        Every account may pass through it; what lies in it belongs to whom it concerns.
    value : str
        What the mark of this run's jobs says.
    """

    pool: Pool
    user: str
    analyst: str
    directory: Path
    value: str
    server: GatewayServer
    session: HTCGateway

    @property
    def constraint(self) -> str:
        return f'{MARK} == "{self.value}"'

    @property
    def attribute(self) -> tuple[str, str]:
        """The mark as a submit command."""
        return f"+{MARK}", f'"{self.value}"'

    def log(self) -> QueueLog:
        return QueueLog(self.pool.home / "local" / "spool", MARK, self.value)

    def jobs(self) -> int:
        """How many there are in the queue, as ``condor_q`` counts."""
        found = self.pool.command("condor_q", "-allusers", "-constraint", self.constraint, "-af", "ProcId")
        return len(found.split())

    def clear(self) -> None:
        """Remove the jobs; returns when none is left, and so none of their processes."""
        words = ""
        if self.jobs():
            try:
                self.pool.command("condor_rm", "-constraint", self.constraint)
            except RuntimeError as error:  # so it is where they are being removed already
                words = str(error)
        try:
            eventually("queue empty", lambda: not self.jobs(), 120, period=0.3)
        except TimeoutError as error:
            raise TimeoutError(f"{error}. {words}") from error

    def make_directory(self, user: str) -> Path:
        path = Path(tempfile.mkdtemp(dir=self.directory))
        chown(path, user, user)
        return path


@contextmanager
def prepared(pool: Pool) -> Iterator[Ground]:
    """Start a gateway on this pool; at the end nothing of it or of any alternative is left."""
    accounts = Accounts()
    check_environment(accounts)
    value = uuid.uuid4().hex
    with ExitStack() as stack:
        stack.enter_context(sudo_for(accounts))
        directory = Path(tempfile.mkdtemp(prefix="htcdask-benchmark-"))
        stack.callback(rmtree, directory)
        directory.chmod(0o711)
        configuration = CONFIGURATION.format(mark=MARK, value=value, never=NEVER)
        server = GatewayServer(pool, accounts, configuration)
        stack.callback(_close, server)
        stack.push(lambda kind, error, trace: _show_log(server) if isinstance(error, Exception) else None)
        server.start()
        session = HTCGateway(server.url, auth=BasicAuth(accounts.analyst))
        stack.callback(session.close)
        ground = Ground(pool, accounts.service, accounts.analyst, directory, value, server, session)
        stack.callback(ground.clear)
        yield ground


def _close(server: GatewayServer) -> None:
    if left := server.close():
        raise RuntimeError("the gateway left behind:\n" + "\n".join(left))


def _show_log(server: GatewayServer) -> None:
    print(f"the gateway's log ends with:\n{server.log()[-4000:]}", file=sys.stderr)
