"""The launcher against a real API server, by itself: nothing runs the pods that it makes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.kubernetes.conftest import Signal
from tests.kubernetes.launching import ACCOUNT, account, make, objects, set_role, spec, whole
from tests.support.kubernetes import Kubernetes
from tests.support.waiting import eventually

from htcdaskgateway.errors import ConfigurationError, HTCDaskError, SchedulerStartError
from htcdaskgateway.launchers.kubernetes import KubernetesLauncher
from htcdaskgateway.launchers.kubernetes.api import RENEWAL_PAUSE, Api
from htcdaskgateway.launchers.kubernetes.names import USER
from htcdaskgateway.launchers.kubernetes.permissions import RULES
from htcdaskgateway.launchers.kubernetes.traits import KubernetesSettings
from htcdaskgateway.launchers.kubernetes.verdict import has_started

AWAY = 12.0  # seconds; longer than one attempt takes. test_away has the 30 s

Open = Callable[..., Awaitable[KubernetesLauncher]]


@pytest.fixture
def cluster(own_apiserver: tuple[Kubernetes, Signal]) -> Kubernetes:
    return own_apiserver[0]


@pytest.fixture
def space(cluster: Kubernetes) -> str:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.create_namespace(name)
    return name


@pytest.fixture
def kubeconfig(cluster: Kubernetes, space: str, tmp_path: Path) -> Path:
    """Of the gateway's account."""
    return account(cluster, space, tmp_path / "kubeconfig")


@pytest.fixture
async def launcher(kubeconfig: Path, space: str) -> AsyncIterator[Open]:
    """Opens launchers: ``await launcher("gateway-1", stop_timeout=1)``."""
    async with AsyncExitStack() as stack:

        async def opened(gateway: str = "gateway-1", **traits: Any) -> KubernetesLauncher:
            made = make(kubeconfig, space, **traits)
            await made.open(gateway)
            stack.push_async_callback(made.close)
            return made

        yield opened


async def gone(cluster: Kubernetes, space: str, left: list[tuple[str, str, str]] | None = None) -> None:
    """Wait until the garbage collector is done, which takes a moment."""
    await asyncio.to_thread(
        eventually, f"only {left or []} left", lambda: objects(cluster, space) == (left or []), 10, 0.2
    )


async def test_it_starts_once_and_stops_with_nothing_left(
    launcher: Open, cluster: Kubernetes, space: str
) -> None:
    one = await launcher()
    state = await one.start(spec())
    assert await one.start(spec()) == state
    assert json.loads(json.dumps(state)) == state
    assert objects(cluster, space) == whole("gateway-1", ["c1"])
    assert await one.failure("alice", state) == ""
    await one.stop("alice", state)
    await gone(cluster, space)
    await one.stop("alice", state)
    await one.stop("alice", one.place("c1"))


async def test_a_later_gateway_process_finds_and_ends_it(
    launcher: Open, cluster: Kubernetes, space: str
) -> None:
    state = await (await launcher()).start(spec())
    later = await launcher()
    assert await later.failure("alice", state) == ""
    assert later.addresses(state) == (await launcher()).addresses(state)
    assert await later.start(spec()) == state
    await later.stop("alice", state)
    await gone(cluster, space)


async def test_what_an_earlier_start_has_left_is_replaced(
    launcher: Open, cluster: Kubernetes, space: str
) -> None:
    one = await launcher()
    before = await one.start(spec())
    after = await one.start(spec(files={"dask.pem": "another key"}))
    assert after["uid"] != before["uid"]
    await gone(cluster, space, whole("gateway-1", ["c1"]))
    assert await one.failure("alice", after) == ""
    assert "has been deleted" in await one.failure("alice", before)


