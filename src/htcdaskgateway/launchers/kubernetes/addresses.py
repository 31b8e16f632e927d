"""Where a scheduler in a pod is reached. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from htcdaskgateway.launchers.base import Addresses


def way_to(service: Mapping[str, Any], how: str, namespace: str, node_address: str = "") -> dict[str, Any]:
    """Give host and ports of a scheduler, by its service; the host is empty where its pod tells it.

    Parameters
    ----------
    service : mapping
        As Kubernetes made it.
    how : str
        ``scheduler_address`` of `KubernetesSettings`.
    namespace, node_address : str
    """
    host = {
        "service": f"{service['metadata']['name']}.{namespace}.svc",
        "cluster-ip": service["spec"]["clusterIP"],
        "node-port": node_address,
        "pod-ip": "",
    }[how]
    port = "nodePort" if how == "node-port" else "port"
    return {"host": host, "ports": {one["name"]: one[port] for one in service["spec"]["ports"]}}


def addresses(state: Mapping[str, Any], pod: Mapping[str, Any] | None) -> Addresses:
    """Give what a heartbeat would say, without believing one.

    Raises
    ------
    ValueError
        It is not known yet.
    """
    if "ports" not in state:
        raise ValueError("the scheduler's service is not known yet")
    host = str(state["host"] or (pod or {}).get("status", {}).get("podIP") or "")
    if not host:
        raise ValueError("the address of the scheduler's pod is not known yet")
    host, ports = f"[{host}]" if ":" in host else host, state["ports"]
    return {
        "scheduler_address": f"tls://{host}:{ports['scheduler']}",
        "dashboard_address": f"http://{host}:{ports['dashboard']}",
        "api_address": f"http://{host}:{ports['api']}",
    }


def is_local(host: str) -> bool:
    """Whether this leads nowhere from another machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return host in ("", "localhost")
    return address.is_loopback or address.is_unspecified
