"""Who may talk to whom by the chart's NetworkPolicies, and nobody else: what they say, worked out here."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from tests.support.chart import Manifest, pick, render

from htcdaskgateway.launchers.base import SchedulerSpec
from htcdaskgateway.launchers.kubernetes.manifests import PodSettings, make_pod
from htcdaskgateway.launchers.kubernetes.names import Names

OUTSIDE, SITE, ELSEWHERE = "198.51.100.7", "site", "elsewhere"


@dataclass(frozen=True)
class Pod:
    """What a policy goes by."""

    namespace: str
    labels: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)


Peer = Pod | str  # a str: an address that is no pod's


def selects(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    """Whether labels are selected; no selector is one of everything."""
    assert set(selector or {}) <= {"matchLabels"}, "the chart has no others"
    return all(labels.get(name) == value for name, value in (selector or {}).get("matchLabels", {}).items())


def is_peer(said: dict[str, Any], policy: Manifest, one: Peer) -> bool:
    """Whether an entry of ``from`` or ``to`` means this one."""
    if "ipBlock" in said:
        return isinstance(one, str) and ip_address(one) in ip_network(said["ipBlock"]["cidr"])
    if isinstance(one, str):
        return False
    if "namespaceSelector" in said:
        if not selects(said["namespaceSelector"], {"kubernetes.io/metadata.name": one.namespace}):
            return False
    elif one.namespace != policy["metadata"].get("namespace", SITE):
        return False
    return selects(said.get("podSelector"), one.labels)


def permits(rule: dict[str, Any], policy: Manifest, peer: Peer, target: Peer, at: tuple[int, str]) -> bool:
    known = target.ports if isinstance(target, Pod) else {}
    ports = [
        (known[one["port"]] if isinstance(one["port"], str) else one["port"], one["protocol"])
        for one in rule.get("ports", ())
        if not isinstance(one["port"], str) or one["port"] in known
    ]
    peers = rule.get("from", rule.get("to"))
    if "ports" in rule and at not in ports:
        return False
    return not peers or any(is_peer(said, policy, peer) for said in peers)


def may(policies: list[Manifest], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether these policies let somebody connect."""
    for direction, here, there in (("Ingress", target, source), ("Egress", source, target)):
        of_it = [
            policy
            for policy in policies
            if direction in policy["spec"]["policyTypes"]
            and isinstance(here, Pod)
            and policy["metadata"].get("namespace", SITE) == here.namespace
            and selects(policy["spec"]["podSelector"], here.labels)
        ]
        rules = [(rule, one) for one in of_it for rule in one["spec"].get(direction.lower(), ())]
        if of_it and not any(permits(rule, one, there, target, (port, protocol)) for rule, one in rules):
            return False
    return True


def world(values: dict[str, Any]) -> tuple[list[Manifest], dict[str, Peer]]:
    """The policies of a release in the namespace ``site``, and who there is."""
    manifests = render(values, SITE)
    schedulers = values.get("schedulers", {}).get("namespace", SITE)
    spec = SchedulerSpec("cluster", "alice", ("dask",), {}, {})
    mine = PodSettings(labels={"team": "cms"})
    scheduler = of_pod(make_pod(Names("gateway"), spec, "image", "uid", mine), schedulers)
    gateway = of_pod(pick(manifests, "Deployment", "-gateway")["spec"]["template"], SITE)
    proxy = of_pod(pick(manifests, "Deployment", "-proxy")["spec"]["template"], SITE)
    people: dict[str, Peer] = {
        "gateway": gateway,
        "gateway proxy": proxy,
        "scheduler": scheduler,
        "another's scheduler": of_pod(make_pod(Names("other"), spec, "image", "uid", mine), schedulers),
        "neighbour": Pod(SITE, {"app": "notebook"}),
        "neighbour of schedulers": Pod(schedulers, {"app": "notebook"}),
        "gateway elsewhere": Pod(ELSEWHERE, gateway.labels),
        "gateway proxy elsewhere": Pod(ELSEWHERE, proxy.labels),
        "scheduler elsewhere": Pod(ELSEWHERE, scheduler.labels),
        "dns": Pod("kube-system", {"k8s-app": "kube-dns"}),
        "outside": OUTSIDE,
    }
    if schedulers != SITE:
        people["gateway proxy among schedulers"] = Pod(schedulers, proxy.labels)
        people["gateway among schedulers"] = Pod(schedulers, gateway.labels)
        people["scheduler beside the gateway"] = Pod(SITE, scheduler.labels)
    return [one for one in manifests if one["kind"] == "NetworkPolicy"], people