@pytest.mark.parametrize("kind", ["secret generic", "service clusterip", "pod"])
async def test_somebody_elses_object_is_left_alone(
    launcher: Open, cluster: Kubernetes, space: str, kind: str
) -> None:
    one = await launcher()
    name = one.place("c1")["name"]
    if kind == "pod":
        cluster.kubectl("run", name, "--image=x", "-n", space)
    else:
        more = ["--tcp=1:1"] if "service" in kind else []
        cluster.kubectl("create", *kind.split(), name, "-n", space, *more)
    with pytest.raises(SchedulerStartError, match=f"{name!r} exists and is not this gateway's"):
        await one.start(spec())
    await one.stop("alice", one.place("c1"))
    await one.sweep(lambda cluster: False)
    await gone(cluster, space)
    assert cluster.kubectl("get", kind.partition(" ")[0], name, "-n", space)


async def test_two_gateways_in_one_namespace(launcher: Open, cluster: Kubernetes, space: str) -> None:
    one, other = await launcher("gateway-1"), await launcher("gateway-2")
    state = await one.start(spec())
    others = await other.start(spec())
    assert state["name"] != others["name"]
    await one.sweep(lambda cluster: False)
    await gone(cluster, space, whole("gateway-2", ["c1"]))
    await one.stop("alice", one.place("c1"))
    assert set(one._watch.pods) == set()
    assert set(other._watch.pods) == {others["name"]}
    assert objects(cluster, space) == whole("gateway-2", ["c1"])
    assert await other.failure("alice", others) == ""


async def test_the_sweep_keeps_what_is_known(launcher: Open, cluster: Kubernetes, space: str) -> None:
    one = await launcher()
    for name in ("c1", "c2", "c 3"):
        await one.start(spec(name))
    await one.sweep(lambda cluster: cluster in ("c1", "c 3"))
    label = one._names.identity("c 3")["htcdaskgateway/cluster"]
    await gone(cluster, space, whole("gateway-1", ["c1", label]))


@pytest.mark.parametrize("way", ["sweep", "stop", "start"])
async def test_what_has_lost_its_secret_goes_by_its_labels(
    launcher: Open, cluster: Kubernetes, space: str, way: str
) -> None:
    one = await launcher()
    state = await one.start(spec())
    await one.start(spec("kept"))
    await (await launcher("gateway-2")).start(spec())
    # The command waits until the garbage collector has taken the owner out of pod and service.
    cluster.kubectl("delete", "secret", state["name"], "-n", space, "--cascade=orphan")
    others = [*whole("gateway-1", ["kept"]), *whole("gateway-2", ["c1"])]
    left = [("Pod", "gateway-1", "c1"), ("Service", "gateway-1", "c1")]
    assert objects(cluster, space) == sorted([*others, *left])
    if way == "sweep":
        await one.sweep(lambda cluster: cluster == "kept")
    elif way == "stop":
        await one.stop("alice", state)
    else:
        assert (await one.start(spec()))["uid"] != state["uid"]
        others += whole("gateway-1", ["c1"])
    await gone(cluster, space, sorted(others))


async def test_a_pod_that_somebody_deletes(launcher: Open, cluster: Kubernetes, space: str) -> None:
    one = await launcher()
    state = await one.start(spec())
    cluster.kubectl("delete", "pod", state["name"], "-n", space)
    assert await one._watch.until(lambda: not one._watch.pods, 10)
    assert await one.failure("alice", state) == "The scheduler's pod has been deleted."
    await one.stop("alice", state)
    await gone(cluster, space)


RUNS = {
    "phase": "Running",
    "containerStatuses": [
        {"name": "scheduler", "image": "x", "imageID": "x", "ready": True, "restartCount": 0,
         "state": {"running": {}}}
    ],
}  # fmt: skip


