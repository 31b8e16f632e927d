"""From a cluster's configuration and the site's settings to the submit description of its workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dask_gateway_server.backends.db_base import Cluster

from htcdaskgateway.condor.jobs import JobRequest, worker_jobs
from htcdaskgateway.condor.schedd import SubmitDescription
from htcdaskgateway.condor.worker_env import worker_env
from htcdaskgateway.errors import SandboxError
from htcdaskgateway.server.settings import HTCondorSettings

SESSIONS_OWN = "/sandbox"  # stands for a directory that only the session knows
KILL_AFTER = 5  # seconds between HTCondor's SIGTERM and SIGKILL to a job that is removed; the default is 600


def describe(
    site: HTCondorSettings, gateway: str, cluster: Cluster, names: Sequence[str]
) -> SubmitDescription:
    """Submit description of workers, with the files that their jobs need in place.

    Where sessions submit, nothing is in place: the description has the files that are no secret, and a
    path that the session replaces by that of its own sandbox.

    Raises
    ------
    InvalidRequestError, ConfigurationError
        A value cannot be said to HTCondor, or to a worker.
    SandboxError
    """
    if site.submitter == "session":
        description = jobs(site, gateway, cluster.name, cluster.username, cluster.config, names)
        return replace(description, files={"worker.env": environment(site, cluster)})
    sandbox = site.sandbox(cluster.name)
    description = jobs(site, gateway, cluster.name, cluster.username, cluster.config, names)
    files = {
        "dask.crt": cluster.tls_cert.decode(),
        "dask.pem": cluster.tls_key.decode(),
        "worker.env": environment(site, cluster),
        "workers.sub": str(description),
    }
    try:
        sandbox.prepare(files)
    except OSError as error:
        raise SandboxError(str(sandbox.path), str(error)) from error
    return description


def environment(site: HTCondorSettings, cluster: Cluster) -> str:
    """What a worker is told: how it starts, and the way to its scheduler."""
    config = cluster.config
    through_proxy = site.worker_contact == "gateway-proxy"
    return worker_env(
        command=config.worker_cmd,
        contact=f"tls://{site.worker_contact_address}" if through_proxy else cluster.scheduler_address,
        sni=f"daskgateway-{cluster.name}" if through_proxy else "",
        nthreads=config.worker_threads,
        memory_limit=config.worker_memory,
        death_timeout=site.worker_death_timeout,
        worker_port=site.worker_ports,
        nanny_port=site.nanny_ports,
        host=site.worker_host,
        container=site.container(config.get("image", "")),
        environment=config.environment,
    )


def jobs(
    site: HTCondorSettings, gateway: str, cluster: str, user: str, config: Any, names: Sequence[str]
) -> SubmitDescription:
    """One job a worker, with what the site adds to each."""
    by_session = site.submitter == "session"
    access = site.condor_access
    return worker_jobs(
        JobRequest(
            gateway=gateway,
            cluster_name=cluster,
            user=user,
            cores=config.worker_cores,
            memory=config.worker_memory,
            disk=config.worker_disk,
            sandbox=SESSIONS_OWN if by_session else str(site.sandbox(cluster).path),
            worker_names=tuple(names),
            batch_name=f"dask-{user}-{cluster[:8]}",
            worker_lifetime=site.worker_lifetime,
            held_lifetime=site.worker_held_lifetime,
            idle_lifetime=site.worker_idle_lifetime,
            lease=site.job_lease,
            spool=access.spool,
            accounting_group_user=user if access.accounting_group_user and not by_session else "",
            submit_commands={"job_max_vacate_time": str(KILL_AFTER), **config.submit_commands},
        )
    )
