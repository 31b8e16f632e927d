"""The launcher without a Kubernetes: settings, addresses, permissions, how refusals are told apart."""

from __future__ import annotations

import json
import pickle
from typing import Any

import kubernetes_validate
import pytest
import yaml
from traitlets import TraitError
from traitlets.config import Config

from htcdaskgateway.errors import ConfigurationError, HTCDaskError
from htcdaskgateway.launchers.base import Launcher, SchedulerSpec
from htcdaskgateway.launchers.kubernetes import KubernetesLauncher
from htcdaskgateway.launchers.kubernetes.addresses import addresses, way_to
from htcdaskgateway.launchers.kubernetes.answers import is_race, message, refusal
from htcdaskgateway.launchers.kubernetes.errors import (
    CredentialsRefusedError,
    KubernetesRefusedError,
    KubernetesSilentError,
    NotOursError,
    PermissionMissingError,
)
from htcdaskgateway.launchers.kubernetes.manifests import make_pod
from htcdaskgateway.launchers.kubernetes.names import Names
from htcdaskgateway.launchers.kubernetes.permissions import RULES, check, role
from htcdaskgateway.launchers.local import LocalLauncher

SERVICE = {
    "metadata": {"name": "dask-x"},
    "spec": {
        "clusterIP": "10.96.0.7",
        "ports": [
            {"name": "scheduler", "port": 8786, "nodePort": 30001},
            {"name": "dashboard", "port": 8787, "nodePort": 30002},
            {"name": "api", "port": 8788, "nodePort": 30003},
        ],
    },
}


def make(**traits: Any) -> KubernetesLauncher:
    return KubernetesLauncher(config=Config({"KubernetesLauncher": {"namespace": "ns", **traits}}))


def test_both_are_launchers() -> None:
    launchers: list[Launcher] = [make(), LocalLauncher()]  # mypy looks at this
    for launcher in launchers:
        assert {name for name in vars(Launcher) if name[0] != "_"} <= set(dir(launcher))


async def test_processes_need_no_opening_and_no_sweep() -> None:
    launcher = LocalLauncher(single_user="me")
    await launcher.open("gateway-1")
    launcher.check_ways("scheduler", "http://127.0.0.1:8000/api")
    await launcher.sweep(lambda cluster: False)
    assert launcher.addresses({"pid": 1}) is None
    assert await launcher.delay("me", {"pid": 1}) == ""
    assert (launcher.ports.scheduler, launcher.ports.dashboard, launcher.ports.api) == (0, 0, 0)
    await launcher.close()


@pytest.mark.parametrize(
    ("how", "node", "pod_ip", "host", "ports"),
    [
        ("service", "", "", "dask-x.ns.svc", (8786, 8787, 8788)),
        ("cluster-ip", "", "", "10.96.0.7", (8786, 8787, 8788)),
        ("pod-ip", "", "10.124.0.9", "10.124.0.9", (8786, 8787, 8788)),
        ("pod-ip", "", "2001:db8::9", "[2001:db8::9]", (8786, 8787, 8788)),
        ("node-port", "node.example.org", "", "node.example.org", (30001, 30002, 30003)),
        ("node-port", "2001:db8::1", "", "[2001:db8::1]", (30001, 30002, 30003)),
    ],
)
def test_where_the_gateway_reaches_a_scheduler(
    how: str, node: str, pod_ip: str, host: str, ports: tuple[int, int, int]
) -> None:
    state = json.loads(json.dumps(way_to(SERVICE, how, "ns", node)))
    assert addresses(state, {"status": {"podIP": pod_ip}}) == {
        "scheduler_address": f"tls://{host}:{ports[0]}",
        "dashboard_address": f"http://{host}:{ports[1]}",
        "api_address": f"http://{host}:{ports[2]}",
    }


@pytest.mark.parametrize("state", [{}, way_to(SERVICE, "pod-ip", "ns")])
@pytest.mark.parametrize("pod", [None, {}, {"status": {}}])
def test_an_address_that_is_not_known_yet(state: dict[str, Any], pod: dict[str, Any] | None) -> None:
    with pytest.raises(ValueError, match="not known yet"):
        addresses(state, pod)


