"""What a cluster of this backend is made of; the site sets the defaults, options the rest."""

from __future__ import annotations

from dask_gateway_server.backends.base import ClusterConfig
from dask_gateway_server.traitlets import Command, MemoryLimit
from traitlets import Dict, Unicode, default

# A scheduler runs its user's code, and the gateway follows the count that it reports.
LARGEST_CLUSTER = 10_000


class HTCondorClusterConfig(ClusterConfig):
    """Configuration of one cluster: scheduler, workers and their HTCondor jobs."""

    scheduler_cmd = Command(
        ["dask", "scheduler"], help="Shell command to start a scheduler, as a list.", config=True
    )
    worker_cmd = Command(["dask", "worker"], help="Command to start a worker, as a list.", config=True)
    # Not configurable: c.HTCondorBackend.image is the site's, the option `image` the user's.
    image = Unicode("", help="Image reference of workers and scheduler, with registry and tag.")
    worker_disk = MemoryLimit(
        0, help="Scratch space of a worker, with suffix K, M, G or T. 0: the pool's default.", config=True
    )
    submit_commands = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""Further HTCondor submit commands for worker jobs, such as
        ``{"requirements": "isDaskNode", "+DESIRED_Sites": '"T3_US_FNALLPC"', "accounting_group": "cms"}``.
        Values are written as given. Commands that the gateway itself sets are refused.""",
        config=True,
    )

    @default("cluster_max_workers")
    def _default_cluster_max_workers(self) -> int:
        limit = self._worker_limit_from_resources()
        return LARGEST_CLUSTER if limit is None else min(limit, LARGEST_CLUSTER)
