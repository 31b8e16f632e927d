"""A user's X.509 proxy and bearer token on their way to a job, and where they must not be seen."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.conftest import ClientFactory
from tests.support.accounts import Accounts
from tests.support.credentials import HOUR, go, new_token, new_x509, private_home
from tests.support.gateway import GatewayServer
from tests.support.pool import Pool
from tests.unit.credentials import grid

pytestmark = pytest.mark.condor

SITE = """
c.HTCondorBackend.submitter = "session"
c.HTCondorBackend.x509 = "required"
c.HTCondorBackend.x509_minimum = 1800
c.HTCondorBackend.x509_command = "make-one{out}"
c.ClusterConfig.environment = {"DASK_LOGGING__DISTRIBUTED": "debug"}  # every message is in the logs
"""
APPTAINER = """
c.HTCondorBackend.runtime = "apptainer"
c.HTCondorBackend.image = "htcdask/worker:matching"
c.HTCondorBackend.image_registry = "registry.example.org"
c.HTCondorBackend.check_versions = "off"
c.HTCondorBackend.scheduler_image = "none"
c.ClusterConfig.worker_cmd = ["dask", "worker"]
"""
RENEWAL = 15.0  # seconds that a renewed one may take into the running job
SESSION = """
import json, os, time
from pathlib import Path
from htcdaskgateway import HTCGateway
from htcdaskgateway.credentials.errors import CredentialError
from htcdaskgateway.credentials.x509 import parse_x509

directory = Path(os.environ["DIRECTORY"])

def on(word):
    end = time.monotonic() + 60
    while not (directory / word).exists():
        assert time.monotonic() < end, word
        time.sleep(0.05)

def found():
    import os
    told = {}
    for variable in ("X509_USER_PROXY", "BEARER_TOKEN_FILE"):
        path = os.environ.get(variable, "")
        with open(path) as file:
            told[variable] = {"path": path, "mode": os.fstat(file.fileno()).st_mode & 0o777,
                              "directory": os.stat(os.path.dirname(path)).st_mode & 0o777,
                              "scratch": os.environ["_CONDOR_SCRATCH_DIR"], "content": file.read()}
    return told

os.environ["X509_USER_PROXY"] = str(directory / "absent" / "proxy.pem")
try:
    HTCGateway().new_cluster()
except CredentialError as error:
    print("CASE absent", type(error).__name__, str(error).replace(chr(10), "|"), flush=True)
os.environ["X509_USER_PROXY"] = str(directory / "good" / "proxy.pem")
cluster = HTCGateway().new_cluster()
for name in ("absent", "expired", "short", "open"):
    os.environ["X509_USER_PROXY"] = str(directory / name / "proxy.pem")
    for ask in (lambda: cluster.scale(1), lambda: cluster.adapt(minimum=0, maximum=2)):
        try:
            ask()
        except CredentialError as error:
            print("CASE", name, type(error).__name__, str(error).replace(chr(10), "|"), flush=True)
cluster.scale(0)  # fewer, or none, take no credential
print("REFUSED", cluster.workers(), flush=True)
on("go-submit")
os.environ["X509_USER_PROXY"] = str(directory / "good" / "proxy.pem")
cluster.scale(1)
cluster.wait_for_workers(1, timeout=90)
client = cluster.get_client()

def look():
    [told] = client.run(found).values()
    content = told["X509_USER_PROXY"].pop("content")
    proxy = parse_x509(content.encode(), "the job's")
    told["token"] = told["BEARER_TOKEN_FILE"].pop("content")
    told["keys"] = content
    return proxy, told

first, told = look()
(directory / "seen").write_text(json.dumps({**told, "identity": first.identity, "limited": first.limited,
    "sandbox": str(cluster.sandbox)}))
print("SEEN", cluster, cluster._submitter, vars(cluster._submitter), flush=True)
on("go-renewed")
started = time.monotonic()
while True:
    now, again = look()
    if now.not_after != first.not_after and again["token"] != told["token"]:
        break
    assert time.monotonic() - started < 60, (now, first, again["token"] != told["token"])
    time.sleep(0.2)
seconds = time.monotonic() - started
(directory / "renewed").write_text(json.dumps(again))
print(f"RENEWED {seconds:.1f}", flush=True)
on("go-end")
client.close()
cluster.shutdown()
end = time.monotonic() + 30
while [name for name in ("x509.pem", "bearer.token", "dask.pem") if (cluster.sandbox / name).exists()]:
    assert time.monotonic() < end
    time.sleep(0.1)