@pytest.mark.parametrize("runs", [True, False])
async def test_a_pod_on_a_lost_node_is_removed_by_force(
    launcher: Open, cluster: Kubernetes, space: str, runs: bool
) -> None:
    """No kubelet ever says that it has ended. One that never began is not waited for."""
    one = await launcher(pod_template={"spec": {"nodeName": "lost"}}, stop_grace=2, stop_timeout=3)
    state = await one.start(spec())
    if runs:
        status = json.dumps({"status": RUNS})
        cluster.kubectl("patch", "pod", state["name"], "-n", space, "--subresource=status", "-p", status)
        assert await one._watch.until(lambda: has_started(one._watch.pods[state["name"]]), 5)
    began = time.monotonic()
    await one.stop("alice", state)
    assert (time.monotonic() - began > 5) == runs
    await gone(cluster, space)


async def test_quota_zero_is_said_at_once(launcher: Open, cluster: Kubernetes, space: str) -> None:
    cluster.kubectl("create", "quota", "nothing", "--hard=pods=0", "-n", space)
    eventually("quota", lambda: "pods: 0/0" in cluster.kubectl("get", "quota", "-n", space), 20)
    one, began = await launcher(), time.monotonic()
    with pytest.raises(SchedulerStartError, match=r"exceeded quota: nothing, requested: pods=1"):
        await one.start(spec())
    assert time.monotonic() - began < 5
    await one.stop("alice", one.place("c1"))
    await gone(cluster, space)


@pytest.mark.parametrize("rule", RULES, ids=" ".join)
async def test_a_permission_that_lacks_is_named_at_start(
    cluster: Kubernetes, space: str, tmp_path: Path, rule: tuple[str, str]
) -> None:
    launcher = make(account(cluster, space, tmp_path / "kubeconfig", without=rule), space)
    with pytest.raises(ConfigurationError) as caught:
        await launcher.open("gateway-1")
    await launcher.close()
    assert caught.value.facts == {"it may not": " ".join(rule)}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (("create", "secrets"), "may not create secrets"),
        (("create", "services"), "may not create services"),
        (("create", "pods"), "may not create pods"),
        (("delete", "pods"), "may not delete pods"),
        (("list", "pods"), "may not list pods"),
        (("watch", "pods"), "may not watch pods"),
        (("list", "secrets"), "may not list secrets"),
        (("delete", "secrets"), "may not delete secrets"),
        (("list", "services"), "may not list services"),
        (("delete", "services"), "may not delete services"),
        (("get", "pods/log"), "may not get pods/log"),
        (("list", "events"), "may not list events"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_a_permission_that_is_taken_away_later_is_named(
    kubeconfig: Path, cluster: Kubernetes, space: str, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch, rule: tuple[str, str], words: str,
) -> None:  # fmt: skip
    """Each is used: without it something of a cluster's life is refused, and said."""
    caplog.set_level(logging.INFO)
    set_role(cluster, space, rule)

    async def nothing(self: Api) -> list[tuple[str, str]]:
        return []

    monkeypatch.setattr(Api, "lacking", nothing)
    launcher = make(kubeconfig, space, stop_timeout=1)
    await launcher.open("gateway-1")
    said = []
    try:
        await asyncio.sleep(1)  # until pods are followed, or cannot be
        for _ in range(2):
            state = await launcher.start(spec())
        await launcher.delay("alice", state)  # what a cluster is told that takes long to start
        if rule in (("delete", "services"), ("delete", "pods")):  # else the garbage collector is quicker
            cluster.kubectl("delete", "secret", state["name"], "-n", space, "--cascade=orphan")
        await launcher.stop("alice", state)
    except HTCDaskError as error:
        said.append(str(error))
    finally:
        await launcher.close()
    assert words in " ".join([*said, caplog.text])


STARTS = """
import asyncio, os, sys
from pathlib import Path
from tests.kubernetes.conftest import Signal
from tests.kubernetes.launching import make, spec

async def start(cluster):
    launcher = make(Path(sys.argv[1]), sys.argv[2])
    await launcher.open("gateway-1")
    await asyncio.wait_for(launcher._watch.synced.wait(), 10)
    os.write(1, b"%d\\n" % os.getpid())
    await launcher.start(spec(cluster))
    await asyncio.sleep(60)

for cluster in sys.stdin:
    pid = os.fork()
    if not pid:
        asyncio.run(start(cluster.strip()))
    os.waitpid(pid, 0)
"""


class Starts:
    """A process whose children each start one cluster's scheduler, and are killed at it."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTS, str(kubeconfig), namespace], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def kill_one(self, cluster: str, seconds: float) -> None:
        """Begin a start, and kill -9 so many seconds later."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{cluster}\n")
        pid = int(self.process.stdout.readline())
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        eventually(f"{pid} gone", lambda: not Path(f"/proc/{pid}").exists(), 5, 0.001)

    def close(self) -> None:
        with self.process:
            self.process.kill()


