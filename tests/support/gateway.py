"""A real dask-gateway-server as an account of its own, with its gateway proxy, which a test may kill."""

from __future__ import annotations

import signal
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from shutil import chown, rmtree
from subprocess import Popen
from typing import Any

from dask_gateway import BasicAuth, Gateway
from tests.support import processes
from tests.support.accounts import Accounts
from tests.support.pool import Pool
from tests.support.ports import free_port, is_free
from tests.support.waiting import eventually

BACKEND = "htcdaskgateway.server.HTCondorBackend"
CONFIGURATION = """
c.DaskGateway.backend_class = "{backend}"
c.DaskGateway.address = "127.0.0.1:{private_port}"
c.Proxy.address = "127.0.0.1:{port}"
c.Proxy.externally_managed = {external}
c.Proxy.api_token = "{token}"
c.HTCondorBackend.state_directory = "{state}"
c.HTCondorBackend.instance = "{instance}"
c.HTCondorBackend.queue_poll_period = 1
c.HTCondorBackend.stop_clusters_on_shutdown = True
c.HTCondorBackend.runtime = "none"
c.ClusterConfig.scheduler_cmd = ["{environment}/bin/dask", "scheduler"]
c.ClusterConfig.worker_cmd = ["{environment}/bin/dask", "worker"]
c.LocalLauncher.command_prefix = ["sudo", "-nu", "{{user}}", "--"]
c.LocalLauncher.directory = "{schedulers}"
c.LocalLauncher.host = "127.0.0.1"
"""


class GatewayServer:
    """One gateway; its jobs carry ``instance``, its files are in ``directory``.

    Parameters
    ----------
    configuration : str
        Further lines of the configuration file; they win over those of this class.
    backend : str
    external : bool
        The gateway proxy is a process of its own, which outlives the gateway.
    """

    def __init__(
        self,
        pool: Pool,
        accounts: Accounts,
        configuration: str = "",
        backend: str = BACKEND,
        external: bool = False,
    ) -> None:
        self.pool, self.user = pool, accounts.service
        self.instance = f"test-{uuid.uuid4().hex[:12]}"
        self.port, self.private_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.external = external
        self._gateway: Popen[bytes] | None = None
        self._proxy: Popen[bytes] | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="htcdask-gateway-"))
        self.directory.chmod(0o711)
        self._private = self.directory / "gateway"
        self._private.mkdir(0o700)
        self.state_directory = self._private / "state"
        self.schedulers = self.directory / "schedulers"
        self.schedulers.mkdir()
        self.schedulers.chmod(0o1777)
        settings = {
            "backend": backend, "private_port": self.private_port, "port": self.port, "external": external,
            "state": self.state_directory, "instance": self.instance, "schedulers": self.schedulers,
            "environment": processes.ENVIRONMENT, "token": uuid.uuid4().hex,
        }  # fmt: skip
        self._config = self._private / "dask_gateway_config.py"
        self._config.write_text(CONFIGURATION.format(**settings) + configuration)
        self._log, self._last_log = self._private / "log", ""
        for path in (self._private, self._config):
            chown(path, self.user, self.user)
        self._env = {**processes.environment(self.user, TMPDIR=str(self.schedulers)), **pool.env}

    def start(self, deadline: float = 60) -> None:
        """Start it, or start it again with the state that it had; returns when requests reach it."""
        if self._gateway is not None and self._gateway.poll() is None:
            raise RuntimeError("the gateway is running")
        if self.external and self._proxy is None:
            self._proxy = self._spawn("proxy")
        # After a kill of the gateway its gateway proxy takes a moment to end.
        ports = [self.private_port] if self.external else [self.private_port, self.port]
        eventually("ports free", lambda: all(map(is_free, ports)), 15)
        self._gateway = self._spawn()
        eventually(f"gateway at {self.url}", self._is_healthy, deadline)

    def _spawn(self, *subcommand: str) -> Popen[bytes]:
        program = [sys.executable, "-m", "dask_gateway_server", *subcommand, "-f", str(self._config)]
        return processes.spawn(program, self.user, self._env, self._private, self._log)

    def _is_healthy(self) -> bool:
        if self._gateway is None or self._gateway.poll() is not None:
            raise RuntimeError(f"the gateway ended:\n{self.log()}")
        try:
            with urllib.request.urlopen(f"{self.url}/api/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    @property
    def pid(self) -> int:
        if self._gateway is None:
            raise RuntimeError("the gateway was never started")
        return self._gateway.pid

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the gateway process alone; returns after its end if it is one that ends it."""
        if self._gateway is None:
            return
        self._gateway.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            self._gateway.wait(60)

    def stop(self) -> None:
        """End it in an orderly way; its gateway proxy, if that is a process of its own, stays."""
        if self._gateway is not None and self._gateway.poll() is None:
            self.kill(signal.SIGTERM)

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else self._last_log

    def connect(self, user: str = "analyst", **options: Any) -> Gateway:
        """dask-gateway's own client, as this user.

        Asynchronous: the finalizer of the other kind raises with this release of distributed.
        """
        return Gateway(self.url, auth=BasicAuth(user), asynchronous=True, **options)

    def client_environment(self, user: str = "analyst") -> dict[str, str]:
        """Makes ``Gateway()`` without arguments find this gateway, as this user."""
        return {
            "DASK_GATEWAY__ADDRESS": self.url,
            "DASK_GATEWAY__AUTH__TYPE": "basic",
            "DASK_GATEWAY__AUTH__KWARGS__USERNAME": user,
        }

    def jobs(self) -> list[dict[str, Any]]:
        """Ads of this gateway's jobs in the queue."""
        return self.pool.queue(f'HTCDaskGateway == "{self.instance}"')

    def close(self, deadline: float = 20) -> list[str]:
        """Stop it and remove everything; what it should not have left behind."""
        left = []
        try:
            self.stop()
            try:
                eventually("queue empty", lambda: not self.jobs(), deadline, period=0.5)
            except TimeoutError:
                ads = self.jobs()
                left += [f"job {ad['ClusterId']}.{ad['ProcId']}, status {ad['JobStatus']}" for ad in ads]
                self.pool.remove(f'HTCDaskGateway == "{self.instance}"')
            left += [f"directory {path.name}" for path in self.schedulers.glob("daskgateway-*")]
        finally:
            if self._proxy is not None:
                self._proxy.terminate()
                self._proxy.wait(30)
            # the gateway proxy of a gateway that has just ended is on its way
            try:
                eventually("processes gone", lambda: not processes.mentioning(str(self.directory)), 5)
            except TimeoutError:
                left += processes.end(processes.mentioning(str(self.directory)))
            if self._gateway is not None:
                self._gateway.wait(30)
            self._last_log = self.log()
            rmtree(self.directory)
        return left
