"""What Kubernetes is asked to make for a scheduler: a secret, a service and a pod. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import basename
from typing import Any

from htcdaskgateway.errors import InvalidRequestError, shown
from htcdaskgateway.launchers.base import SchedulerPorts, SchedulerSpec
from htcdaskgateway.launchers.kubernetes.merge import merged
from htcdaskgateway.launchers.kubernetes.names import Names
from htcdaskgateway.shell import exports

Manifest = dict[str, Any]

PORTS = SchedulerPorts(scheduler=8786, dashboard=8787, api=8788)
PORT_NAMES = {"scheduler": PORTS.scheduler, "dashboard": PORTS.dashboard, "api": PORTS.api}
CONTAINER = "scheduler"
DIRECTORY = "/home/dask"
SECRET_VOLUME = "credentials"  # noqa: S105 - a volume's name
# The kubelet gives the files to root's group, which the users of OKD's pods, and those of images without
# a group of their own, are in; elsewhere fsGroup says whose group it is.
SECRET_MODE = 0o440


@dataclass(frozen=True)
class PodSettings:
    """What a site decides of all scheduler pods; see `KubernetesSettings`, whose traits these are."""

    registries: Mapping[str, str] = field(default_factory=dict)
    pull_policy: str = ""
    pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cores_limit: float = 0
    memory_limit: int = 0
    run_as_user: int | None = None
    fs_group: int | None = None
    grace: int = 10
    node_lost_timeout: int = 60
    template: Mapping[str, Any] = field(default_factory=dict)


def pullable(reference: str, registries: Mapping[str, str]) -> str:
    """Give an image reference as Kubernetes can pull it: the longest prefix that is known is replaced."""
    for prefix in sorted(registries, key=len, reverse=True):
        if reference.startswith(f"{prefix}/"):
            return registries[prefix] + reference[len(prefix) :]
    return reference


def make_secret(names: Names, spec: SchedulerSpec) -> Manifest:
    """The scheduler's files. Whatever else there is of the cluster belongs to it and goes with it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(names, spec),
        "type": "Opaque",
        "immutable": True,
        "data": {basename(name): b64encode(text.encode()).decode() for name, text in spec.files.items()},
    }


def is_left_to_us(found: Mapping[str, Any]) -> bool:
    """Whether nobody takes an object away but us: a secret, or what has lost its owner."""
    return not found["metadata"].get("ownerReferences")


def make_service(names: Names, spec: SchedulerSpec, owner: str, node_port: bool = False) -> Manifest:
    """One address for the scheduler, as soon as its pod has one itself.

    Parameters
    ----------
    names : Names
    spec : SchedulerSpec
    owner : str
        uid of the cluster's secret.
    node_port : bool
        It has ports on every node as well.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(names, spec, owner),
        "spec": {
            "type": "NodePort" if node_port else "ClusterIP",
            "selector": names.identity(spec.cluster),
            "publishNotReadyAddresses": True,
            "ports": [
                {"name": name, "port": port, "targetPort": port, "protocol": "TCP"}
                for name, port in PORT_NAMES.items()
            ],
        },
    }


def make_pod(names: Names, spec: SchedulerSpec, image: str, owner: str, site: PodSettings) -> Manifest:
    """The scheduler, fit for OKD's restricted security context.

    Raises
    ------
    InvalidRequestError
        A variable that cannot be set.
    """
    ids = {"runAsUser": site.run_as_user, "fsGroup": site.fs_group}
    pod: Manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": dict(site.labels), "annotations": dict(site.annotations)},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": site.grace,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
                **{key: value for key, value in ids.items() if value is not None},
            },
            "tolerations": [*map(dict, site.tolerations), *_until_lost(site)],
            "containers": [_container(spec, pullable(image, site.registries), site)],
            "volumes": [
                {
                    "name": SECRET_VOLUME,
                    "secret": {
                        "secretName": names.object_name(spec.cluster),
                        "defaultMode": SECRET_MODE,
                    },
                },
                {"name": "home", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    }
    if site.node_selector:
        pod["spec"]["nodeSelector"] = dict(site.node_selector)
    if site.pull_secrets:
        pod["spec"]["imagePullSecrets"] = [{"name": name} for name in site.pull_secrets]
    if site.service_account:
        pod["spec"]["serviceAccountName"] = site.service_account
    # Whose it is comes last: neither labels nor a template of the site's can make it somebody else's.
    found: Manifest = merged(pod, site.template)
    mine = _metadata(names, spec, owner)
    found["metadata"] = {**merged(found.get("metadata"), mine), "ownerReferences": mine["ownerReferences"]}
    return found


def _container(spec: SchedulerSpec, image: str, site: PodSettings) -> Manifest:
    environment = {"HOME": DIRECTORY, "USER": "dask", **spec.environment, "TMPDIR": "/tmp"}  # noqa: S108 - its own
    exports(environment)  # refuses what a scheduler in an image of Apptainer's would not get either
    container: Manifest = {
        "name": CONTAINER,
        "image": image,
        "command": [_literal(word) for word in spec.command],
        "workingDir": DIRECTORY,
        "env": [{"name": name, "value": _literal(value)} for name, value in environment.items()],
        "ports": [
            {"name": name, "containerPort": port, "protocol": "TCP"} for name, port in PORT_NAMES.items()
        ],
        "resources": _resources(spec, site),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "home", "mountPath": DIRECTORY},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of this pod alone
            *(
                {
                    "name": SECRET_VOLUME,
                    "mountPath": f"{DIRECTORY}/{basename(name)}",
                    "subPath": basename(name),
                    "readOnly": True,
                }
                for name in spec.files
            ),
        ],
    }
    if site.pull_policy:
        container["imagePullPolicy"] = site.pull_policy
    return container


def _metadata(names: Names, spec: SchedulerSpec, owner: str = "") -> Manifest:
    name = names.object_name(spec.cluster)
    metadata: Manifest = {
        "name": name,
        "labels": names.labels(spec.cluster, spec.user),
        "annotations": names.annotations(spec.cluster, spec.user),
    }
    if owner:
        # Without blockOwnerDeletion: setting that would need one more permission.
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Secret", "name": name, "uid": owner}]
    return metadata


def _resources(spec: SchedulerSpec, site: PodSettings) -> Manifest:
    """As much as is asked for is what it gets, where the site sets no higher limit: evicted last."""
    requests = {"cpu": spec.cores, "memory": spec.memory}
    limits = {"cpu": max(site.cores_limit, spec.cores), "memory": max(site.memory_limit, spec.memory)}
    return {
        "requests": {name: _quantity(value) for name, value in requests.items() if value},
        "limits": {name: _quantity(value) for name, value in limits.items() if value},
    }


def _quantity(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{round(value * 1000)}m"


def _until_lost(site: PodSettings) -> list[Manifest]:
    """How long the pod stays on a node that does not answer: Kubernetes' default is 5 minutes."""
    said = {one.get("key") for one in site.tolerations}  # of several for a key the shortest time counts
    return [
        {
            "key": f"node.kubernetes.io/{what}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": site.node_lost_timeout,
        }
        for what in ("not-ready", "unreachable")
        if f"node.kubernetes.io/{what}" not in said
    ]


def _literal(text: str) -> str:
    """Text in which Kubernetes finds no ``$(VARIABLE)`` to replace."""
    if "\0" in text:
        raise InvalidRequestError(f"{shown(text)} holds a NUL, which no argument of a program can.")
    return text.replace("$", "$$")
