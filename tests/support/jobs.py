"""What the schedd has, and had, of one cluster."""

from __future__ import annotations

from typing import Any

from tests.support.gateway import GatewayServer


def jobs_of(server: GatewayServer, cluster: str) -> list[dict[str, Any]]:
    """Ads of its jobs in the queue."""
    return [ad for ad in server.jobs() if ad["HTCDaskCluster"] == cluster]


def workers_of_all_jobs(server: GatewayServer, cluster: str) -> list[str]:
    """Names of the workers of all jobs in queue and history, each as often as it had a job."""
    constraint = f'HTCDaskCluster == "{cluster}"'
    past = server.pool.command("condor_history", "-constraint", constraint, "-af", "HTCDaskWorker")
    return [*past.split(), *(ad["HTCDaskWorker"] for ad in jobs_of(server, cluster))]
