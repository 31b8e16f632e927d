"""From a cluster's configuration and the site's settings to what the launcher is asked to start."""

from __future__ import annotations

from collections.abc import Sequence

from dask_gateway_server.backends.db_base import Cluster

from htcdaskgateway.launchers.base import SchedulerPorts, SchedulerSpec
from htcdaskgateway.server.settings import HTCondorSettings

TOKEN_FILE = "./dask-gateway-token"  # noqa: S105 - a path, no token; with a slash, dask-gateway sees that


def at_ports(command: Sequence[str], ports: SchedulerPorts, host: str) -> list[str]:
    """dask-gateway's command of a scheduler, which lets the system choose ports, at these ports."""
    changed = list(command)
    for option, value in {
        "--port": str(ports.scheduler),
        "--dashboard-address": f"{host}:{ports.dashboard}",
        "--dg-api-address": f"{host}:{ports.api}",
    }.items():
        changed[changed.index(option) + 1] = value
    return changed


def scheduler_spec(site: HTCondorSettings, cluster: Cluster) -> SchedulerSpec:
    """What secrets it needs is in files: who reads its environment, or its arguments, learns none."""
    certificate, key = site.get_tls_paths(cluster)
    return SchedulerSpec(
        cluster.name,
        cluster.username,
        command=tuple(site.get_scheduler_command(cluster)),
        environment={**site.get_scheduler_env(cluster), "DASK_GATEWAY_API_TOKEN": TOKEN_FILE},
        files={
            certificate: cluster.tls_cert.decode(),
            key: cluster.tls_key.decode(),
            TOKEN_FILE: cluster.token,
        },
        image=site.image_of_scheduler(cluster.config.get("image", "")),
        inherited=site.inherited_environment,
        cores=cluster.config.scheduler_cores,
        memory=cluster.config.scheduler_memory,
    )
