"""A real dask-gateway-server as a child process: start, wait until it answers, end."""

from __future__ import annotations

import base64
import http.client
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from htcdaskgateway.demo.gateway_config import STATE, GatewaySettings, write_configuration
from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.launchers.scheduler_process import started

LOG_FILE = "gateway.log"


class GatewayStartError(HTCDaskError):
    """The demo's gateway did not start, or ended."""

    def __init__(self, what: str, words: str) -> None:
        self.what, self.words = what, words
        super().__init__(f"The gateway {what}.", {"its log": words})


class GatewayProcess:
    """The process of a gateway, in a session of its own so that Ctrl-C in a terminal does not reach it."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def identity(self) -> dict[str, int]:
        """Pid and start time, which together no other process has."""
        if self._process is None:
            return {}
        return {"pid": self._process.pid, "started": int(started(self._process.pid) or 0)}

    def start(self) -> None:
        write_configuration(self.settings)
        log = os.open(self.settings.directory / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dask_gateway_server", "-f", str(self.settings.config_file)],
                cwd=self.settings.directory / STATE,
                env={**os.environ, "TMPDIR": str(self.settings.directory / STATE)},
                stdin=subprocess.DEVNULL if self.settings.outlives else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(log)

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, deadline: float) -> None:
        """Return when it answers, and with our password, so that it is no other that got the port.

        Raises
        ------
        GatewayStartError
            With the end of its log: it ended, or did not answer for ``deadline`` seconds.
        """
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            if not self.runs:
                raise GatewayStartError("ended at its start", log_tail(self.settings.directory))
            if answers(self.settings):
                return
            time.sleep(0.1)
        raise GatewayStartError(f"did not answer within {deadline:g} s", log_tail(self.settings.directory))

    def stop(self, grace: float) -> bool:
        """Ask it to end, and its clusters with it; kill it after ``grace`` seconds. True: it ended itself."""
        if self._process is None:
            return True
        self._process.terminate()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        if self._process.stdin is not None:
            self._process.stdin.close()
        # A gateway that ends in order after SIGTERM exits with 0.
        return self._process.returncode == 0


def answers(settings: GatewaySettings) -> bool:
    """Whether the gateway behind the port takes our password."""
    login = base64.b64encode(f"{settings.user}:{settings.password}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", settings.port, timeout=5)
    try:
        connection.request("GET", "/api/v1/clusters/", headers={"Authorization": f"Basic {login}"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def log_tail(directory: Path, lines: int = 15) -> str:
    """The end of a gateway's log, without its colours."""
    try:
        text = (directory / LOG_FILE).read_text(errors="replace")
    except OSError:
        return "(none)"
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return "\n".join(text.strip().splitlines()[-lines:]) or "(empty)"
