"""Whether the scheduler and the workers of a running cluster fit this notebook."""

from __future__ import annotations

import asyncio
from typing import Any

from htcdaskgateway.client.display import tell
from htcdaskgateway.client.images import Choice, comparison
from htcdaskgateway.client.running import SECONDS, scheduler_column, worker_columns, worker_names
from htcdaskgateway.versions import Column, VersionTable

WARN = 'check_versions="warn" goes ahead all the same; expect errors and waits without end.'
WAITS = "`htcdask images --fits` lists images that do fit. With these workers, calls may wait for ever."


class RunningChecks:
    """Asks them, and raises or warns as ``choice.check`` says. That nobody answers is no error.

    Parameters
    ----------
    cluster : str
        Its name.
    scheduler : distributed.core.rpc
    choice : Choice
        What was found out of the image before it started.
    """

    def __init__(self, cluster: str, scheduler: Any, choice: Choice) -> None:
        self.cluster, self.scheduler, self.choice = cluster, scheduler, choice
        self._fitting: frozenset[str] = frozenset()  # addresses of workers
        self._warned = frozenset(comparison(choice).differing)

    async def table(self) -> VersionTable:
        """Versions of all that there is."""
        scheduler, names = await asyncio.gather(
            scheduler_column(self.scheduler), worker_names(self.scheduler)
        )
        return comparison(self.choice, scheduler, *await worker_columns(self.scheduler, names))

    async def check_scheduler(self) -> None:
        """Compare the scheduler, unless ``check`` is off.

        Raises
        ------
        VersionMismatchError
        """
        if self.choice.check in ("error", "warn"):
            column = await scheduler_column(self.scheduler)
            self._tell("The scheduler", (column,), f"The cluster is stopped. {WARN}")

    async def check_workers(self, seconds: float = SECONDS) -> None:
        """Compare the workers that have come since the last look, unless ``check`` is off.

        A worker of another Python joins, then breaks on the first message: calls would wait for ever.

        Raises
        ------
        VersionMismatchError
        """
        if self.choice.check not in ("error", "warn"):
            return
        names = await worker_names(self.scheduler, seconds)
        new = {address: name for address, name in names.items() if address not in self._fitting}
        columns = await worker_columns(self.scheduler, new, seconds)
        self._tell("A worker", columns, f"`htcdask images --fits` lists images that do fit. {WARN}")
        self._fitting = frozenset(names)

    async def warn_of_workers(self, seconds: float = SECONDS) -> bool:
        """Compare the workers that there are, and only warn; whether any has told its versions."""
        names = await worker_names(self.scheduler, seconds)
        if names and self._fitting.issuperset(names):
            return True
        columns = await worker_columns(self.scheduler, names, seconds)
        if not any(column.versions for column in columns):
            return False
        table = comparison(self.choice, *columns)
        if not table.agrees and not self._warned.issuperset(table.differing):
            self._warned |= frozenset(table.differing)
            tell(f"A worker of cluster {self.cluster}", VersionTable(table.columns, (WAITS,)), "warn")
        return True

    def _tell(self, what: str, columns: tuple[Column, ...], remedy: str) -> None:
        table = comparison(self.choice, *columns)
        differing = frozenset(table.differing)
        if differing <= (self._warned if self.choice.check == "warn" else frozenset()):
            return
        self._warned |= differing
        tell(f"{what} of cluster {self.cluster}", VersionTable(table.columns, (remedy,)), self.choice.check)