print("ENDED", flush=True)
"""


@pytest.fixture
def home(accounts: Accounts, pool: Pool) -> Iterator[Path]:
    """A private directory of the analyst's, with X.509 proxies: good, expired, short, open; and a token."""
    with private_home(accounts.analyst) as directory:
        for name, hours in (("good", 12), ("expired", -1), ("short", 0.25), ("open", 12)):
            new_x509(pool, directory / name, accounts.analyst, hours * HOUR)
        (directory / "open" / "proxy.pem").chmod(0o644)
        new_token(directory, accounts.analyst, HOUR)
        yield directory


@pytest.mark.parametrize(("interface", "runtime"), [("tools", "none"), ("bindings", "apptainer")])
def test_a_credential_on_its_way(
    gateway: Callable[..., GatewayServer],
    run_client: ClientFactory,
    pool: Pool,
    accounts: Accounts,
    home: Path,
    interface: str,
    runtime: str,
) -> None:
    if runtime == "apptainer":
        pool.build_images()
    server = gateway(SITE + (APPTAINER if runtime == "apptainer" else ""))
    client = run_client(
        SESSION,
        **server.client_environment(),
        DIRECTORY=str(home),
        BEARER_TOKEN_FILE=str(home / "token"),
        DASK_HTCDASKGATEWAY__SANDBOX=f"{home}/sandboxes/{{cluster}}",
        DASK_HTCDASKGATEWAY__CONDOR__INTERFACE=interface,
    )

    # What will not do: its own sentence, and nothing is submitted.
    client.wait_for("REFUSED []", 90)
    said = [line.split(" ", 3)[1:] for line in client.output().splitlines() if line.startswith("CASE ")]
    sentences = {name: (error, text.split("|")) for name, error, text in said}
    assert [name for name, *_ in said] == ["absent"] * 3 + ["expired"] * 2 + ["short"] * 2 + ["open"] * 2
    error, lines = sentences["absent"]
    assert (error, lines[0]) == (
        "CredentialMissingError",
        f"There is no X.509 proxy at {home}/absent/proxy.pem.",
    )
    assert lines[-1] == f"Make a new one: make-one -out {home}/absent/proxy.pem"
    error, lines = sentences["expired"]
    assert error == "CredentialExpiredError"
    assert lines[0].startswith(f"The X.509 proxy {home}/expired/proxy.pem expired 1 h ")
    error, lines = sentences["short"]
    assert error == "CredentialTooShortError"
    assert "this site asks for at least 30 min." in lines[0]
    error, lines = sentences["open"]
    assert (error, lines[-1]) == (
        "CredentialNotPrivateError",
        f"Make it private: chmod 600 {home}/open/proxy.pem",
    )
    assert server.jobs() == []
    go(home, "submit")

    # A job sees both, privately.
    client.wait_for("SEEN", 120)
    seen = json.loads((home / "seen").read_text())
    for variable, name in (("X509_USER_PROXY", "x509.pem"), ("BEARER_TOKEN_FILE", "bearer.token")):
        told = seen[variable]
        assert told["path"] == f"{told['scratch']}/{name}"
        assert (told["mode"], told["directory"]) == (0o600, 0o700)
    assert (seen["identity"], seen["limited"]) == ("/DC=test/DC=pool/CN=Analyst", True)
    token = (home / "token").read_text()
    assert seen["token"].strip() == token.strip()

    # Renewed while it runs.
    users_keys = grid.secrets_of((home / "good" / "proxy.pem").read_bytes())
    pool.recipe("x509", str(home / "good"), "24")
    renewed_token = new_token(home, accounts.analyst, 7200)
    go(home, "renewed")
    client.wait_for("RENEWED", 90)
    seconds = float(client.output().split("RENEWED ")[1].split()[0])
    assert seconds < RENEWAL
    renewed = json.loads((home / "renewed").read_text())
    assert renewed["BEARER_TOKEN_FILE"] == seen["BEARER_TOKEN_FILE"]  # in its place, as private
    assert renewed["token"] == renewed_token != token

    # And seen nowhere else.
    users_keys += grid.secrets_of((home / "good" / "proxy.pem").read_bytes())
    sandbox = Path(seen["sandbox"])
    clusters_key = grid.secrets_of((sandbox / "dask.pem").read_bytes())
    tokens = [grid.secrets_of(one.encode()) for one in (token, renewed_token)]
    secrets = [*users_keys, *clusters_key, *(secret for found in tokens for secret in found)]
    assert len(secrets) > 40
    assert not shown(secrets, seen["keys"]), "HTCondor makes a key of its own for the job"
    private = {path.name: stat.S_IMODE(path.stat().st_mode) for path in sandbox.iterdir()}
    assert private["x509.pem"] == private["bearer.token"] == 0o600
    assert stat.S_IMODE(sandbox.stat().st_mode) == 0o700
    [ad] = server.jobs()
    assert ad["x509userproxy"] == f"{sandbox}/x509.pem"
    assert ad["EncryptInputFiles"].split(", ")[-1] == "bearer.token"
    [schedulers] = [path.read_text(errors="replace") for path in server.schedulers.rglob("scheduler.log")]
    assert "'op': 'htcdask_token'" in schedulers
    for place, text in {
        "the scheduler's log": schedulers,
        "condor_q -long": pool.command("condor_q", "-allusers", "-long"),
        "the gateway's log": server.log(),
        "the client's output and the reprs in it": client.output(),
        **{
            name: (sandbox / name).read_text(errors="replace")
            for name in private
            if name not in ("x509.pem", "bearer.token", "dask.pem")
        },
        **{f"argument list of {one.pid}": " ".join(one.info["cmdline"] or ()) for one in processes()},
        **{f"environment of {one.pid}": str(one.info["environ"]) for one in processes()},
    }.items():
        assert not shown(secrets, text), place
    for path in server.state_directory.rglob("*"):  # the user's own never came to the gateway
        if path.is_file():
            assert not shown(users_keys, path.read_bytes().decode("ascii", "replace")), path

    go(home, "end")
    client.wait_for("ENDED", 90)
    client.wait()
    [log] = [path.read_text(errors="replace") for path in sandbox.glob("worker-*.err")]
    assert "'op': 'htcdask_token'" in log
    assert not shown(secrets, log)


