"""The launcher on a Kubernetes that runs its pods: they start, fail and end as they do at a site."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.kubernetes.launching import account, make, objects, set_role, spec, stopped
from tests.support.kubernetes import BUSYBOX, NODE_ADDRESS, Kubernetes
from tests.support.waiting import eventually

from htcdaskgateway.launchers.base import SchedulerImage
from htcdaskgateway.launchers.kubernetes import KubernetesLauncher
from htcdaskgateway.launchers.kubernetes.answers import LOG_KEPT
from htcdaskgateway.launchers.kubernetes.verdict import has_started

PUBLIC_BUSYBOX = "docker.io/library/busybox:1.36"  # where a person's own cluster runs these
USER = 1000

Open = Callable[..., Awaitable[KubernetesLauncher]]


@pytest.fixture
async def launcher(kubernetes: Kubernetes, namespace: str, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens a launcher with the gateway's account; whatever it has started is gone at the end."""
    kubeconfig = account(kubernetes, namespace, tmp_path / "kubeconfig")
    async with AsyncExitStack() as stack:

        async def opened(**traits: Any) -> KubernetesLauncher:
            image = BUSYBOX if kubernetes.own else PUBLIC_BUSYBOX
            settings = {"image": image, "image_pull_policy": "IfNotPresent", "run_as_user": USER, **traits}
            made = make(kubeconfig, namespace, **settings)
            await made.open("gateway-1")
            stack.push_async_callback(made.close)
            return made

        yield opened
    gone = eventually("nothing left", lambda: not objects(kubernetes, namespace), 30, 0.5)
    assert gone


def shell(script: str, **more: Any) -> Any:
    return spec(command=("/bin/sh", "-c", script), **more)


async def reason(launcher: KubernetesLauncher, state: dict[str, Any], seconds: float = 60) -> str:
    """Wait until the launcher says why it has failed, and stop what is left."""
    for _ in range(int(seconds * 5)):
        if found := await launcher.failure("alice", state):
            await launcher.stop("alice", state)
            return found
        await asyncio.sleep(0.2)
    raise TimeoutError(f"no reason in {seconds} s: {launcher._watch.pods}")


LOOK = """
exec 2>&1
echo "user $(id -u)"
for f in dask.crt dask.pem dask-gateway-token; do cat $f; echo; done
echo x > /tmp/x && echo x > here && echo "writable: /tmp and $(pwd)"
echo x > /x || echo "not writable: /"
[ -e /var/run/secrets/kubernetes.io ] || echo "no service account"
env | grep -c _SERVICE_HOST
echo "grep NoNewPrivs Seccomp:"
grep -E 'NoNewPrivs|^Seccomp:|CapEff|CapBnd' /proc/self/status
sleep 600
"""


@pytest.mark.parametrize(("user", "group"), [(USER, USER), (1_000_670_000, None)], ids=["own", "as on OKD"])
async def test_a_scheduler_runs_confined_and_its_log_is_kept(
    launcher: Open, user: int, group: int | None
) -> None:
    one = await launcher(run_as_user=user, fs_group=group)
    state = await one.start(shell(LOOK, environment={"PATH": "/bin"}))
    name = state["name"]
    assert await one._watch.until(lambda: has_started(one._watch.pods[name]), 60)
    await asyncio.sleep(1)
    assert await one.failure("alice", state) == ""
    log = (await one.stop("alice", state)).splitlines()
    assert log[:4] == [f"user {user}", "certificate", "key", "token"]
    assert "writable: /tmp and /home/dask" in log
    assert "not writable: /" in log
    assert "no service account" in log
    # what the kubelet itself says of Kubernetes' own service, and no other
    assert int(log[log.index("no service account") + 1]) <= 1
    facts = {line.partition(":")[0]: line.split()[-1] for line in log[-4:]}
    assert facts["NoNewPrivs"] == "1"
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0


@pytest.mark.parametrize("way", ["cluster-ip", "pod-ip", "node-port"])
async def test_ways_from_outside(launcher: Open, kubernetes: Kubernetes, way: str) -> None:
    if not kubernetes.own:
        pytest.skip("whether pods, services and nodes can be reached from here is this cluster's business")
    one = await launcher(scheduler_address=way, node_address=NODE_ADDRESS if way == "node-port" else "")
    serve = "echo found > /tmp/index.html; exec httpd -f -p 8787 -h /tmp"
    state = await one.start(shell(serve, environment={"PATH": "/bin"}))
    name = state["name"]
    assert await one._watch.until(lambda: "podIP" in one._watch.pods[name].get("status", {}), 60)
    url = (one.addresses(state) or {})["dashboard_address"]

    def fetched() -> str:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    assert await asyncio.to_thread(eventually, f"answer of {url}", fetched, 30) == "found\n"
    await one.stop("alice", state)


async def test_one_that_runs_and_is_not_heard_of(launcher: Open) -> None:
    one = await launcher()
    state = await one.start(shell("echo Failed to send heartbeat; sleep 600"))
    assert await one._watch.until(lambda: has_started(one._watch.pods[state["name"]]), 60)
    await asyncio.sleep(1)
    found = await one.delay("alice", state)
    assert found.startswith("Kubernetes says: Started, ")
    assert found.endswith("Its last words: Failed to send heartbeat")
    await one.stop("alice", state)


