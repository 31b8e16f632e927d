"""What one user's code can reach: a user runs any code in a scheduler."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.conftest import Connect
from tests.support.gateway import GatewayServer
from tests.support.pool import Pool
from tests.support.watching import exactly

from htcdaskgateway import HTCGatewayCluster
from htcdaskgateway.client.errors import ClusterFailedError, RefusedError
from htcdaskgateway.errors import AuthenticationError

pytestmark = pytest.mark.condor
SESSION = {"session": "a" * 32, "about": {}, "results": [], "wait": 0}
# Below /api/v1/clusters/NAME
ROUTES: list[tuple[str, str, object]] = [
    ("GET", "/workers", None),
    ("GET", "/workers?since=1", None),
    ("GET", "/logs?tail=9", None),
    ("GET", "/logs?worker=nobody&tail=none", None),
    ("POST", "/session", SESSION),
    ("POST", "/session", {**SESSION, "leave": True}),
    ("POST", "/session", "this is no poll"),
    ("POST", "/scale", {"count": 3}),
    ("POST", "/adapt", {"minimum": 3, "maximum": 3, "active": True}),
    ("GET", "/match", None),
]


def attempt(paths: list[str]) -> dict[str, str]:
    """Run in a scheduler: reads each path, or lists it if it is a directory."""
    import os
    import pwd
    from pathlib import Path

    found = {"me": pwd.getpwuid(os.geteuid()).pw_name}
    for path in map(Path, paths):
        try:
            found[str(path)] = f"read {list(path.iterdir()) if path.is_dir() else len(path.read_bytes())}"
        except OSError as error:
            found[str(path)] = type(error).__name__
    return found


def test_a_scheduler_reads_nothing_but_its_own(server: GatewayServer, connect: Connect) -> None:
    with connect(server).new_cluster() as mine, connect(server, "analyst2").new_cluster() as theirs:
        theirs.scale(1)
        clusters = server.state_directory / "clusters"
        own = server.schedulers / f"daskgateway-{mine.name}"
        forbidden = [
            server.state_directory,
            server.state_directory / "keys",
            server.state_directory / "gateway.sqlite",
            clusters,
            clusters / theirs.name / "dask.pem",
            server.schedulers / f"daskgateway-{theirs.name}",
            server.schedulers / f"daskgateway-{theirs.name}" / "dask.pem",
            server.schedulers / f"daskgateway-{theirs.name}" / "dask-gateway-token",
            Path(f"/proc/{server.pid}/environ"),
        ]
        assert all(os.access(path, os.R_OK) for path in forbidden), "root sees them, so they exist"
        with mine.get_client() as client:
            seen = client.run_on_scheduler(attempt, [*map(str, forbidden), str(own / "dask.pem")])
        assert seen.pop("me") == "analyst"
        assert seen.pop(str(own / "dask.pem")).startswith("read")
        assert set(seen.values()) == {"PermissionError"}, seen
        with theirs.get_client() as client:
            assert client.run_on_scheduler(attempt, [])["me"] == "analyst2"


def processes() -> list[bytes]:
    """Argument lists and environments of all processes of this machine."""
    found = []
    for name in ("cmdline", "environ"):
        for path in Path("/proc").glob(f"[0-9]*/{name}"):
            with contextlib.suppress(OSError):  # it has ended
                found.append(path.read_bytes())
    return found


def test_nothing_secret_is_in_a_command_line_or_the_log(server: GatewayServer, connect: Connect) -> None:
    with connect(server).new_cluster() as cluster:
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=60)
        own = server.schedulers / f"daskgateway-{cluster.name}"
        token = (own / "dask-gateway-token").read_text()
        key = (own / "dask.pem").read_text().splitlines()[1]
        shown = processes()
        shown += [server.log().encode(), str(server.jobs()).encode(), repr(cluster).encode()]
        shown.append((server.state_directory / "gateway.sqlite").read_bytes())
        assert not [text for text in shown if token.encode() in text or key.encode() in text]


def test_a_scheduler_that_hangs_is_its_users_own_trouble(server: GatewayServer, connect: Connect) -> None:
    with connect(server).new_cluster() as mine, connect(server, "analyst2").new_cluster() as theirs:
        with mine.get_client() as client:
            pid = client.run_on_scheduler(os.getpid)
        os.kill(pid, signal.SIGSTOP)
        heard: list[Exception] = []
        done: list[str] = []

        def ask() -> None:
            try:
                mine.scale(1)
            except RefusedError as error:
                heard.append(error)
            done.append("mine")

        asking = threading.Thread(target=ask)
        asking.start()
        theirs.scale(1)
        done.append("theirs")
        asking.join(30)
        os.kill(pid, signal.SIGCONT)
    assert done == ["theirs", "mine"]
    assert "did not answer in 10 s" in str(heard[0])


def answer(server: GatewayServer, user: str, method: str, path: str, body: object = None) -> tuple[int, str]:
    """Status and body, of a request below ``/api/v1/clusters``."""
    given = base64.b64encode(f"{user}:".encode()).decode()
    request = urllib.request.Request(
        f"{server.url}/api/v1/clusters/{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Basic {given}", "Content-Type": "application/json"} if user else {},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answered:
            return answered.status, answered.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.usefixtures("submitter")
def test_what_a_stranger_is_answered(
    server: GatewayServer, cluster: HTCGatewayCluster, submitter: str
) -> None:
    """Of what there is, and of what there is not: dask-gateway's own answer, and no word more."""
    cluster.scale(1)
    before = exactly(server, cluster, 1)

    def session() -> object:
        return json.loads(answer(server, "analyst", "GET", f"{cluster.name}/workers")[1])["session"]

    about = session()
    assert bool(about) == (submitter == "session")
    theirs = answer(server, "analyst2", "GET", cluster.name)
    absent = answer(server, "analyst2", "GET", "nothing-of-this-name")
    assert (theirs[0], absent[0]) == (403, 404)
    for method, path, body in ROUTES:
        name = f"{method} {path} {body}"
        assert answer(server, "analyst2", method, f"{cluster.name}{path}", body) == theirs, name
        assert answer(server, "analyst2", method, f"nothing-of-this-name{path}", body) == absent, name
        assert answer(server, "", method, f"{cluster.name}{path}", body)[0] == 401, name
    assert answer(server, "analyst2", "DELETE", cluster.name)[0] == 403
    assert exactly(server, cluster, 1) == before
    assert session() == about
    cluster.scale(2)  # its own session has the lease as before
    exactly(server, cluster, 2)