def of_pod(template: Manifest, namespace: str) -> Pod:
    ports = {p["name"]: p["containerPort"] for c in template["spec"]["containers"] for p in c["ports"]}
    return Pod(namespace, template["metadata"]["labels"], ports)


EVERYBODY = None
# Who is connected to, at which port of its pod, by whom and by nobody else.
TABLE: list[tuple[str, str, set[str] | None]] = [
    ("gateway", "api", {"gateway proxy", "scheduler", "another's scheduler"}),  # routes; heartbeats
    ("gateway proxy", "web", EVERYBODY),
    ("gateway proxy", "scheduler", EVERYBODY),
    ("scheduler", "scheduler", {"gateway proxy"}),  # workers and clients come through it
    ("scheduler", "dashboard", {"gateway proxy"}),
    ("scheduler", "api", {"gateway"}),
]
NAMESPACES = [{}, {"schedulers": {"namespace": "dask-schedulers"}}]
apart = pytest.mark.parametrize("values", NAMESPACES, ids=["together", "apart"])


@apart
@pytest.mark.parametrize(("target", "port", "by"), TABLE, ids=[f"{t}-{p}" for t, p, _ in TABLE])
def test_who_may_connect_to_whom(values: dict[str, Any], target: str, port: str, by: set[str] | None) -> None:
    policies, people = world(values)
    to = people[target]
    assert isinstance(to, Pod)
    found = {name for name, one in people.items() if may(policies, one, to, to.ports[port])}
    assert found - {target} == (set(people) if by is EVERYBODY else by) - {target}


@apart
@pytest.mark.parametrize("target", ["gateway", "gateway proxy", "scheduler"])
def test_no_other_port_is_open(values: dict[str, Any], target: str) -> None:
    policies, people = world(values)
    assert not [name for name, one in people.items() if may(policies, one, people[target], 22)]
    [udp] = {may(policies, "192.0.2.1", people[target], port, "UDP") for port in (8000, 8786, 8787, 8788)}
    assert not udp


@apart
def test_whom_the_parts_may_connect_to(values: dict[str, Any]) -> None:
    """HTCondor, the Hub, Kubernetes' own API, what users' code wants."""
    policies, people = world(values)
    for source in ("gateway", "gateway proxy", "scheduler"):
        assert may(policies, people[source], OUTSIDE, 443)
        assert may(policies, people[source], people["dns"], 53, "UDP")


@apart
def test_a_site_says_who_may_connect(values: dict[str, Any]) -> None:
    block = [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    policies, people = world({**values, "networkPolicy": {"from": block, "gatewayFrom": block}})
    proxy, gateway = people["gateway proxy"], people["gateway"]
    for port in (8000, 8786):
        assert may(policies, "192.0.2.9", proxy, port)
        assert not may(policies, OUTSIDE, proxy, port)
        assert not may(policies, people["neighbour"], proxy, port)
    assert may(policies, "192.0.2.9", gateway, 8000)
    assert may(policies, people["scheduler"], gateway, 8000)
    assert not may(policies, OUTSIDE, gateway, 8000)


@apart
def test_where_schedulers_are_kept_in_they_reach_their_gateway(values: dict[str, Any]) -> None:
    egress = [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 443, "protocol": "TCP"}]}]
    policies, people = world({**values, "networkPolicy": {"schedulerEgress": egress}})
    scheduler = people["scheduler"]
    assert may(policies, scheduler, people["gateway"], 8000)
    for protocol in ("UDP", "TCP"):
        assert may(policies, scheduler, people["dns"], 53, protocol)
        assert may(policies, scheduler, people["dns"], 5353, protocol)
    assert may(policies, scheduler, "192.0.2.9", 443)
    assert not may(policies, scheduler, "192.0.2.9", 22)
    assert not may(policies, scheduler, OUTSIDE, 443)
    assert not may(policies, scheduler, people["neighbour"], 8000)
    assert not may(policies, scheduler, people["gateway elsewhere"], 8000)
    assert may(policies, people["gateway"], OUTSIDE, 443), "the others are not kept in"


def test_no_policy_where_the_site_wants_none() -> None:
    assert not world({"networkPolicy": {"enabled": False}})[0]
