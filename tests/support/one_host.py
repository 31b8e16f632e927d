"""The example for one host, in a directory of its own: its files, its units, its users."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import clients, console, processes
from tests.support.accounts import Accounts
from tests.support.hub import OPEN
from tests.support.pool import Pool
from tests.support.ports import free_port
from tests.support.service import Service
from tests.unit.examples.units import Made, Unit, made_by_tmpfiles

from htcdaskgateway.launchers import scheduler_process

REPOSITORY = Path(__file__).parents[2]
SITE = REPOSITORY / "examples" / "sites" / "single-host"
GUIDE = REPOSITORY / "docs" / "admin" / "backup-and-keys.md"
INSTANCE = f"test-one-host-{os.getpid()}"
# What this machine has otherwise than the site: no images, and no time to lose.
HERE = f"""
c.HTCondorBackend.runtime = "none"
c.HTCondorClusterConfig.worker_cmd = ["{sys.prefix}/bin/dask", "worker"]
c.HTCondorBackend.instance = "{INSTANCE}"
c.HTCondorBackend.queue_poll_period = 1
c.HTCondorBackend.removal_grace = 2
c.LocalLauncher.stop_grace = 3
"""
# What the token of a schedd must allow it in the pool.
RIGHTS = ("ADVERTISE_MASTER", "ADVERTISE_SCHEDD", "READ")


class OneHost:
    """The example's files in a directory, with this machine's paths, ports and accounts in them."""

    def __init__(self, pool: Pool, accounts: Accounts, hub: int) -> None:
        self.pool, self.accounts = pool, accounts
        self.directory = Path(tempfile.mkdtemp(prefix="htcdask-one-host-"))
        self.directory.chmod(0o755)
        port, private = free_port(), free_port()
        here = self.directory
        self.replaced = {
            "/opt/htcdaskgateway/lib/python3.11/site-packages/htcdaskgateway/launchers/scheduler_process.py":
                scheduler_process.__file__,
            "/opt/htcdaskgateway": sys.prefix,
            "/etc/htcdaskgateway": f"{here}/etc",
            "/var/lib/htcdaskgateway-condor": f"{here}/condor",
            "/var/lib/htcdaskgateway": f"{here}/state",
            "/var/spool/htcdaskgateway": f"{here}/spool",
            "/var/backups/htcdaskgateway": f"{here}/backups",
            "/usr/local/sbin": str(here),
            "127.0.0.1:8081": f"127.0.0.1:{hub}",
            "127.0.0.1:800": f"127.0.0.1:{private}",
            '":443"': f'"127.0.0.1:{port}"',
            "https://dask.example.org": f"https://127.0.0.1:{port}",
            "dask.example.org:443": f"127.0.0.1:{port}",
            "%dask-users": f"%{accounts.analyst}",
        }  # fmt: skip
        self.url = f"https://127.0.0.1:{port}"
        self.state, self.backups = here / "state", here / "backups"
        self._directories()
        for source in (SITE / "etc" / "htcdaskgateway", SITE / "etc" / "dask"):
            for file in source.iterdir():
                self._copy(file, here / "etc" / file.name)
        with (here / "etc" / "dask_gateway_config.py").open("a") as config:
            config.write(HERE)
        self._copy(SITE / "backup", here / "htcdaskgateway-backup", 0o755)
        self._secrets()
        self._join_pool()
        self.schedd = self._service("htcdaskgateway-condor.service", accounts.service, inside=pool.master)
        self.gateway = self._service("htcdaskgateway.service", accounts.service, state=self.state)
        self.gateway_proxy = self._service("htcdaskgateway-proxy.service", "nobody")

    def _directories(self) -> None:
        """What tmpfiles.conf makes, and systemd for the unit of HTCondor, which is started first."""
        service = self.accounts.service
        here = {"htcdask": service, "dask-users": self.accounts.analyst}
        states = Unit.read(SITE / "systemd" / "htcdaskgateway-condor.service").state_directories
        wanted = [
            *made_by_tmpfiles(SITE / "tmpfiles.conf"),
            *(Made(one, 0o700, service, service) for one in states),
        ]
        for made in wanted:
            path = Path(self._here(made.path))
            path.mkdir()
            shutil.chown(path, here.get(made.user, made.user), here.get(made.group, made.group))
            path.chmod(made.mode)

    def _here(self, text: str) -> str:
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    def _copy(self, source: Path, target: Path, mode: int = 0o644) -> None:
        target.write_text(self._here(source.read_text()))
        target.chmod(mode)

    def _secrets(self) -> None:
        place = self.directory / "etc" / "credentials"
        processes.run(["sh", "-c", f"umask 077; openssl rand -hex 32 > {place}/proxy-token"], "root")
        processes.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", f"{place}/tls.key", "-out", f"{place}/tls.crt"],
            "root",
        )  # fmt: skip
        shutil.copyfile(place / "tls.crt", self.directory / "ca.crt")

    def _join_pool(self) -> None:
        """What the admin of the pool gives, and what a pool on the loopback has otherwise."""
        (self.directory / "etc" / "condor.d" / "here").write_text(
            f"COLLECTOR_HOST = {self.pool.command('condor_config_val', 'COLLECTOR_HOST').strip()}\n"
            f"SHARED_PORT_PORT = {free_port()}\n"
            "NETWORK_INTERFACE = 127.0.0.1\nBIND_ALL_INTERFACES = False\nENABLE_IPV6 = False\nNO_DNS = True\n"
            "DEFAULT_DOMAIN_NAME = pool.test\nSCHEDD_INTERVAL = 1\nSCHEDD_MIN_INTERVAL = 0\n"
        )
        rights = [word for right in RIGHTS for word in ("-authz", right)]
        token = self.pool.command("condor_token_create", "-identity", "htcdask@pool.test", *rights)
        file = self.directory / "condor" / "tokens.d" / "pool"
        file.write_text(token)
        file.chmod(0o600)
        shutil.chown(file, self.accounts.service, self.accounts.service)

    def unit(self, name: str) -> Unit:
        return Unit.read(SITE / "systemd" / name, self.replaced)

    def _service(self, name: str, account: str, **options: Any) -> Service:
        place = self.directory / name
        place.mkdir()
        return Service(self.unit(name), account, place, **options)

    def answers(self) -> bool:
        if not self.gateway.runs:
            raise RuntimeError(f"the gateway ended:\n{self.gateway.log()}")
        ask = ["curl", "-sS", "--cacert", str(self.directory / "ca.crt"), f"{self.url}/api/health"]
        done = subprocess.run(ask, capture_output=True, text=True, timeout=10, check=False)
        return '"pass"' in done.stdout

    def jobs(self) -> list[dict[str, Any]]:
        if not self.schedd.runs:
            return []
        found = self._condor(
            "condor_q", "-allusers", "-json", "-constraint", f'HTCDaskGateway == "{INSTANCE}"'
        )
        return list(json.loads(found)) if found.strip() else []

    def _condor(self, tool: str, *arguments: str) -> str:
        """Run an HTCondor tool as the gateway's account, with the configuration of its schedd."""
        user = self.accounts.service
        env = {**processes.environment(user), "CONDOR_CONFIG": str(self.directory / "etc" / "condor_config")}
        return processes.run([str(self.pool.home / "bin" / tool), *arguments], user, env)

    def schedd_log(self) -> str:
        logs = (self.directory / "condor" / "log").glob("*Log")
        return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-3000:]}" for log in logs)

    def takes_jobs(self) -> bool:
        """Whether the pool knows the schedd."""
        return "htcdask@" in self.pool.command("condor_status", "-schedd", "-af", "Name")

    def schedd_answers(self) -> bool:
        try:
            return bool(self.jobs())
        except RuntimeError:
            return False

    def session(self, script: str, token: str = OPEN) -> clients.ClientProcess:
        """A person's session, with the site's files for it."""
        environment = {
            **processes.environment(self.accounts.analyst),
            "DASK_CONFIG": str(self.directory / "etc"),
            "SSL_CERT_FILE": str(self.directory / "ca.crt"),
            "JUPYTERHUB_API_TOKEN": token,
        }
        log = self.directory / f"session-{len(list(self.directory.glob('session-*')))}"
        process = processes.spawn(clients.python(script), self.accounts.analyst, environment, Path("/"), log)
        return clients.ClientProcess(process, log)

    def back_up(self) -> Path:
        """Run what the timer runs."""
        archive = processes.run(self.unit("htcdaskgateway-backup.service").command, self.accounts.service)
        return Path(archive.strip())

    def restore(self, archive: Path) -> None:
        """Do what the admin guide says, all but to systemd."""
        directory = self.state.stat().st_ino
        said, *_ = console.CONSOLE.findall(GUIDE.read_text().partition("## Restore")[2])
        said = re.sub(r"(?<= )htcdask(?= )", self.accounts.service, said)
        said = self._here(said.replace("htcdaskgateway-….tar.gz", archive.name))
        for command in console.commands(f"```console\n{said}```", console.ROOT):
            if not command.startswith("systemctl "):
                console.run(command, Path("/"), os.environ, 60)
        assert self.state.stat().st_ino == directory, "units that run have another directory mounted"

    def close(self) -> list[str]:
        """End it all; what was left behind."""
        for service in (self.gateway, self.gateway_proxy):
            if service.process is not None:
                service.stop()
        left = [f"job {ad['ClusterId']}.{ad['ProcId']}" for ad in self.jobs()]
        if self.schedd.process is not None:
            self.schedd.stop(60)
        left += [path.name for path in (self.directory / "spool").iterdir()]
        left += processes.end(processes.mentioning(str(self.directory)))
        shutil.rmtree(self.directory)
        return left


@contextmanager
def another_schedd_allowed(pool: Pool) -> Iterator[None]:
    """As the admin guide asks of the central manager."""
    file = pool.home / "config.d" / "60-one-host"
    try:
        file.write_text(
            "ALLOW_ADVERTISE_MASTER = $(ALLOW_DAEMON) htcdask@pool.test\n"
            "ALLOW_ADVERTISE_SCHEDD = $(ALLOW_DAEMON) htcdask@pool.test\n"
        )
        file.chmod(0o644)
        pool.command("condor_reconfig")
        yield
    finally:
        file.unlink(missing_ok=True)
        pool.command("condor_reconfig")
