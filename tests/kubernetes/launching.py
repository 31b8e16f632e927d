"""Launchers as a gateway has them: with an account of exactly the permissions that they need."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from tests.support.kubernetes import Kubernetes
from traitlets.config import Config

from htcdaskgateway.launchers.base import SchedulerSpec
from htcdaskgateway.launchers.kubernetes import KubernetesLauncher
from htcdaskgateway.launchers.kubernetes.names import CLUSTER, INSTANCE
from htcdaskgateway.launchers.kubernetes.permissions import role

ACCOUNT = "gateway"
Rule = tuple[str, str]


def account(kubernetes: Kubernetes, namespace: str, file: Path, without: Rule | None = None) -> Path:
    """Make the gateway's account, bound to its role less one permission; its kubeconfig."""
    kubernetes.kubectl("create", "serviceaccount", ACCOUNT, "-n", namespace)
    set_role(kubernetes, namespace, without)
    kubernetes.kubectl(
        "create", "rolebinding", ACCOUNT, "-n", namespace, "--role=htcdaskgateway",
        f"--serviceaccount={namespace}:{ACCOUNT}",
    )  # fmt: skip
    return kubernetes.kubeconfig_of(kubernetes.token(ACCOUNT, namespace), file, namespace)


def set_role(kubernetes: Kubernetes, namespace: str, without: Rule | None = None) -> None:
    wanted = yaml.safe_load(role(namespace))
    for rule in wanted["rules"]:
        if without and rule["resources"] == [without[1]]:
            rule["verbs"].remove(without[0])
    wanted["rules"] = [rule for rule in wanted["rules"] if rule["verbs"]]
    kubernetes.kubectl("apply", "-f", "-", text=yaml.safe_dump(wanted))


def make(kubeconfig: Path, namespace: str, **traits: Any) -> KubernetesLauncher:
    settings = {"image": "registry.local/none:1", "image_pull_policy": "Never", "stop_grace": 1}
    settings |= {"kubeconfig": str(kubeconfig), "namespace": namespace, **traits}
    launcher = KubernetesLauncher(config=Config({"KubernetesLauncher": settings}))
    launcher.log = logging.getLogger("launcher")  # traitlets' own does not reach pytest
    launcher.check_configuration()
    return launcher


def spec(cluster: str = "c1", **changes: Any) -> SchedulerSpec:
    files = {"dask.crt": "certificate", "dask.pem": "key", "./dask-gateway-token": "token"}
    return replace(SchedulerSpec(cluster, "alice", ("dask", "scheduler"), {"A": "1"}, files), **changes)


@contextmanager
def stopped(process: str) -> Iterator[None]:
    """Stop a process of the recipe's cluster, ``apiserver`` or ``kubelet``, which goes on afterwards."""
    pid = int(Path(os.environ["HTCDASK_KUBE_STATE"], f"{process}.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def objects(kubernetes: Kubernetes, namespace: str) -> list[tuple[str, str, str]]:
    """What there is of launchers in a namespace: kind, gateway and cluster of each object."""
    found = kubernetes.objects("secrets,services,pods", namespace, "-l", INSTANCE)
    labels = [(one["kind"], one["metadata"]["labels"]) for one in found]
    return sorted((kind, label[INSTANCE], label[CLUSTER]) for kind, label in labels)


def whole(gateway: str, clusters: Iterable[str]) -> list[tuple[str, str, str]]:
    """What there should be of these clusters."""
    kinds = ("Pod", "Secret", "Service")
    return sorted((kind, gateway, cluster) for kind in kinds for cluster in clusters)