@pytest.mark.parametrize(
    ("traits", "words"),
    [
        ({"scheduler_address": "node-port"}, "no node is named"),
        ({"pod_template": {"spec": {"containers": None}}}, "removes the scheduler's container"),
        ({"pod_template": {"spec": {"containers": [{"name": "scheduler", "image": None}]}}}, "removes"),
        ({"pod_template": {"spec": None}}, "removes"),
        ({"pod_template": {"spec": "x"}}, "spec is 'x', and not a mapping"),
        ({"pod_template": {"metadata": {"labels": ["a"]}}}, r"metadata.labels is \['a'\], and not a mapping"),
        ({"pod_template": {"spec": {"containers": {"scheduler": {}}}}}, "spec.containers is .* not a list"),
        ({"pod_template": {"spec": {"tolerations": ["x"]}}}, "spec.tolerations is .* not a list"),
    ],
)
def test_settings_that_cannot_be(traits: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make(**traits).check_configuration()


@pytest.mark.parametrize(
    "traits", [{"scheduler_address": "localhost"}, {"image_pull_policy": "Sometimes"}, {"stop_grace": -1}]
)
def test_values_that_cannot_be(traits: dict[str, Any]) -> None:
    with pytest.raises(TraitError):
        make(**traits)


def test_settings_reach_the_pod() -> None:
    launcher = make(
        memory_limit="4 G",
        cores_limit=2,
        service_account="schedulers",
        node_selector={"kind": "x"},
        tolerations=[{"key": "batch", "operator": "Exists"}],
        image_pull_secrets=["password"],
        image_pull_policy="Always",
        image_registries={"a.org": "b.org"},
        run_as_user=1000,
        fs_group=1001,
        stop_grace=7,
        node_lost_timeout=33,
        labels={"team": "cms"},
        annotations={"note": "n"},
        pod_template={"spec": {"priorityClassName": "high"}},
    )
    launcher.check_configuration()
    pod = make_pod(Names("g"), SchedulerSpec("c", "u", ("x",), {}, {}), "a.org/i:1", "uid", launcher.pods)
    spec = pod["spec"]
    [container] = spec["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("b.org/i:1", "Always")
    assert container["resources"]["limits"] == {"cpu": "2", "memory": str(4 * 2**30)}
    assert (spec["serviceAccountName"], spec["nodeSelector"]) == ("schedulers", {"kind": "x"})
    assert spec["tolerations"][0] == {"key": "batch", "operator": "Exists"}
    assert [one["tolerationSeconds"] for one in spec["tolerations"][1:]] == [33, 33]
    assert (spec["imagePullSecrets"], spec["priorityClassName"]) == ([{"name": "password"}], "high")
    assert spec["securityContext"]["runAsUser"] == 1000
    assert (spec["securityContext"]["fsGroup"], spec["terminationGracePeriodSeconds"]) == (1001, 7)
    assert pod["metadata"]["labels"]["team"] == "cms"
    assert pod["metadata"]["annotations"]["note"] == "n"


def test_a_template_may_remove_what_is_optional() -> None:
    make(pod_template={"metadata": None, "spec": {"volumes": None}}).check_configuration()


def test_a_site_decides_itself_how_long_a_lost_node_is_waited_for() -> None:
    own = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 900}
    launcher = make(tolerations=[own], node_lost_timeout=33)
    pod = make_pod(Names("g"), SchedulerSpec("c", "u", ("x",), {}, {}), "i", "uid", launcher.pods)
    found = {one["key"]: one["tolerationSeconds"] for one in pod["spec"]["tolerations"]}
    assert found == {own["key"]: 900, "node.kubernetes.io/not-ready": 33}
    assert len(pod["spec"]["tolerations"]) == 2


@pytest.mark.parametrize(
    ("verb", "status", "said", "passes"),
    [
        ("create", 409, {"reason": "Conflict"}, True),
        ("create", 409, {"reason": "AlreadyExists"}, False),
        ("create", 403, {"reason": "Forbidden"}, False),
        ("delete", 409, {"reason": "Conflict"}, False),
        ("create", 409, ["x"], False),
    ],
)
def test_a_creation_that_lost_a_race_is_tried_again(verb: str, status: int, said: Any, passes: bool) -> None:
    assert is_race(verb, status, json.dumps(said)) is passes


@pytest.mark.parametrize(
    ("contact", "api_url", "words"),
    [
        ("scheduler", "http://gateway:8000/api", "do not reach the addresses of scheduler pods"),
        (
            "gateway-proxy",
            "http://127.0.0.1:8000/api",
            "do not reach the gateway at http://127.0.0.1:8000/api",
        ),
        ("gateway-proxy", "http://[::1]:8000/api", "do not reach the gateway"),
        ("gateway-proxy", "http://0.0.0.0:8000/api", "do not reach the gateway"),
        ("gateway-proxy", "http://localhost:8000/api", "do not reach the gateway"),
        ("gateway-proxy", "http://:8000/api", "do not reach the gateway"),
        ("gateway-proxy", "http://gateway.ns.svc:8000/api", ""),
        ("gateway-proxy", "https://10.0.0.7/services/dask/api", ""),
    ],
)
def test_ways_are_looked_at_when_the_gateway_starts(contact: str, api_url: str, words: str) -> None:
    if words:
        with pytest.raises(ConfigurationError, match=words):
            make().check_ways(contact, api_url)
    else:
        make().check_ways(contact, api_url)


RBAC = 'pods is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "ns"'
QUOTA = 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0'
OWNER = 'services "x" is forbidden: cannot set an ownerRef on a resource you can\'t delete: , <nil>'


@pytest.mark.parametrize(
    ("status", "said", "kind", "words"),
    [
        (403, json.dumps({"message": RBAC}), PermissionMissingError, RBAC),
        (403, json.dumps({"message": QUOTA}), KubernetesRefusedError, QUOTA),
        (403, json.dumps({"message": OWNER}), KubernetesRefusedError, OWNER),
        (422, json.dumps({"message": RBAC}), KubernetesRefusedError, RBAC),
        (404, "page not found\n", KubernetesRefusedError, "page not found"),
        (401, json.dumps({"message": "Unauthorized"}), CredentialsRefusedError, "Unauthorized"),
        (400, json.dumps(["x"]), KubernetesRefusedError, '["x"]'),
    ],
)
def test_how_refusals_are_told_apart(status: int, said: str, kind: type, words: str) -> None:
    error = refusal("create", "pods", "ns", status, said)
    assert type(error) is kind
    assert error.words == words
    assert words in str(error)
    assert "create pods" in error.sentence


def test_words_of_others_are_bounded() -> None:
    assert len(message("x" * 10_000)) == 1000


@pytest.mark.parametrize(
    "error",
    [
        KubernetesRefusedError("create", "pods", "ns", 403, QUOTA),
        CredentialsRefusedError("create", "pods", "ns", 401, "Unauthorized"),
        PermissionMissingError("create", "pods", "ns", RBAC),
        KubernetesSilentError("create", "pods", "ns", 45, "Cannot connect"),
        NotOursError("pods", "dask-x", "ns"),
    ],
)
def test_errors_can_be_pickled(error: HTCDaskError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_the_role_has_exactly_the_permissions() -> None:
    found = yaml.safe_load(role("ns"))
    kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)
    pairs = [(verb, on) for rule in found["rules"] for on in rule["resources"] for verb in rule["verbs"]]
    assert sorted(pairs) == sorted(RULES)
    assert found["metadata"]["namespace"] == "ns"


def test_lacking_permissions_are_one_error_with_the_role_to_paste() -> None:
    check([], "ns")
    with pytest.raises(ConfigurationError) as caught:
        check([("watch", "pods"), ("get", "pods/log")], "ns")
    assert caught.value.facts == {"it may not": "watch pods, get pods/log"}
    assert role("ns") in caught.value.remedy
