"""What notebooks written for htcdaskgateway 0.1.25 call, beside what is there anyway."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask_gateway import GatewayCluster

from htcdaskgateway.client.report import LIVE, WorkersReport, worker_count
from htcdaskgateway.condor.match import MatchExpression
from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.records import WorkerState

if TYPE_CHECKING:
    from htcdaskgateway.client.gateway import HTCGateway

OPTIONS = ("worker_cores", "worker_memory", "node_match_expr")


def without_address(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the keyword ``''``, by which 0.1.25 was told the address of the gateway proxy."""
    rest = dict(keywords)
    if "" in rest:
        address = rest.pop("")
        warnings.warn(
            f"The keyword '' ({address!r}) has no effect: the site says how workers reach their scheduler.",
            stacklevel=4,
        )
    return rest


async def checked_options(gateway: HTCGateway, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Check ``node_match_expr`` before a cluster is asked for, and leave out what is not set.

    Raises
    ------
    InvalidRequestError
        The gateway has no such option, or it is neither ``rank = EXPR`` nor ``requirements = EXPR``.
    """
    unset = [name for name in OPTIONS if keywords.get(name) in (None, "")]
    options = {name: value for name, value in keywords.items() if name not in unset}
    if "node_match_expr" in options:
        expression = str(MatchExpression.parse(options["node_match_expr"]))
        offered = list(await gateway._cluster_options(use_local_defaults=False))
        if "node_match_expr" not in offered:
            raise InvalidRequestError(
                f"node_match_expr={expression!r} cannot be had: the gateway has no such option.",
                {"gateway": gateway.address, "its options": ", ".join(offered) or "none"},
                "Leave it out, or ask the site's administrator for it.",
            )
        options["node_match_expr"] = expression
    return options


def check_worker_type(worker_type: object) -> None:
    """Refuse workers that are no HTCondor jobs.

    Raises
    ------
    InvalidRequestError
    """
    if worker_type not in (None, "htcondor"):
        raise InvalidRequestError(
            f"worker_type={worker_type!r} cannot be had: workers are HTCondor jobs.",
            remedy='Leave it out, or give "htcondor".',
        )


def batch_jobs(report: WorkersReport, sandbox: str) -> list[dict[str, Any]]:
    """Count the jobs of a cluster by HTCondor's ClusterId and schedd, as 0.1.25 did.

    Parameters
    ----------
    report : WorkersReport
    sandbox : str
        Where this session submits from, else empty.
    """
    found: dict[tuple[str, str], int] = {}
    for worker in report.workers:
        if worker.job_id and worker.state in (*LIVE, WorkerState.LEAVING):
            key = worker.job_id.partition(".")[0], worker.schedd
            found[key] = found.get(key, 0) + 1
    return [
        {"ClusterId": number, "Iwd": sandbox, "ScheddName": schedd, "n_jobs": jobs}
        for (number, schedd), jobs in found.items()
    ]


class DropIn(GatewayCluster):
    """Methods of 0.1.25's cluster whose work `scale` and `adapt` do now."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **without_address(keywords))

    @property
    def batchWorkerJobs(self) -> Any:  # noqa: N802 - its name in 0.1.25
        """Jobs in HTCondor's queue, by submit transaction; made anew each time.

        Returns
        -------
        list of dict
            ``ClusterId``, ``Iwd``, ``ScheddName`` and ``n_jobs``.
        """
        return self.gateway.sync(self._batch_jobs)

    async def _batch_jobs(self) -> list[dict[str, Any]]:
        return batch_jobs(await self.report(), str(self.sandbox or ""))

    def scale_batch_workers(self, n: int) -> Any:
        """Ask for ``n`` more workers. Deprecated: ``scale`` says how many there are to be."""
        _deprecated("scale_batch_workers(n)", "scale(n), n of all workers,")
        return self.gateway.sync(self._add, worker_count(n))

    async def _add(self, n: int) -> None:
        await self._scale((await self.report()).count + n)

    def scale_kube_workers(self, n: int) -> None:
        """Do nothing, as ever."""
        _deprecated("scale_kube_workers(n), which does nothing", "scale(n)")

    def destroy_all_batch_clusters(self) -> Any:
        """End all workers; the cluster stays."""
        return self.scale(0)


def _deprecated(old: str, new: str) -> None:
    warnings.warn(f"{old} is of htcdaskgateway 0.1; use {new} instead.", DeprecationWarning, stacklevel=3)
