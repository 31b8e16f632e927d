"""Wanted workers become jobs: each once, also where an answer of the schedd is lost, or this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from logging import Logger, LoggerAdapter
from typing import Any

from dask_gateway_server.backends.db_base import Cluster, JobStatus, Worker

from htcdaskgateway.condor.schedd import ObservedJob, Schedd, Settles, SubmitDescription
from htcdaskgateway.errors import (
    ConfigurationError,
    InvalidRequestError,
    SandboxError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)
from htcdaskgateway.server.looks import new_job
from htcdaskgateway.server.reasons import in_one_line
from htcdaskgateway.server.store import WorkerStore

Describe = Callable[[Cluster, Sequence[str]], SubmitDescription]


class Submits:
    """Submits to one schedd.

    A worker whose record says *asked* and knows no job may have one all the same. Its name is submitted
    again only after a complete answer of the right schedd's queue did not show it.

    Parameters
    ----------
    schedd : Schedd
    gateway : str
        Instance id that the jobs of this gateway carry.
    store : WorkerStore
    describe : callable
        ``(cluster, worker_names) -> SubmitDescription``.
    is_mine : callable
        Whether a cluster, by its name, has its jobs on this schedd.
    """

    def __init__(
        self,
        schedd: Schedd,
        gateway: str,
        store: WorkerStore,
        describe: Describe,
        is_mine: Callable[[str], bool],
        log: Logger | LoggerAdapter[Any],
    ) -> None:
        self.schedd, self.gateway, self.store = schedd, gateway, store
        self.describe, self.is_mine, self.log = describe, is_mine, log

    def due(self, cluster: Cluster) -> list[Worker]:
        """Wanted workers of a cluster that surely have no job."""
        fresh = [w for w in self.store.wanted(cluster) if w.status == JobStatus.CREATED]
        return [w for w in fresh if not w.state.get("asked")]

    async def submit(self, cluster: Cluster, workers: Sequence[Worker]) -> None:
        """Submit them in one transaction.

        Raises
        ------
        CondorError, InvalidRequestError, ConfigurationError, SandboxError
            Also told to the records: refused ones have failed, the others wait.
        """
        names = [worker.name for worker in workers]
        try:
            await self.settle(self.lost())
            # Saved before the schedd is asked: whatever happens to this process in between, the next one
            # looks into that schedd's queue for these names before it submits them again.
            self._note(workers, asked=True, schedd=self.schedd.name)
            ids = await self.schedd.submit(self.describe(cluster, names))
        except (SubmitRefusedError, InvalidRequestError, ConfigurationError) as error:
            self._note(workers, asked=False)
            self.store.fail([(w, in_one_line(error)) for w in workers], one_try=True)
            raise
        except (ScheddUnavailableError, SandboxError) as error:  # nothing was done, and it may be mended
            self._note(workers, asked=False, reason=in_one_line(error))
            raise
        except ScheddSilentError as error:
            self._note(workers, reason=in_one_line(error))
            raise
        now = time.time()
        self.store.save(
            (worker, {"status": JobStatus.SUBMITTED, "state": new_job(job_id, self.schedd.name, now)})
            for worker, job_id in zip(workers, ids, strict=True)
        )
        self.log.info("Cluster %s: submitted %d jobs, %s…", cluster.name, len(ids), ids[0])

    def lost(self) -> list[Worker]:
        """Workers that may have jobs on a schedd whose name is not known; also those that nobody wants."""
        if self.schedd.name:
            return []
        return [
            worker
            for cluster in self.store.db.name_to_cluster.values()
            if self.is_mine(cluster.name)
            for worker in cluster.workers.values()
            if worker.state.get("asked") and not worker.state.get("schedd")
        ]

    async def settle(self, lost: Sequence[Worker]) -> None:
        """Find out which schedd it is, where that is not known yet: with these workers' jobs, if any."""
        if isinstance(self.schedd, Settles):
            await self.schedd.settle(self.gateway, sorted({worker.cluster.name for worker in lost}))

    def forget_unwanted(self, lost: Sequence[Worker], jobs: Collection[ObservedJob]) -> None:
        """Seek no more those that nobody wants and that have no job, as a look has shown."""
        shown = {(job.cluster_name, job.worker_name) for job in jobs}
        given_up = [w for w in lost if w.target != JobStatus.RUNNING]
        self._note([w for w in given_up if (w.cluster.name, w.name) not in shown], asked=False)

    def _note(self, workers: Sequence[Worker], **state: Any) -> None:
        self.store.save([(worker, {"state": state}) for worker in workers])
