"""The gateway is killed while it makes secret, service and pod: nothing is left over, nothing is made twice.

Against an API server by itself: a pod that never runs is as good here, and is gone sooner.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from dask_gateway import BasicAuth
from tests.kubernetes.conftest import Signal
from tests.kubernetes.launching import account, objects, whole
from tests.support.accounts import Accounts
from tests.support.front import Front
from tests.support.gateway import GatewayServer
from tests.support.kubernetes import Kubernetes
from tests.support.waiting import eventually

from htcdaskgateway import HTCGateway
from htcdaskgateway.errors import HTCDaskError

SITE = """
c.HTCondorBackend.launcher_class = "htcdaskgateway.launchers.kubernetes.KubernetesLauncher"
c.KubernetesLauncher.kubeconfig = "{kubeconfig}"
c.KubernetesLauncher.namespace = "{namespace}"
c.KubernetesLauncher.scheduler_address = "cluster-ip"
c.KubernetesLauncher.image = "registry.local/none:1"
c.HTCondorBackend.api_url = "http://gateway.example.org/api"
c.HTCondorBackend.worker_contact = "gateway-proxy"
c.HTCondorBackend.cluster_start_timeout = 600
c.HTCondorBackend.db_cleanup_period = 1
c.HTCondorBackend.stop_clusters_on_shutdown = False
"""
ALL = 3  # objects of a cluster
DELAY = 0.05  # seconds between gateway and API server


class Rounds:
    """One gateway with its state, and an API server."""

    def __init__(self, server: GatewayServer, gateway: HTCGateway, found: Kubernetes, namespace: str) -> None:
        self.server, self.gateway, self.kubernetes, self.namespace = server, gateway, found, namespace
        self.reached: Counter[int] = Counter()

    def objects(self) -> list[tuple[str, str, str]]:
        return objects(self.kubernetes, self.namespace)

    def clusters(self, *status: str) -> list[str]:
        return [report.name for report in self.gateway.list_clusters(status=status or None)]

    def is_whole(self, cluster: str) -> bool:
        """Whether there is one of each, and all belong to the same secret."""
        found = self.kubernetes.objects(
            "secrets,services,pods", self.namespace, "-l", "htcdaskgateway/cluster"
        )
        owners = {
            one["metadata"]["ownerReferences"][0]["uid"]
            if one["kind"] != "Secret"
            else one["metadata"]["uid"]
            for one in found
        }
        return self.objects() == whole(self.server.instance, [cluster]) and len(owners) == 1

    def stop(self, cluster: str) -> None:
        self.gateway.stop_cluster(cluster)
        # It may be on its way up once more: a cluster that is stopped waits for that.
        eventually("the cluster has ended", lambda: cluster in self.clusters("stopped"), 60)
        eventually("nothing left", lambda: not self.objects(), 30)

    def window(self) -> tuple[float, float]:
        """From when to when after a request for a cluster its objects are made."""
        asked = time.time()
        name: str = self.gateway.submit()
        eventually("all objects", lambda: self.is_whole(name), 30)
        log = (self.kubernetes.kubeconfig.parent / "log" / "audit.log").read_text()
        made = [
            event
            for event in map(json.loads, log.splitlines())
            if event["verb"] == "create"
            and event["objectRef"].get("namespace") == self.namespace
            and stamp(event["requestReceivedTimestamp"]) > asked
        ]
        begun = min(stamp(one["requestReceivedTimestamp"]) for one in made)
        done = max(stamp(one["stageTimestamp"]) for one in made)
        self.stop(name)
        return begun - asked, done - asked

    def run(self, after: float, stopped: bool) -> None:
        """Kill the gateway so long after a request for a cluster; the next one completes it, or stops it."""
        with ThreadPoolExecutor(1) as thread:
            asked: Future[str] = thread.submit(self.gateway.submit)
            time.sleep(after)
            self.server.kill()
            with contextlib.suppress(HTCDaskError, aiohttp.ClientError, OSError):
                asked.result(30)  # it may have answered before
        time.sleep(0.1)  # what the API server had begun is there
        found = self.objects()
        self.reached[len(found)] += 1
        self.server.start()
        names = self.clusters()
        assert len(names) <= 1
        assert set(found) <= set(whole(self.server.instance, names)), "it is not known to whom these belong"
        for name in names:
            if not stopped:
                eventually("all objects", partial(self.is_whole, name), 30)
            self.stop(name)
        assert not self.objects()


def stamp(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


@pytest.fixture
def rounds(
    gateway: Callable[..., GatewayServer], own_apiserver: tuple[Kubernetes, Signal], accounts: Accounts
) -> Iterator[Rounds]:
    kubernetes, _ = own_apiserver
    namespace = f"test-{uuid.uuid4().hex[:8]}"
    kubernetes.create_namespace(namespace)
    directory = Path(tempfile.mkdtemp(prefix="htcdask-kubeconfig-"))
    directory.chmod(0o711)
    kubeconfig = account(kubernetes, namespace, directory / "config")
    # An API server is seldom so near: what it is asked for takes a while, or no kill would come in between.
    front = Front.of(kubeconfig, DELAY)
    front.lead_here(kubeconfig)
    shutil.chown(kubeconfig, accounts.service)
    # The gateway proxy is a process of its own: nobody waits for its end and start.
    server = gateway(SITE.format(kubeconfig=kubeconfig, namespace=namespace), external=True)
    with HTCGateway(server.url, auth=BasicAuth("analyst")) as client:
        yield Rounds(server, client, kubernetes, namespace)
    front.close()
    shutil.rmtree(directory)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_at_random_instants(rounds: Rounds) -> None:
    """Twenty; ``HTCDASK_INSTANTS`` for another number, and ``HTCDASK_SEED`` for the same ones again."""
    number = int(os.environ.get("HTCDASK_INSTANTS", "20"))
    seed = int(os.environ.get("HTCDASK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    chance = random.Random(seed)
    rounds.window()  # the first time takes longer
    begun, done = rounds.window()
    sys.stdout.write(f"HTCDASK_SEED={seed}, objects are made from {begun:.3f} s to {done:.3f} s\n")
    parts = list(range(number))
    chance.shuffle(parts)
    for index, part in enumerate(parts):
        # each part of the time gets its share; some before and some after it
        after = begun + (done - begun) * (1.4 * (part + chance.random()) / number - 0.2)
        started = time.monotonic()
        try:
            rounds.run(max(0.0, after), stopped=index % 2 == 0)
        except (AssertionError, TimeoutError, RuntimeError) as error:
            raise AssertionError(f"HTCDASK_SEED={seed}, round {index}: killed after {after:.3f} s") from error
        sys.stdout.write(f"{index}: killed after {after:.3f} s, {time.monotonic() - started:.1f} s\n")
    sys.stdout.write(f"objects that there were, and how often: {dict(rounds.reached)}\n")
    assert {1, 2} <= set(rounds.reached) or number < 20, f"not all in between: {rounds.reached}"
