"""The example for OKD beside JupyterHub's own chart, whose network policies close much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.chart import Manifest, pick, render
from tests.unit.deploy.test_network_policies import Peer, Pod, may, of_pod

SITE = Path(__file__).parents[3] / "examples" / "sites" / "eaf-like"
LET_IN = "hub.jupyter.org/network-access-hub"
GATEWAYS, HUBS = "dask-gateway", "jupyterhub"


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((SITE / name).read_text())
    return found


def policies(values: dict[str, Any]) -> list[Manifest]:
    """The two policies of the Hub's chart that matter, by its defaults and with a site's values."""

    def policy(component: str, **rules: Any) -> Manifest:
        selector = {"matchLabels": {"component": component}}
        types = [name.capitalize() for name in rules]
        spec = {"podSelector": selector, "policyTypes": types, **rules}
        return {"kind": "NetworkPolicy", "metadata": {"namespace": HUBS}, "spec": spec}

    def said(part: str, direction: str) -> list[dict[str, Any]]:
        return list(values.get(part, {}).get("networkPolicy", {}).get(direction, ()))

    labelled = {"podSelector": {"matchLabels": {LET_IN: "true"}}}
    hub = [{"ports": [{"port": 8081, "protocol": "TCP"}], "from": [labelled]}, *said("hub", "ingress")]
    # Names only in kube-system, and of addresses none that are private.
    names = {
        "ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")],
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    }
    return [
        policy("hub", ingress=hub),
        policy("singleuser-server", egress=[names, *said("singleuser", "egress")]),
    ]


@pytest.fixture(scope="module")
def people() -> dict[str, Peer]:
    manifests = render(read("values.yaml"), GATEWAYS)
    return {
        "gateway": of_pod(pick(manifests, "Deployment", "-gateway")["spec"]["template"], GATEWAYS),
        "gateway proxy": of_pod(pick(manifests, "Deployment", "-proxy")["spec"]["template"], GATEWAYS),
        "hub": Pod(HUBS, {"component": "hub"}),
        "notebook": Pod(HUBS, {"component": "singleuser-server", LET_IN: "true"}),
        "stranger": Pod(GATEWAYS, {"app": "stranger"}),
        "gateway elsewhere": Pod("elsewhere", {"app.kubernetes.io/name": "htcdaskgateway"}),
        "dns of okd": Pod("openshift-dns", {}),
        "public address": read("values.yaml")["schedulerService"]["loadBalancerIP"],
    }  # fmt: skip


NEEDED = [
    ("gateway", "hub", 8081, "TCP"),
    ("notebook", "gateway proxy", 8000, "TCP"),
    ("notebook", "gateway proxy", 8786, "TCP"),
    ("notebook", "public address", 8786, "TCP"),
    ("notebook", "dns of okd", 5353, "UDP"),
]
needed = pytest.mark.parametrize(
    ("source", "target", "port", "protocol"), NEEDED, ids=[f"{a} to {b} {port}" for a, b, port, _ in NEEDED]
)


@needed
def test_the_example_opens_what_is_needed(
    people: dict[str, Peer], source: str, target: str, port: int, protocol: str
) -> None:
    assert may(policies(read("hub-values.yaml")), people[source], people[target], port, protocol)


@needed
def test_the_charts_defaults_would_not(
    people: dict[str, Peer], source: str, target: str, port: int, protocol: str
) -> None:
    assert not may(policies({}), people[source], people[target], port, protocol)


def test_and_no_more(people: dict[str, Peer]) -> None:
    opened = policies(read("hub-values.yaml"))
    for stranger in ("stranger", "gateway proxy", "gateway elsewhere"):
        assert not may(opened, people[stranger], people["hub"], 8081)
    assert not may(opened, people["gateway"], people["hub"], 22)
    assert not may(opened, people["notebook"], people["gateway"], 8000)
    assert not may(opened, people["notebook"], people["stranger"], 8000)
    assert may(opened, people["notebook"], people["public address"], 9618), (
        "HTCondor's, in the same network here"
    )
    assert not may(opened, people["notebook"], "10.1.2.3", 443)
