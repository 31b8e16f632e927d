"""Errors that are also dask-gateway's, so that code written for its client catches them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dask_gateway import GatewayClusterError

from htcdaskgateway.errors import HTCDaskError, InvalidRequestError

if TYPE_CHECKING:
    from htcdaskgateway.client.views.reasons import Reason


class ClusterFailedError(HTCDaskError, GatewayClusterError):
    """The cluster did not start, or has ended."""

    def __init__(self, cluster: str, words: str) -> None:
        self.cluster, self.words = cluster, words
        super().__init__(f"Cluster {cluster} is not running.", {"the gateway says": words})


class NoAddressError(InvalidRequestError):
    """Nobody said where the gateway is: no argument, no configuration."""

    def __init__(self) -> None:
        super().__init__(
            "There is no gateway to ask: no address was given, and Dask's configuration has none.",
            {"looked for": "the argument, gateway.address, the environment variable DASK_GATEWAY__ADDRESS"},
            "HTCGateway(address=…) and --address=URL give it once; for good, as an example:\n"
            "export DASK_GATEWAY__ADDRESS=https://dask.example.org",
        )


class RefusedError(HTCDaskError, GatewayClusterError):
    """The gateway could not do what was asked of a cluster. Nothing was changed."""

    def __init__(self, words: str) -> None:
        self.words = words
        super().__init__("The gateway could not do this.", {"it says": words})


class WorkersMissingError(HTCDaskError, TimeoutError):
    """The workers that were waited for have not all come.

    Parameters
    ----------
    wanted, running : int
    seconds : float
        So long it was waited.
    why : str
        Of all that is known, the one thing to know; empty if it is nothing.
    states : str
        Such as ``2 running, 3 idle``.
    reasons : sequence of Reason
        What the missing ones wait for, each with its number of workers.
    remedy : str
        What to do if no more of them are wanted; empty if they are.
    """

    def __init__(
        self,
        wanted: int,
        running: int,
        seconds: float,
        why: str,
        states: str,
        reasons: Sequence[Reason] = (),
        remedy: str = "",
    ) -> None:
        self.wanted, self.running, self.seconds = wanted, running, seconds
        self.why, self.states, self.reasons = why, states, tuple(reasons)
        facts, remedies = {"workers": states}, {remedy: None} if remedy else dict[str, None]()
        for reason in self.reasons:
            if reason.text:
                before = facts.get(reason.title)
                facts[reason.title] = f"{before}\n{reason.text}" if before else reason.text
            if reason.remedy:
                remedies[reason.remedy] = None
        if why and not any(why.endswith(reason.text) for reason in self.reasons if reason.text):
            facts["why"] = why
        super().__init__(
            f"{running} of {wanted} workers are running after {seconds:.0f} s.",
            facts,
            "\n".join([*remedies, "cluster.workers() lists each with its reason."]),
        )
