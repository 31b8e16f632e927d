"""Manifests of schedulers: what stands in them, and that current Kubernetes takes them."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.launchers.base import SchedulerSpec
from htcdaskgateway.launchers.kubernetes.manifests import (
    Manifest,
    PodSettings,
    make_pod,
    make_secret,
    make_service,
    pullable,
)
from htcdaskgateway.launchers.kubernetes.merge import merged
from htcdaskgateway.launchers.kubernetes.names import CLUSTER, INSTANCE, USER, Names, label_value

SECRET = "do-not-show-this"
NAMES = Names("gateway-1")
IMAGE = "registry.hub.docker.com/coffeateam/coffea-dask:2024.4.0"
SPEC = SchedulerSpec(
    "0123abc",
    "alice",
    ("dask", "scheduler", "--port", "8786"),
    {"DASK_GATEWAY_API_TOKEN": "./dask-gateway-token", "MINE": "it's $(HOME) $$"},
    {"dask.crt": "certificate", "dask.pem": SECRET, "./dask-gateway-token": SECRET},
    cores=1,
    memory=2 * 2**30,
)
REGISTRIES = {"registry.hub.docker.com": "docker.io"}


def pod(spec: SchedulerSpec = SPEC, **site: Any) -> Manifest:
    return make_pod(NAMES, spec, IMAGE, "uid-of-the-secret", PodSettings(registries=REGISTRIES, **site))


def container(of: Manifest) -> dict[str, Any]:
    [found] = of["spec"]["containers"]
    return dict(found)


def with_values(**changes: Any) -> SchedulerSpec:
    values = {name: getattr(SPEC, name) for name in SPEC.__dataclass_fields__}
    return SchedulerSpec(**{**values, **changes})


def valid(manifest: Manifest) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


EVERYTHING: dict[str, Any] = {
    "pull_policy": "IfNotPresent",
    "pull_secrets": ("registry-password",),
    "service_account": "schedulers",
    "node_selector": {"kind": "interactive"},
    "tolerations": ({"key": "batch", "operator": "Exists"},),
    "labels": {"team": "cms"},
    "annotations": {"note": "x"},
    "cores_limit": 2.5,
    "memory_limit": 2**33,
    "run_as_user": 1000,
    "fs_group": 1000,
    "template": {"spec": {"priorityClassName": "high"}},
}


def test_current_kubernetes_takes_them() -> None:
    for manifest in (
        make_secret(NAMES, SPEC),
        make_service(NAMES, SPEC, "uid"),
        make_service(NAMES, SPEC, "uid", node_port=True),
        pod(),
        pod(**EVERYTHING),
    ):
        valid(manifest)


def test_the_check_would_refuse_an_unknown_field() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        valid(pod(template={"spec": {"nodeSelectr": {}}}))


def test_secrets_are_in_the_secret_only() -> None:
    data = make_secret(NAMES, SPEC)["data"]
    assert {name: b64decode(text).decode() for name, text in data.items()} == {
        "dask.crt": "certificate", "dask.pem": SECRET, "dask-gateway-token": SECRET,
    }  # fmt: skip
    assert SECRET not in json.dumps([pod(), make_service(NAMES, SPEC, "uid")])


def test_the_scheduler_finds_its_files_where_it_works() -> None:
    found = container(pod())
    files = [mount for mount in found["volumeMounts"] if mount["name"] == "credentials"]
    assert {mount["mountPath"] for mount in files} == {
        f"{found['workingDir']}/{name}" for name in ("dask.crt", "dask.pem", "dask-gateway-token")
    }
    assert all(mount["readOnly"] for mount in files)
    [volume] = [one["secret"] for one in pod()["spec"]["volumes"] if "secret" in one]
    assert volume == {"secretName": NAMES.object_name(SPEC.cluster), "defaultMode": 0o440}


def test_it_fits_the_restricted_security_context() -> None:
    spec = pod()["spec"]
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container(pod())["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert spec["restartPolicy"] == "Never"
    writable = {one["name"] for one in spec["volumes"] if "emptyDir" in one}
    mounts = {mount["mountPath"]: mount["name"] for mount in container(pod())["volumeMounts"]}
    assert {mounts["/tmp"], mounts[container(pod())["workingDir"]]} == writable
    assert pod(run_as_user=1000, fs_group=7)["spec"]["securityContext"] == {
        "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, "runAsUser": 1000, "fsGroup": 7,
    }  # fmt: skip


def test_all_of_it_belongs_to_the_secret() -> None:
    name = NAMES.object_name(SPEC.cluster)
    for manifest in (pod(), make_service(NAMES, SPEC, "uid-of-the-secret")):
        assert manifest["metadata"]["ownerReferences"] == [
            {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": "uid-of-the-secret"}
        ]
        assert manifest["metadata"]["name"] == name
    assert "ownerReferences" not in make_secret(NAMES, SPEC)["metadata"]


def test_the_service_leads_to_the_pod_and_to_no_other() -> None:
    selector = make_service(NAMES, SPEC, "uid")["spec"]["selector"]
    assert selector.items() <= pod()["metadata"]["labels"].items()
    for other in (
        make_pod(Names("gateway-2"), SPEC, IMAGE, "u", PodSettings()),
        pod(with_values(cluster="x")),
    ):
        assert not selector.items() <= other["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("spec", "site", "requests", "limits"),
    [
        (SPEC, {}, {"cpu": "1", "memory": "2147483648"}, {"cpu": "1", "memory": "2147483648"}),
        (SPEC, {"cores_limit": 2.5}, {"cpu": "1", "memory": "2147483648"},
         {"cpu": "2500m", "memory": "2147483648"}),
        (SPEC, {"memory_limit": 1, "cores_limit": 0.5}, {"cpu": "1", "memory": "2147483648"},
         {"cpu": "1", "memory": "2147483648"}),
        (with_values(cores=0.25, memory=0), {}, {"cpu": "250m"}, {"cpu": "250m"}),
        (with_values(cores=0, memory=0), {"memory_limit": 5}, {}, {"memory": "5"}),
    ],
)  # fmt: skip
def test_requests_and_limits(
    spec: SchedulerSpec, site: dict[str, Any], requests: dict[str, str], limits: dict[str, str]
) -> None:
    assert container(pod(spec, **site))["resources"] == {"requests": requests, "limits": limits}


@pytest.mark.parametrize(
    ("reference", "registries", "pulled"),
    [
        ("registry.hub.docker.com/a/b:1", REGISTRIES, "docker.io/a/b:1"),
        ("ghcr.io/a/b:1", REGISTRIES, "ghcr.io/a/b:1"),
        ("registry.hub.docker.com.evil.org/a:1", REGISTRIES, "registry.hub.docker.com.evil.org/a:1"),
        ("r/a/b:1", {"r": "x", "r/a": "mirror.org/y"}, "mirror.org/y/b:1"),
        ("r/ab/c:1", {"r": "x", "r/a": "y"}, "x/ab/c:1"),
        ("a/b:1", {}, "a/b:1"),
    ],
)
def test_what_kubernetes_pulls(reference: str, registries: dict[str, str], pulled: str) -> None:
    assert pullable(reference, registries) == pulled


def test_values_arrive_as_they_are() -> None:
    """Kubernetes replaces ``$(NAME)``, and two dollars by one."""
    [mine] = [one["value"] for one in container(pod())["env"] if one["name"] == "MINE"]
    assert mine == "it's $$(HOME) $$$$"
    assert expanded(mine, {"HOME": "/x"}) == "it's $(HOME) $$"


def expanded(text: str, variables: dict[str, str]) -> str:
    """What the kubelet makes of a value."""

    def one(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[0][2:-1], found[0])

    return re.sub(r"\$\$|\$\([^)]*\)", one, text)


@given(st.text().filter(lambda text: "\0" not in text and text.isprintable()))
def test_hostile_values_stay_one_value(text: str) -> None:
    found = pod(with_values(command=("dask", text), environment={"A": text}))
    valid(found)
    assert expanded(container(found)["command"][1], {"A": "leaked"}) == text
    [value] = [one["value"] for one in container(found)["env"] if one["name"] == "A"]
    assert expanded(value, {"HOME": "leaked"}) == text


@pytest.mark.parametrize(
    "change", [{"environment": {"A B": "x"}}, {"environment": {"A": "\0"}}, {"command": ("dask", "\0")}]
)
def test_values_that_no_pod_can_have(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        pod(with_values(**change))


# -- names ---------------------------------------------------------------------------------------------

LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")  # Kubernetes' own words
HOSTILE = st.text(st.characters(), max_size=300) | st.text(
    st.sampled_from(list("aA0-_./ \n\0$\"',=x\ud800ü")), max_size=80
)


@given(HOSTILE)
def test_any_text_has_a_label_value(text: str) -> None:
    value = label_value(text)
    assert 1 <= len(value) <= 63
    assert LABEL.fullmatch(value)


@given(HOSTILE, HOSTILE)
def test_no_two_texts_have_the_same(one: str, other: str) -> None:
    assert (label_value(one) == label_value(other)) == (one == other)


def test_nobody_can_choose_the_label_value_of_another() -> None:
    escaped = label_value("al ice")
    assert escaped != "al ice"
    assert label_value(escaped) != escaped


@given(HOSTILE, HOSTILE)
def test_names_are_dns_labels(gateway: str, cluster: str) -> None:
    name = Names(gateway).object_name(cluster)
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name)
    assert name == Names(gateway).object_name(cluster)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_gateways_have_no_name_in_common(one: str, other: str, cluster: str) -> None:
    same = one == other
    assert (Names(one).object_name(cluster) == Names(other).object_name(cluster)) == same
    assert (Names(one).selector() == Names(other).selector()) == same


def test_texts_that_only_together_are_the_same() -> None:
    assert Names("ab").object_name("c") != Names("a").object_name("bc")


@given(HOSTILE)
def test_hostile_users_have_valid_objects(user: str) -> None:
    made = pod(with_values(user=user))
    assert LABEL.fullmatch(made["metadata"]["labels"][USER])
    assert made["metadata"]["annotations"][USER] == user
    assert len(made["metadata"]["labels"][USER]) <= 63


def test_a_plain_name_is_its_own_label() -> None:
    assert NAMES.labels("0123abc", "alice") | {INSTANCE: "gateway-1", CLUSTER: "0123abc", USER: "alice"} == (
        NAMES.labels("0123abc", "alice")
    )
    assert NAMES.selector("0123abc") == "htcdaskgateway/instance=gateway-1,htcdaskgateway/cluster=0123abc"


# -- the site's template -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "change", "result"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": 1}, {"b": {"c": None, "d": 1}}, {"a": 1, "b": {"d": 1}}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
        ([{"name": "a", "x": 1}], [{"name": "a", "y": 2}], [{"name": "a", "x": 1, "y": 2}]),
        ([{"name": "a"}], [{"name": "b"}], [{"name": "a"}, {"name": "b"}]),
        ([{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}],
         [{"name": "v", "mountPath": "/c"}],
         [{"name": "v", "mountPath": f"/{one}"} for one in "abc"]),
        (["a"], ["b"], ["b"]),
        ([{"x": 1}], [{"y": 2}], [{"y": 2}]),
        ([], [{"name": "b", "x": None}], [{"name": "b"}]),
    ],
)  # fmt: skip
def test_merging(base: Any, change: Any, result: Any) -> None:
    before = json.dumps([base, change])
    assert merged(base, change) == result
    assert json.dumps([base, change]) == before


def test_a_template_changes_the_container_by_its_name() -> None:
    mount = {"name": "cvmfs", "mountPath": "/cvmfs", "readOnly": True}
    found = pod(
        template={
            "spec": {
                "containers": [{"name": "scheduler", "volumeMounts": [mount], "stdin": True}],
                "volumes": [{"name": "cvmfs", "hostPath": {"path": "/cvmfs"}}],
                "securityContext": {"seccompProfile": None},
            }
        }
    )  # fmt: skip
    valid(found)
    assert mount in container(found)["volumeMounts"]
    assert len(container(found)["volumeMounts"]) == 6
    assert container(found)["stdin"] is True
    assert container(found)["image"] == "docker.io/coffeateam/coffea-dask:2024.4.0"
    assert found["spec"]["securityContext"] == {"runAsNonRoot": True}


def test_a_template_makes_it_nobody_elses() -> None:
    own = pod()["metadata"]
    theirs = {
        "name": "other",
        "labels": {INSTANCE: "gateway-2", CLUSTER: None, "more": "x"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "other", "uid": "u"}],
    }
    found = pod(template={"metadata": theirs}, labels={CLUSTER: "y"})["metadata"]
    assert found == {**own, "labels": {**own["labels"], "more": "x"}}