def test_another_users_cluster(server: GatewayServer, connect: Connect) -> None:
    with connect(server).new_cluster() as cluster:
        stranger = connect(server, "analyst2")
        for ask in (
            lambda: stranger.scale_cluster(cluster.name, 3),
            lambda: stranger.sync(stranger._workers, cluster.name),
            lambda: stranger.stop_cluster(cluster.name),
            lambda: stranger.connect(cluster.name),
        ):
            with pytest.raises(AuthenticationError, match="does not permit this"):
                ask()
        assert stranger.list_clusters() == []
        assert server.jobs() == []


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ("c.LocalLauncher.command_prefix = []\n", "under the gateway's own account"),
        ('c.LocalLauncher.command_prefix = ["sudo", "-nu", "htcdask"]\n', "does not name {user}"),
        ('c.HTCondorBackend.state_directory = "/tmp"\n', "belongs to others or is open to them"),
        ('c.HTCondorBackend.state_directory = "/proc/x"\n', "cannot be used"),
        ('c.HTCondorBackend.db_url = "postgresql+psycopg://x@127.0.0.1:1/x"\n', "db_url cannot be used"),
    ],
)
def test_the_gateway_refuses_to_start_and_says_why(
    gateway: Callable[..., GatewayServer], configuration: str, words: str
) -> None:
    with pytest.raises(RuntimeError, match="the gateway ended") as caught:
        gateway(configuration)
    assert words in str(caught.value)
    assert "AttributeError" not in str(caught.value)


def test_a_command_prefix_that_may_not(gateway: Callable[..., GatewayServer], connect: Connect) -> None:
    server = gateway('c.LocalLauncher.command_prefix = ["sudo", "-nu", "{user}", "-g", "root", "--"]\n')
    with pytest.raises(ClusterFailedError, match="sudo: "):
        connect(server).new_cluster()


def test_a_personal_gateway_needs_no_prefix_and_serves_nobody_else(
    gateway: Callable[..., GatewayServer], connect: Connect, pool: Pool
) -> None:
    server = gateway('c.LocalLauncher.command_prefix = []\nc.LocalLauncher.single_user = "analyst"\n')
    with connect(server).new_cluster() as cluster, cluster.get_client() as client:
        assert client.run_on_scheduler(attempt, [])["me"] == server.user
    with pytest.raises(ValueError, match="serves 'analyst' only, not 'analyst2'"):
        connect(server, "analyst2").new_cluster()
