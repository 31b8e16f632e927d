"""The main process of a systemd unit, without systemd."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import psutil
from tests.unit.examples.units import Unit


class Service:
    """A unit's main process, started as systemd would, as far as an ordinary process can be."""

    def __init__(
        self, unit: Unit, account: str, place: Path, state: Path | None = None, inside: int | None = None
    ) -> None:
        self.unit, self.account, self.place, self.state = unit, account, place, state
        # A process in whose namespaces it runs: HTCondor's daemons need the libraries of the pool's root.
        self.inside = inside
        self.log_file = place / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        credentials = self.place / "credentials"
        shutil.rmtree(credentials, ignore_errors=True)
        credentials.mkdir(mode=0o700)
        for name, file in self.unit.credentials.items():
            shutil.copyfile(file, credentials / name)
        for path in [self.place, credentials, *credentials.iterdir()]:
            shutil.chown(path, self.account, "nogroup" if self.account == "nobody" else self.account)
        (self.place / "credentials").chmod(0o700)
        given = {"CREDENTIALS_DIRECTORY": str(credentials)}
        if self.state is not None:
            given["STATE_DIRECTORY"] = str(self.state)
        plain = {"HOME": str(self.place), "USER": self.account, "LOGNAME": self.account}
        command = (
            [] if self.inside is None else ["nsenter", f"--target={self.inside}", "--mount", "--pid", "--"]
        )
        command += ["setpriv", "--clear-groups", f"--reuid={self.account}", "--regid"]
        command += ["nogroup" if self.account == "nobody" else self.account]
        bounds = "".join(f",+{name}" for name in self.unit.capabilities)
        command += [f"--bounding-set=-all{bounds}", "--inh-caps=-all"]
        if self.unit.one("NoNewPrivileges") == "yes":
            command.append("--no-new-privs")
        umask = int(self.unit.one("UMask"), 8)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--", *self.unit.command],
                env={**plain, **given, **self.unit.environment},
                cwd=self.unit.one("WorkingDirectory", "/"),
                umask=umask,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, deadline: float = 30) -> int:
        """As ``systemctl stop`` with ``KillMode=process``; its exit code."""
        assert self.process is not None
        number = getattr(signal, self.unit.one("KillSignal", "SIGTERM"))
        if self.process.poll() is None:
            # nsenter only waits for what it has started
            main = psutil.Process(self.process.pid)
            (main if self.inside is None else main.children()[0]).send_signal(number)
        return self.process.wait(deadline)

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
