"""The chart without a cluster: lint, schema, manifests against today's Kubernetes, configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from helm_python import Chart, HelmError, lint
from tests.support.chart import (
    CHART,
    COMBINATIONS,
    SECRETS,
    Manifest,
    check_route,
    load_configurations,
    pick,
    render,
    write_configuration,
)

from htcdaskgateway.launchers.kubernetes.permissions import RULES

combinations = pytest.mark.parametrize("values", COMBINATIONS.values(), ids=COMBINATIONS.keys())


@combinations
def test_helm_finds_nothing_to_say(values: dict[str, Any]) -> None:
    report = lint(CHART, values, strict=True)
    assert not report["errors"]
    assert [m for m in report["messages"] if m["severity"] > 1] == []


@combinations
def test_manifests_are_valid_in_current_kubernetes(values: dict[str, Any]) -> None:
    manifests = render(values)
    assert manifests
    for manifest in manifests:
        if manifest["kind"] == "Route":
            check_route(manifest)
        else:
            kubernetes_validate.validate(manifest, "1.37", strict=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["spec", "tls", "terminaton"], "edge"),
        (["spec", "tls", "termination"], "none"),
        (["spec", "path"], "dask"),
        (["spec", "to", "weight"], 300),
        (["spec", "host"], "a_b"),
        (["spec", "port"], {"targetport": "web"}),
    ],
)
def test_okd_would_refuse_a_slip(path: list[str], value: object) -> None:
    route = pick(render(COMBINATIONS["okd"]), "Route")
    check_route(route)
    part = route
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        check_route(route)


@pytest.mark.parametrize(("policy", "path"), [("Allow", None), ("None", "/dask")])
def test_okd_would_refuse_what_passthrough_cannot_do(policy: str, path: str | None) -> None:
    route = pick(render(COMBINATIONS["okd-passthrough"]), "Route")
    check_route(route)
    route["spec"]["tls"]["insecureEdgeTerminationPolicy"] = policy
    route["spec"] |= {"path": path} if path else {}
    with pytest.raises(jsonschema.ValidationError):
        check_route(route)


# Nothing of a value is to be read as YAML, Python or a template.
HOSTILE = "a\"\n'''\nc.Proxy.api_token = 'stolen'\n{{ fail \"x\" }} # é"
MORE: dict[str, dict[str, Any]] = {
    "misspelt": {"gateway": {"config": {"HTCondorBackend": {"queue_pol_period": 7}}}},
    "misspelt-class": {"gateway": {"config": {"HTCondorBackent": {"queue_poll_period": 7}}}},
    "hostile": {"gateway": {"config": {"HTCondorBackend": {"instance": HOSTILE}}}},
}
Loaded = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """What the real server makes of the configuration of each combination."""
    all_values = {**COMBINATIONS, **MORE}
    files = [
        write_configuration(render(values), tmp_path_factory.mktemp(name))
        for name, values in all_values.items()
    ]
    return dict(zip(all_values, load_configurations(files), strict=True))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_configuration_loads_in_the_real_server(name: str, loaded: Loaded) -> None:
    assert loaded[name]["problems"] == []
    assert loaded[name]["token"] == "p" * 64


@pytest.mark.parametrize(("name", "word"), [("misspelt", "queue_pol_period"), ("misspelt-class", "Backent")])
def test_a_trait_that_does_not_exist_would_be_seen(name: str, word: str, loaded: Loaded) -> None:
    assert any(word in problem for problem in loaded[name]["problems"])


def test_values_reach_the_gateway(loaded: Loaded) -> None:
    extras = loaded["extras"]
    assert extras["poll"] == 7
    assert extras["idle"] == 60
    assert extras["contact"] == "dask.example.org:8786"
    assert extras["namespace"] == "dask-schedulers"
    assert extras["memory"] == 2 * 2**30
    assert extras["run_as"] == 1000
    assert loaded["gateway-submits"]["spool"] is True
    assert loaded["defaults"]["submitter"] == "session"


def test_on_okd_no_uid_is_asked_for(loaded: Loaded) -> None:
    text = yaml.safe_dump_all(render(COMBINATIONS["okd"]))
    assert "runAsUser" not in text
    assert "fsGroup:" not in text
    assert loaded["okd"]["run_as"] is None


def test_what_kubernetes_opened_of_the_state_is_closed_again(tmp_path: Path) -> None:
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    state.mkdir()
    (state / "clusters").mkdir()
    for file in (state / "keys", state / "clusters" / "dask.pem", elsewhere):
        file.write_text(SECRETS["encryption-keys"])
        file.chmod(0o660)
    (state / "link").symlink_to(elsewhere)
    for directory in (state, state / "clusters"):
        directory.chmod(0o2770)
    [loaded] = load_configurations([write_configuration(render({}), tmp_path)])
    assert loaded["problems"] == []
    modes = [
        (state / name).stat().st_mode & 0o7777 for name in (".", "keys", "clusters", "clusters/dask.pem")
    ]
    assert modes == [0o2700, 0o600, 0o2700, 0o600]
    assert elsewhere.stat().st_mode & 0o777 == 0o660


@combinations
def test_a_volume_that_is_right_already_is_left_alone(values: dict[str, Any]) -> None:
    for pod in pods(render(values)):
        assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_postgresql_and_keys_come_from_secrets(loaded: Loaded) -> None:
    assert loaded["postgresql"]["db_url"] == "postgresql+psycopg://u:p@db/x"
    assert loaded["postgresql"]["keys"] == 1


def test_text_in_values_stays_text(loaded: Loaded) -> None:
    settings = json.loads(pick(render(MORE["hostile"]), "ConfigMap")["data"]["settings.json"])
    assert settings["HTCondorBackend"]["instance"] == HOSTILE
    assert loaded["hostile"]["token"] == "p" * 64


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"gatway": {}}, "gatway"),
    ({"gateway": {"replicas": 3}}, "replicas"),
    ({"gateway": {"auth": {"type": "none"}}}, "auth/type"),
    ({"gateway": {"auth": {"jupyterhub": {"apiToken": "x"}}}}, "apiToken"),
    ({"gateway": {"prefix": "dask"}}, "prefix"),
    ({"gateway": {"persistence": {"size": "5 GB"}}}, "size"),
    ({"gateway": {"config": {"HTCondorBackend": 3}}}, "config/HTCondorBackend"),
    ({"gateway": {"resources": {"requets": {}}}}, "requets"),
    ({"condor": {"submitter": "users"}}, "submitter"),
    ({"condor": {"schedds": "one"}}, "schedds"),
    ({"proxy": {"publicAddress": "dask.example.org"}}, "publicAddress"),
    ({"proxy": {"replicas": 0}}, "replicas"),
    ({"service": {"port": 80000}}, "service/port"),
    ({"schedulerService": {"type": "Router"}}, "schedulerService/type"),
    ({"route": {"termination": "none"}}, "termination"),
    ({"ingress": {"enabled": "yes"}}, "enabled"),
    ({"schedulers": {"memory": {"request": "2Gi"}}}, "memory/request"),
    ({"schedulers": {"cores": {"request": 0}}}, "cores/request"),
    ({"image": {"tag": 1.2}}, "tag"),
    ({"imagePullSecrets": [{"name": "x"}]}, "imagePullSecrets"),
    ({"image": {"digest": "sha256:12"}}, "image/digest"),
    ({"image": {"name": "a.example.org/b@sha256:12"}}, "image/name"),
    ({"gateway": {"env": [{"name": "A", "valeu": "b"}]}}, "env/valeu"),
    ({"gateway": {"env": [{"name": "A", "value": 1}]}}, "env/value"),
    ({"gateway": {"env": [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {}}}]}}, "gateway/env"),
    ({"gateway": {"env": [{"name": "A", "valueFrom": {"secret": {}}}]}}, "valueFrom/secret"),
    ({"gateway": {"service": {"clusterIP": "None."}}}, "service/clusterIP"),
    ({"gateway": {"hostAliases": [{"ip": "here", "hostnames": []}]}}, "hostAliases/ip"),
    ({"schedulerService": {"loadBalancerIP": "nonsense"}}, "loadBalancerIP"),
    ({"schedulerService": {"loadBalancerIP": "192.0.2.256"}}, "loadBalancerIP"),
    ({"schedulerService": {"loadBalancerSourceRanges": ["nonsense"]}}, "loadBalancerSourceRanges"),
    ({"schedulerService": {"loadBalancerSourceRanges": ["192.0.2.1"]}}, "loadBalancerSourceRanges"),
    ({"schedulerService": {"loadBalancerSourceRanges": ["192.0.2.0/33"]}}, "loadBalancerSourceRanges"),
    ({"schedulerService": {"externalIPs": [""]}}, "externalIPs"),
]


@pytest.mark.parametrize(("values", "name"), WRONG, ids=[name for _, name in WRONG])
def test_a_wrong_value_is_refused_with_its_name(values: dict[str, Any], name: str) -> None:
    with Chart.load(CHART) as chart, pytest.raises(HelmError) as refused:
        chart.validate_schema(values)
    for word in name.split("/"):
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"route": {"enabled": True}, "ingress": {"enabled": True}},
            "ingress.enabled and route.enabled are both true",
        ),
        ({"route": {"enabled": True, "termination": "passthrough"}}, "proxy.tlsSecret must be set"),
        ({"gateway": {"auth": {"type": "custom"}}}, "gateway.auth.custom.class must be set"),
        (
            {"gateway": {"database": {"urlSecret": {"name": "x"}}, "persistence": {"enabled": False}}},
            "gateway.encryptionKeysSecret.name must be set",
        ),
        ({"condor": {"submitter": "gateway"}}, "condor.collector or condor.schedds must be set"),
        ({"proxy": {"publicAddress": "dask.example.org:70000"}}, "there is no port 70000"),
        (
            {"gateway": {"auth": {"jupyterhub": {"apiTokenSecret": {"name": ""}}}}},
            "gateway.auth.jupyterhub.apiTokenSecret.name must be set",
        ),
        ({"service": {"nodePort": 30080}}, "service.nodePort is set"),
        (
            {"schedulers": {"cores": {"request": 2, "limit": 1.5}}},
            "schedulers.cores.limit is 1.5: it must not be below schedulers.cores.request, 2",
        ),
        (
            {"schedulers": {"memory": {"request": "4G", "limit": "4095M"}}},
            "schedulers.memory.limit is 4095M: it must not be below schedulers.memory.request, 4G",
        ),
        ({"schedulers": {"memory": {"limit": 2147483647}}}, "below schedulers.memory.request, 2G"),
        ({"schedulerService": {"type": "ClusterIP", "nodePort": 30080}}, "schedulerService.nodePort is set"),
    ],
)
def test_values_that_do_not_go_together_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(HelmError, match=words):
        render(values)


@pytest.mark.parametrize(
    "values",
    [
        {"schedulers": {"cores": {"request": 2, "limit": 2}, "memory": {"request": "4G", "limit": "4096M"}}},
        {"schedulers": {"memory": {"request": 2147483648, "limit": "2G"}}},
        {"schedulers": {"memory": {"request": "0.5T", "limit": "512G"}}},
        {"schedulerService": {"loadBalancerIP": "2001:db8::1", "loadBalancerSourceRanges": ["::/0"]}},
        {"schedulerService": {"loadBalancerSourceRanges": ["2001:db8::/32", "192.0.2.0/24"]}},
        {"schedulerService": {"externalIPs": ["192.0.2.1"], "loadBalancerSourceRanges": ["0.0.0.0/0"]}},
        {"gateway": {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}},
        {"gateway": {"env": [{"name": "A"}], "service": {"clusterIP": "2001:db8::1"}}},
    ],
)  # fmt: skip
def test_values_that_just_do(values: dict[str, Any]) -> None:
    for manifest in render(values):
        kubernetes_validate.validate(manifest, "1.37", strict=True)


DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


@pytest.mark.parametrize(
    ("image", "own", "gateways", "proxys"),
    [
        ({}, {}, ":1", ":1"),
        ({"digest": DIGEST}, {}, f"@{DIGEST}", f"@{DIGEST}"),
        ({"digest": DIGEST}, {"tag": "0.9"}, f"@{DIGEST}", ":0.9"),
        ({"digest": DIGEST}, {"digest": OTHER}, f"@{DIGEST}", f"@{OTHER}"),
        ({}, {"digest": OTHER, "tag": "0.9"}, ":1", f"@{OTHER}"),
        ({"digest": DIGEST}, {"name": "mirror"}, f"@{DIGEST}", f"@{DIGEST}"),
    ],
)
def test_an_image_by_its_digest(
    image: dict[str, str], own: dict[str, str], gateways: str, proxys: str
) -> None:
    manifests = render({"image": {"name": "a.example.org/b", "tag": "1", **image}, "proxy": {"image": own}})
    found = [
        pick(manifests, "Deployment", f"-{part}")["spec"]["template"]["spec"] for part in ("gateway", "proxy")
    ]
    names = [pod["containers"][0]["image"] for pod in found]
    assert names == [f"a.example.org/b{gateways}", f"{own.get('name', 'a.example.org/b')}{proxys}"]


def test_names_that_yaml_takes_for_something_else() -> None:
    values = {
        "fullnameOverride": "n", "imagePullSecrets": ["1e3"], "schedulers": {"namespace": "123"},
        "condor": {"submitter": "gateway", "schedds": ["s"], "tokensSecret": "0x10"},
        "ingress": {"enabled": True, "className": "yes", "tlsSecret": "1.5"},
        "gateway": {"priorityClassName": "null", "persistence": {"existingClaim": "12"}},
        "proxy": {"publicAddress": "[2001:db8::1]:8786", "tokenSecret": "on"},
    }  # fmt: skip
    for manifest in render(values, namespace="42"):
        kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_without_a_state_the_next_gateway_finds_what_is_left() -> None:
    def settings(values: dict[str, Any]) -> dict[str, Any]:
        text = pick(render(values), "ConfigMap")["data"]["settings.json"]
        return dict(json.loads(text)["HTCondorBackend"])

    values = {"gateway": {"persistence": {"enabled": False}}, "proxy": {"publicAddress": "d.example.org:1"}}
    found = settings(values)
    assert (found["instance"], found["stop_clusters_on_shutdown"]) == ("site/dask@d.example.org:1", True)
    for kept in ({}, COMBINATIONS["postgresql"]):
        assert not {"instance", "stop_clusters_on_shutdown"} & set(settings(kept))


def test_every_value_has_a_comment_and_a_place_in_the_schema() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    schema = json.loads((CHART / "values.schema.json").read_text())
    for at, line in enumerate(lines):
        if line and line[0].isalpha():
            above = lines[at - 1]
            assert above.startswith("#"), f"{line} has no comment"

    def compare(values: dict[str, Any], node: dict[str, Any], path: str) -> None:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        if node.get("additionalProperties") is False:
            extra = set(node["properties"]) - set(values)
            assert not extra or path.endswith(("resources",)), f"{path}: {extra} are in the schema only"
            for name, value in values.items():
                if isinstance(value, dict):
                    compare(value, node["properties"][name], f"{path}.{name}")

    compare(yaml.safe_load("\n".join(lines)), schema, "")


def test_the_role_is_what_the_launcher_says_it_uses() -> None:
    rules = pick(render({}), "Role")["rules"]
    granted = {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert all(rule["apiGroups"] == [""] for rule in rules)
    assert granted == set(RULES)
    assert sum(len(rule["verbs"]) * len(rule["resources"]) for rule in rules) == len(RULES)


def pods(manifests: list[Manifest]) -> list[Manifest]:
    return [m["spec"]["template"]["spec"] for m in manifests if m["kind"] == "Deployment"]


@combinations
def test_pods_run_under_the_restricted_standard(values: dict[str, Any]) -> None:
    for pod in pods(render(values)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"]


def test_an_upgrade_of_the_gateway_leaves_the_gateway_proxy_alone() -> None:
    before = render({"proxy": {"image": {"tag": "1"}}, "image": {"tag": "1"}})
    after = render(
        {
            "proxy": {"image": {"tag": "1"}},
            "image": {"tag": "2"},
            "gateway": {"config": {"HTCondorBackend": {"queue_poll_period": 9}}, "loglevel": "DEBUG"},
            "condor": {"collector": "cm.example.org"},
        }
    )
    template = [pick(m, "Deployment", "-proxy")["spec"]["template"] for m in (before, after)]
    assert template[0] == template[1]
    gateways = [pick(m, "Deployment", "-gateway")["spec"]["template"] for m in (before, after)]
    assert gateways[0] != gateways[1]


def test_no_secret_is_in_an_argument_or_in_the_gateways_environment() -> None:
    gateway = pick(render(COMBINATIONS["gateway-submits"]), "Deployment", "-gateway")
    [container] = gateway["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "CONDOR_CONFIG", "value": "/etc/htcdaskgateway/condor_config"}]
    assert not any("token" in argument for argument in container["args"])