WAITING_SITE = """
c.HTCondorBackend.submitter = "session"
c.HTCondorBackend.x509 = "required"
c.HTCondorBackend.x509_minimum = 0
c.HTCondorBackend.token = "never"
c.ClusterConfig.submit_commands = {"Requirements": "time() - QDate > 15"}
"""
SHORT = 65.0  # seconds that the first X.509 proxy is good for, from which on no job starts with it after 5
WAITING = """
import os, time
from pathlib import Path
from htcdaskgateway import HTCGateway
from htcdaskgateway.credentials.x509 import parse_x509

directory = Path(os.environ["DIRECTORY"])

def on(word):
    end = time.monotonic() + 60
    while not (directory / word).exists():
        assert time.monotonic() < end, word
        time.sleep(0.05)

def found():
    with open(os.environ["X509_USER_PROXY"]) as file:
        return file.read()

cluster = HTCGateway().new_cluster()
print("READY", flush=True)
on("go-submit")
cluster.scale(1)
submitted = time.monotonic()
while time.monotonic() - submitted < float(os.environ["SHORT"]) + 2:
    [worker] = cluster.workers()
    assert worker.state.value in ("wanted", "idle"), worker
    time.sleep(0.5)
print("WAITS", worker.state.value, worker.job_id, worker.reason, flush=True)
cluster.wait_for_workers(1, timeout=90)
[again] = cluster.workers()
assert (again.job_id, again.reason) == (worker.job_id, ""), again
client = cluster.get_client()
[content] = client.run(found).values()
print("STARTED", parse_x509(content.encode(), "the job's").not_after, flush=True)
client.close()
cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("interface", "spool"), [("tools", False), ("bindings", True)])
def test_an_x509_proxy_that_ends_while_its_worker_waits(
    gateway: Callable[..., GatewayServer],
    run_client: ClientFactory,
    pool: Pool,
    home: Path,
    interface: str,
    spool: bool,
) -> None:
    server = gateway(WAITING_SITE + f"c.HTCondorAccess.spool = {spool}\n")
    client = run_client(
        WAITING,
        **server.client_environment(),
        DIRECTORY=str(home),
        SHORT=str(SHORT),
        X509_USER_PROXY=str(home / "good" / "proxy.pem"),
        DASK_HTCDASKGATEWAY__SANDBOX=f"{home}/sandboxes/{{cluster}}",
        DASK_HTCDASKGATEWAY__CONDOR__INTERFACE=interface,
        _CONDOR_CRED_MIN_TIME_LEFT="1",  # HTCondor submits no job with less
    )
    client.wait_for("READY", 90)
    pool.recipe("x509", str(home / "good"), str(SHORT / 3600))
    go(home, "submit")
    client.wait_for("WAITS", 120)
    waits = client.output().split("WAITS ")[1].splitlines()[0]
    assert waits.startswith("idle ")
    assert "its X.509 proxy ends at " in waits
    assert waits.endswith(" UTC: it does not start before you have made a new one")
    [ad] = server.jobs()
    assert ad["JobStatus"] == 1
    assert "NumJobStarts" not in ad or ad["NumJobStarts"] == 0

    pool.recipe("x509", str(home / "good"), "12")
    ends = time.time() + 12 * 3600
    client.wait_for("STARTED", 120)
    assert float(client.output().split("STARTED ")[1].split()[0]) == pytest.approx(ends, abs=60)
    client.wait()


def shown(secrets: list[str], text: str) -> list[str]:
    return [secret for secret in secrets if secret in text]


def processes() -> list[psutil.Process]:
    return list(psutil.process_iter(["cmdline", "environ"]))
