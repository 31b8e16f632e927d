"""The example for one host, run as its units say: gateway, gateway proxy, schedd, sudo rule, backup."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.conftest import show_if_failed
from tests.support import clients, processes
from tests.support.accounts import Accounts, check_environment, sudo_rule
from tests.support.pool import Pool
from tests.support.ports import free_port
from tests.support.waiting import eventually
from tests.unit.examples.units import Unit

from htcdaskgateway.launchers import scheduler_process

pytestmark = pytest.mark.condor

SITE = Path(__file__).parents[2] / "examples" / "sites" / "single-host"
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
OPEN, CLOSED = "token-with-access", "token-without-access"


class Hub(BaseHTTPRequestHandler):
    """What the gateway asks of JupyterHub: who holds this token, and what may they do."""

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("token ")
        scopes = ["access:services!service=dask-gateway"] if token == OPEN else []
        known = self.path == "/hub/api/user" and token in (OPEN, CLOSED)
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"name": "analyst", "kind": "user", "scopes": scopes}).encode())

    def log_message(self, *_: Any) -> None:
        pass


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
        """As tmpfiles.conf and StateDirectory= have them."""
        for name, mode, owner, group in (
            ("etc", 0o755, "root", "root"),
            ("etc/credentials", 0o700, "root", "root"),
            ("etc/condor.d", 0o755, "root", "root"),
            ("condor", 0o700, self.accounts.service, self.accounts.service),
            *(
                (f"condor/{name}", 0o700, self.accounts.service, self.accounts.service)
                for name in ("run", "log", "lock", "spool", "execute", "tokens.d")
            ),
            ("state", 0o700, self.accounts.service, self.accounts.service),
            ("spool", 0o1730, "root", self.accounts.analyst),
            ("backups", 0o700, self.accounts.service, self.accounts.service),
        ):
            path = self.directory / name
            path.mkdir()
            shutil.chown(path, owner, group)
            path.chmod(mode)

    def _copy(self, source: Path, target: Path, mode: int = 0o644) -> None:
        text = source.read_text()
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        target.write_text(text)
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
        """What the admin guide says: the directory as it is in the archive, and nothing else."""
        for old in self.state.iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        processes.run(["tar", "-xzf", str(archive), "-C", str(self.state)], self.accounts.service)

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


@pytest.fixture
def hub() -> Iterator[int]:
    """Port of something that answers as JupyterHub does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def host(pool: Pool, hub: int, request: pytest.FixtureRequest) -> Iterator[OneHost]:
    accounts = Accounts()
    check_environment(accounts)
    made = OneHost(pool, accounts, hub)
    show_if_failed(request, "gateway", made.gateway.log)
    show_if_failed(request, "gateway proxy", made.gateway_proxy.log)
    show_if_failed(request, "schedd", made.schedd_log)
    rule = (made.directory / "etc" / "sudoers").read_text()
    with sudo_rule(rule), another_schedd_allowed(pool):
        try:
            yield made
        finally:
            left = made.close()
    assert not left, "left behind:\n" + "\n".join(left)


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


COMPUTE = """
import time
from htcdaskgateway import HTCGateway

def slowly(x):
    import time
    time.sleep(0.5)
    return x

def came_and_went(dask_scheduler):
    said = [event["action"] for _, event in dask_scheduler.get_events("all")]
    return sorted(word for word in said if word in ("add-worker", "remove-worker", "remove-client"))

slowly.__module__ = came_and_went.__module__ = "__main__"
gateway = HTCGateway()
cluster = gateway.new_cluster(shutdown_on_close=False)
cluster.scale(1)
cluster.wait_for_workers(1, timeout=60)
with cluster.get_client() as client:
    assert client.submit(sum, [1, 2]).result(30) == 3
    futures = client.map(slowly, range(40))
    print("computing on", [worker.job_id for worker in cluster.workers()])
    print("sum:", sum(client.gather(futures)))
    print("in between:", client.run_on_scheduler(came_and_went))
cluster.close()
print("cluster", cluster.name)
"""
AGAIN = """
import getpass
from htcdaskgateway import HTCGateway

def events(dask_scheduler):
    return dask_scheduler.get_events("all")

events.__module__ = "__main__"

with HTCGateway() as gateway:
    [report] = gateway.list_clusters()
    cluster = gateway.connect(report.name)
    before = [worker.job_id for worker in cluster.workers()]
    with cluster.get_client() as client:
        assert client.submit(sum, [1, 2]).result(30) == 3
    print("cluster", report.name, "on", before)
    if END:
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=60)
        with cluster.get_client() as client:
            print("scheduler's account:", client.run_on_scheduler(getpass.getuser))
            print("workers' accounts:", set(client.run(getpass.getuser).values()))
            said = [event["action"] for _, event in client.run_on_scheduler(events)]
            print("workers that went:", said.count("remove-worker"))
        cluster.shutdown()
"""


def ids(text: str, after: str) -> str:
    [line] = [line for line in text.splitlines() if line.startswith(after)]
    return line.rpartition(" on ")[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_example_for_one_host_runs(host: OneHost) -> None:
    host.schedd.start()
    eventually("the pool knows the schedd", host.takes_jobs, 60, period=0.5)
    host.gateway_proxy.start()
    host.gateway.start()
    eventually("the gateway answers", host.answers, 60, period=0.5)

    # Restarted while it is used: nothing that goes through the gateway proxy is cut.
    session = host.session(COMPUTE)
    session.wait_for("computing on", 120)
    host.gateway.stop()
    assert host.gateway_proxy.runs
    host.gateway.start()
    eventually("the gateway answers", host.answers, 60, period=0.5)
    assert "sum:" not in session.output()  # or it was no test
    said = session.wait()
    assert f"sum: {sum(range(40))}" in said
    assert "in between: ['add-worker']" in said
    [job] = host.jobs()
    assert ids(said, "computing on") == f"['{job['ClusterId']}.{job['ProcId']}']"

    # Who may not use the service in JupyterHub gets nothing.
    with pytest.raises(RuntimeError, match="did not accept your credentials"):
        host.session(AGAIN.replace("END", "False"), token=CLOSED).wait()

    # Jobs outlive a restart of the schedd.
    host.schedd.stop(60)
    host.schedd.start()
    eventually("the schedd answers", host.schedd_answers, 60, period=0.5)

    # The state is lost; the backup of the running gateway, with a new key in front, brings it back.
    archive = host.back_up()
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as tar:
        assert {"gateway.sqlite", "keys", "clusters"} <= set(tar.getnames())
    host.gateway.stop()
    host.restore(archive)
    keys = host.state / "keys"
    old = keys.read_text()
    processes.run(
        [
            "sh",
            "-c",
            f"umask 077; (openssl rand -base64 32; cat {keys}) > {keys}.new && mv {keys}.new {keys}",
        ],
        host.accounts.service,
    )
    assert keys.read_text().endswith(old)
    host.gateway.start()
    eventually("the gateway answers", host.answers, 60, period=0.5)
    again = host.session(AGAIN.replace("END", "True")).wait()
    assert ids(again, "cluster") == ids(said, "computing on")
    assert f"cluster {said.split()[-1]} on" in again
    assert "scheduler's account: analyst" in again
    assert "workers' accounts: {'nobody'}" in again  # no account that has a file of the site's
    assert "workers that went: 0" in again
    eventually("no job in the queue", lambda: not host.jobs(), 30, period=0.5)
