"""Errors that are also dask-gateway's, so that code written for its client catches them."""

from __future__ import annotations

from dask_gateway import GatewayClusterError

from htcdaskgateway.errors import HTCDaskError


class ClusterFailedError(HTCDaskError, GatewayClusterError):
    """The cluster did not start, or has ended."""

    def __init__(self, cluster: str, words: str) -> None:
        self.cluster, self.words = cluster, words
        super().__init__(f"Cluster {cluster} is not running.", {"the gateway says": words})


class RefusedError(HTCDaskError, GatewayClusterError):
    """The gateway could not do what was asked of a cluster. Nothing was changed."""

    def __init__(self, words: str) -> None:
        self.words = words
        super().__init__("The gateway could not do this.", {"it says": words})


class WorkersMissingError(HTCDaskError, TimeoutError):
    """The workers that were waited for have not all come."""

    def __init__(self, wanted: int, running: int, seconds: float, why: str, states: str) -> None:
        self.wanted, self.running, self.seconds = wanted, running, seconds
        self.why, self.states = why, states
        super().__init__(
            f"{running} of {wanted} workers are running after {seconds:.0f} s.",
            {"workers": states, **({"why": why} if why else {})},
            "cluster.workers() lists each with its reason."
            + (" Idle jobs wait for a free slot and still come." if " idle" in states else ""),
        )