async def test_killed_at_any_instant_of_a_start(
    kubeconfig: Path, launcher: Open, cluster: Kubernetes, space: str
) -> None:
    """Nothing is made twice, and nothing is left."""
    instants = random.Random(20261122)
    reached: set[int] = set()
    starts = await asyncio.to_thread(Starts, kubeconfig, space)
    try:
        for number in range(20):
            name = f"c{number}"
            await asyncio.to_thread(starts.kill_one, name, instants.uniform(0, 0.025))
            await asyncio.sleep(0.2)  # what the API server had begun is there
            found = objects(cluster, space)
            reached.add(len(found))
            assert set(found) <= set(whole("gateway-1", [name]))
            assert len(set(found)) == len(found)
            later = await launcher()  # as a gateway that is started again
            state = later.place(name)
            if number % 2:
                state = await later.start(spec(name))
                assert objects(cluster, space) == whole("gateway-1", [name])
            await later.stop("alice", state)
            await gone(cluster, space)
    finally:
        starts.close()
    assert len(reached) > 1, f"always killed with {reached} objects made"


async def test_an_api_server_that_is_away(
    launcher: Open, own_apiserver: tuple[Kubernetes, Signal], space: str
) -> None:
    """In the middle of a start, and of a stop."""
    cluster, send = own_apiserver
    one = await launcher()
    kept = await one.start(spec("kept"))

    async def while_away(doing: Awaitable[Any]) -> Any:
        send("apiserver", "STOP")
        try:
            task = asyncio.ensure_future(doing)
            await asyncio.sleep(AWAY)
            assert not task.done()
            assert await one.failure("alice", kept) == ""
        finally:
            send("apiserver", "CONT")
        return await asyncio.wait_for(task, 30)

    state = await while_away(one.start(spec()))
    assert objects(cluster, space) == whole("gateway-1", ["c1", "kept"])
    await while_away(one.stop("alice", state))
    await gone(cluster, space, whole("gateway-1", ["kept"]))
    cluster.kubectl("delete", "pod", kept["name"], "-n", space)
    assert await one._watch.until(lambda: not one._watch.pods, 30)
    assert "has been deleted" in await one.failure("alice", kept)


@pytest.mark.parametrize("user", ["alice@example.org", "a" * 300, "../../x", "ü\n\0'\"", "{}", "-"])
async def test_hostile_users(launcher: Open, cluster: Kubernetes, space: str, user: str) -> None:
    one = await launcher()
    await one.start(spec("c/1 ' \n", user=user))
    [pod] = cluster.objects("pods", space)
    assert pod["metadata"]["annotations"][USER] == user
    assert "alice" not in json.dumps(pod["metadata"]["labels"]) or "alice" in user
    await one.stop(user, one.place("c/1 ' \n"))
    await gone(cluster, space)


async def test_a_template_that_kubernetes_refuses(launcher: Open, cluster: Kubernetes, space: str) -> None:
    one = await launcher(pod_template={"spec": {"restartPolicy": "Sometimes"}})
    with pytest.raises(SchedulerStartError, match=r"spec.restartPolicy: Unsupported value: \"Sometimes\""):
        await one.start(spec())
    await one.stop("alice", one.place("c1"))
    await gone(cluster, space)


