"""What a site can set about scheduler pods."""

from __future__ import annotations

from typing import Any

from dask_gateway_server.traitlets import MemoryLimit
from traitlets import Dict, Enum, Float, Integer, List, Unicode, default
from traitlets.config import LoggingConfigurable

from htcdaskgateway.launchers.kubernetes.api import ACCOUNT
from htcdaskgateway.launchers.kubernetes.manifests import PodSettings
from htcdaskgateway.launchers.kubernetes.verdict import Patience


class KubernetesSettings(LoggingConfigurable):
    """Where scheduler pods run, what they are like, and how long things may take."""

    namespace = Unicode(
        help="""Namespace of the schedulers' pods. Default: the gateway's own where it is a pod, else
        ``default``. Best one in which nothing else runs: whoever may make pods in it may read its
        secrets.""",
        config=True,
    )
    kubeconfig = Unicode(
        "",
        help="""File that says how to reach Kubernetes. Default: the service account where the gateway is a
        pod, else what ``kubectl`` takes.""",
        config=True,
    )
    context = Unicode("", help="Context of that file. Default: its current one.", config=True)
    scheduler_address = Enum(
        ["service", "cluster-ip", "pod-ip", "node-port"],
        "service",
        help="""Where gateway and gateway proxy reach a scheduler: ``service``, the DNS name of its service,
        for a gateway in the same Kubernetes; ``cluster-ip``, the service's address; ``pod-ip``, the pod's
        own, where that is routed; ``node-port``, a port of ``node_address``, for a gateway outside.""",
        config=True,
    )
    node_address = Unicode(
        "", help="Address of a node, or of what stands before all nodes, for ``node-port``.", config=True
    )

    image = Unicode(
        "",
        help="Image of schedulers where ``c.HTCondorBackend.scheduler_image`` or ``runtime`` is ``none``.",
        config=True,
    )
    image_registries = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        default_value={"registry.hub.docker.com": "docker.io"},
        help="""What begins the name of an image in CVMFS, and what Kubernetes pulls instead, such as
        ``{"registry.hub.docker.com": "mirror.example.org/dockerhub"}``.""",
        config=True,
    )
    image_pull_policy = Enum(
        ["", "Always", "IfNotPresent", "Never"], "", help="Default: Kubernetes' own.", config=True
    )
    image_pull_secrets = List(Unicode(), help="Names of secrets for registries.", config=True)

    cores_limit = Float(
        0, min=0, help="Processors that a scheduler may use; 0: what it requests.", config=True
    )
    memory_limit = MemoryLimit(
        0,
        help="""Memory that a scheduler may use, with suffix K, M, G or T; 0: what it requests,
        ``c.ClusterConfig.scheduler_memory``. Beyond it the scheduler is killed.""",
        config=True,
    )
    service_account = Unicode(
        "",
        help="""Service account of scheduler pods, which decides their security context on OKD. Its token is
        not mounted. Default: the namespace's.""",
        config=True,
    )
    node_selector = Dict(
        key_trait=Unicode(), value_trait=Unicode(), help="Labels of nodes for schedulers.", config=True
    )
    tolerations = List(Dict(), help="Tolerations of scheduler pods, as Kubernetes has them.", config=True)
    labels = Dict(
        key_trait=Unicode(), value_trait=Unicode(), help="Further labels of scheduler pods.", config=True
    )
    annotations = Dict(
        key_trait=Unicode(), value_trait=Unicode(), help="Further annotations of them.", config=True
    )
    run_as_user = Integer(
        None,
        allow_none=True,
        help="""uid of schedulers. Leave it out on OKD, which has one for each namespace; elsewhere it is
        needed for images that say nothing or root.""",
        config=True,
    )
    fs_group = Integer(
        None,
        allow_none=True,
        help="""gid that may read the scheduler's key and token. Needed where images have a user with a
        group of its own; OKD sets it by itself.""",
        config=True,
    )
    pod_template = Dict(
        help="""What is to be otherwise in a scheduler's pod, merged into it: entries of lists are found by
        their ``name`` (the container's is ``scheduler``), ``None`` removes. For example
        ``{"spec": {"priorityClassName": "high", "securityContext": {"seccompProfile": None}}}``.""",
        config=True,
    )

    stop_grace = Integer(
        10, min=0, help="Seconds between asking a scheduler to end and killing it.", config=True
    )
    stop_timeout = Float(
        30,
        min=1,
        help="""Seconds beyond that after which a pod that has not gone is removed by force: its node does
        not answer.""",
        config=True,
    )
    api_timeout = Float(
        45, min=1, help="Seconds that Kubernetes may be away before a request is given up.", config=True
    )
    image_pull_patience = Float(
        30, min=0, help="Seconds of failing to pull an image after which a cluster fails.", config=True
    )
    scheduling_patience = Float(
        30,
        min=0,
        help="""Seconds without a node for the pod after which a cluster fails; longer where nodes are
        started on demand.""",
        config=True,
    )
    node_lost_timeout = Integer(
        60,
        min=0,
        help="""Seconds that a node may not answer until its schedulers count as lost, once Kubernetes has
        noticed, which takes another 40.""",
        config=True,
    )

    @default("namespace")
    def _default_namespace(self) -> str:
        file = ACCOUNT / "namespace"
        return file.read_text().strip() if file.exists() else "default"

    @property
    def patience(self) -> Patience:
        return Patience(
            image=self.image_pull_patience, place=self.scheduling_patience, node=self.node_lost_timeout
        )

    @property
    def pods(self) -> PodSettings:
        settings: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("service_account", "node_selector", "labels", "annotations", "cores_limit")
        }
        return PodSettings(
            **settings,
            memory_limit=self.memory_limit,
            run_as_user=self.run_as_user,
            fs_group=self.fs_group,
            node_lost_timeout=self.node_lost_timeout,
            registries=self.image_registries,
            pull_policy=self.image_pull_policy,
            pull_secrets=tuple(self.image_pull_secrets),
            tolerations=tuple(self.tolerations),
            grace=self.stop_grace,
            template=self.pod_template,
        )