async def test_one_that_crashes_at_its_start(launcher: Open) -> None:
    one = await launcher()
    state = await one.start(shell("echo starting; echo No module named dask >&2; exit 3"))
    assert await reason(one, state) == (
        "The scheduler's pod has ended: Error, exit code 3. Its last words: No module named dask"
    )


async def test_what_it_writes_is_in_any_bytes_and_does_nothing_to_a_terminal(launcher: Open) -> None:
    one = await launcher()
    script = r"printf 'caf\351 \377\033[2J\n'; printf '\a\377' >/dev/termination-log; exit 3"
    state = await one.start(shell(script))
    assert await reason(one, state) == (
        r"The scheduler's pod has ended: Error, \x07�, exit code 3. Its last words: caf� �\x1b[2J"
    )


async def test_of_a_log_that_is_too_long_to_be_read_the_end_is_kept(launcher: Open) -> None:
    one = await launcher(stop_grace=0)
    script = "head -c 30000000 /dev/zero | tr '\\0' x; echo; echo the end; sleep 600"
    state = await one.start(shell(script, environment={"PATH": "/bin"}))
    for _ in range(300):
        if (await one.delay("alice", state)).endswith("the end"):
            break
        await asyncio.sleep(0.2)
    began = time.monotonic()
    log = await one.stop("alice", state)
    assert log.endswith("the end\n")
    assert len(log) <= LOG_KEPT
    assert time.monotonic() - began < 30


async def test_without_permission_for_logs_it_has_no_last_words(
    launcher: Open, kubernetes: Kubernetes, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = await launcher()
    set_role(kubernetes, namespace, ("get", "pods/log"))  # the gateway would not start without it
    state = await one.start(shell("echo No module named dask >&2; exit 3"))
    assert await reason(one, state) == "The scheduler's pod has ended: Error, exit code 3."
    assert f"may not get pods/log in the Kubernetes namespace {namespace!r}" in caplog.text


async def test_a_program_that_the_image_lacks(launcher: Open) -> None:
    one = await launcher()
    state = await one.start(spec(command=("no-such-program",)))
    found = await reason(one, state)
    assert "no-such-program" in found
    assert "not found" in found


@pytest.mark.parametrize(
    ("image", "traits", "words"),
    [
        ("registry.local/none:1", {"image_pull_policy": "Never"}, "ErrImageNeverPull"),
        ("Registry.local/None", {}, "InvalidImageName"),
        ("127.0.0.1:9/none:1", {"image_pull_patience": 1}, "ErrImagePull, rpc error"),
        ("", {"run_as_user": None}, "image will run as root"),
    ],
)
async def test_images_that_cannot_be(
    launcher: Open, kubernetes: Kubernetes, image: str, traits: dict[str, Any], words: str
) -> None:
    one = await launcher(**traits)
    state = await one.start(spec(image=SchedulerImage(image, "") if image else None))
    found = await reason(one, state)
    assert found.startswith("The scheduler's pod cannot start: ")
    assert words in found


async def test_no_node_for_it(launcher: Open) -> None:
    one = await launcher(node_selector={"no": "such-node"}, scheduling_patience=2)
    state = await one.start(shell("sleep 600"))
    assert await one._watch.until(lambda: bool(one._watch.problems), 30)
    waits = await one.delay("alice", state)
    assert waits.startswith("The scheduler's pod finds no node: Unschedulable, 0/")
    assert "Kubernetes says" not in waits, "it would be the same again"
    assert await one.delay("alice", one.place("other")) == ""
    found = await reason(one, state)
    assert found.startswith("The scheduler's pod finds no node: Unschedulable, 0/")
    assert "nodes are available" in found


async def test_one_that_needs_more_than_a_node_has(launcher: Open) -> None:
    one = await launcher(scheduling_patience=0)
    found = await reason(one, await one.start(shell("sleep 600", cores=10_000)))
    assert "Insufficient cpu" in found


async def test_one_that_uses_too_much_memory(launcher: Open) -> None:
    one = await launcher()
    script = "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done"
    found = await reason(one, await one.start(shell(script, memory=32 * 2**20)))
    assert "OOMKilled" in found or "exit code 137" in found


async def test_one_that_is_deleted_by_hand(launcher: Open, kubernetes: Kubernetes, namespace: str) -> None:
    one = await launcher()
    state = await one.start(shell("echo up; sleep 600"))
    name = state["name"]
    assert await one._watch.until(lambda: has_started(one._watch.pods[name]), 60)
    await asyncio.to_thread(kubernetes.kubectl, "delete", "pod", name, "-n", namespace, "--wait=false")
    found = await reason(one, state, 20)
    assert found.startswith(("The scheduler's pod is being deleted", "The scheduler's pod has been deleted"))


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_node_that_is_lost(launcher: Open, kubernetes: Kubernetes) -> None:
    """The kubelet stops answering: Kubernetes takes 40 s to notice."""
    if not kubernetes.own:
        pytest.skip("the nodes of this cluster are not ours to stop")
    one = await launcher(node_lost_timeout=1, stop_timeout=2)
    state = await one.start(shell("echo up; sleep 600"))
    name = state["name"]
    assert await one._watch.until(lambda: has_started(one._watch.pods[name]), 60)
    with stopped("kubelet"):
        found = await reason(one, state, 120)
    ready = ("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
    await asyncio.to_thread(kubernetes.kubectl, *ready, deadline=70)
    # Kubernetes would take it away, were there another node that answers.
    assert "which does not answer" in found or "TaintManagerEviction" in found