async def test_a_gateway_that_starts_while_there_is_no_api_server(tmp_path: Path, kubeconfig: Path) -> None:
    config = json.loads(kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "nowhere").write_text(json.dumps(config))
    launcher = make(tmp_path / "nowhere", "default", api_timeout=1)
    await launcher.open("gateway-1")
    with pytest.raises(SchedulerStartError, match=r"Cannot connect to host 127\.0\.0\.1:9"):
        await launcher.start(spec())
    await launcher.close()


@pytest.mark.parametrize("may", [True, False], ids=["still", "no-more"])
async def test_schedulers_of_another_namespace_are_ended(
    kubeconfig: Path,
    cluster: Kubernetes,
    space: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    may: bool,
) -> None:
    before = make(kubeconfig, space)
    await before.open("gateway-1")
    state = await before.start(spec())
    await before.close()
    moved = f"{space}-moved"
    cluster.create_namespace(moved)
    now = make(cluster.kubeconfig if may else account(cluster, moved, tmp_path / "moved"), moved)
    await now.open("gateway-1")
    try:
        assert await now._watch.until(lambda: True, 10)
        assert f"is in the Kubernetes namespace {space!r}" in await now.failure("alice", state)
        await now.stop("alice", state)
    finally:
        await now.close()
    if may:
        await gone(cluster, space)
    else:
        assert f"kubectl -n {space} delete secrets,services,pods -l " in caplog.text
        assert f"may not list secrets in the Kubernetes namespace {space!r}" in caplog.text


async def test_a_gateway_outside_outlives_its_token(
    cluster: Kubernetes, space: str, tmp_path: Path, kubeconfig: Path
) -> None:
    config, token = json.loads(kubeconfig.read_text()), tmp_path / "token"
    [user] = config["users"]
    token.write_text(user["user"].pop("token"))
    user["user"]["tokenFile"] = str(token)
    renewing = tmp_path / "renewing"
    renewing.write_text(json.dumps(config))
    launcher = make(renewing, space)
    await launcher.open("gateway-1")
    try:
        state = await launcher.start(spec())
        cluster.kubectl("delete", "serviceaccount", ACCOUNT, "-n", space)
        cluster.kubectl("create", "serviceaccount", ACCOUNT, "-n", space)

        def refused() -> bool:  # the API server believes a token for 10 s
            tried = ["kubectl", f"--kubeconfig={kubeconfig}", "get", "pods"]
            return b"logged in" in subprocess.run(tried, capture_output=True, check=False).stderr

        await asyncio.to_thread(eventually, "the token is refused", refused, 30, 0.5)
        with pytest.raises(SchedulerStartError, match="does not take the gateway's credentials"):
            await launcher.start(spec("c2"))
        token.write_text(cluster.token(ACCOUNT, space))
        await asyncio.sleep(RENEWAL_PAUSE)
        await launcher.start(spec("c2"))
        cluster.kubectl("delete", "pod", state["name"], "-n", space)
        assert await launcher._watch.until(lambda: state["name"] not in launcher._watch.pods, 30)
        assert "has been deleted" in await launcher.failure("alice", state)
        for name in ("c1", "c2"):
            await launcher.stop("alice", launcher.place(name))
    finally:
        await launcher.close()
    await gone(cluster, space)


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    launcher = make(tmp_path / "none", "default")
    with pytest.raises(ConfigurationError, match="does not know how to reach Kubernetes"):
        asyncio.run(launcher.open("gateway-1"))


def test_the_namespace_is_the_pods_own_where_it_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KubernetesSettings().namespace == "default"
    monkeypatch.setattr("htcdaskgateway.launchers.kubernetes.traits.ACCOUNT", tmp_path)
    (tmp_path / "namespace").write_text("schedulers\n")
    assert KubernetesSettings().namespace == "schedulers"
