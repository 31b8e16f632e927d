"""The schedd through HTCondor's Python package, which works in a child process.

A call of htcondor2 blocks, and it holds Python's global lock while it does: measured with a stopped
schedd, 20 s for a query and more than 400 s for a submit, in which no other thread of the process runs.
In a child process a call that is overdue can also be ended, which no thread can.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from htcdaskgateway.condor import ads, fetching, renewing
from htcdaskgateway.condor.bindings_calls import BindingsCalls
from htcdaskgateway.condor.errors import NotRenewedError, OutputError
from htcdaskgateway.condor.names import check_names
from htcdaskgateway.condor.schedd import Action, EndedJob, ObservedJob, SubmitDescription
from htcdaskgateway.errors import ActionRefusedError, ScheddSilentError


class BindingsSchedd:
    """A schedd, asked by means of htcondor2.

    Parameters
    ----------
    name : str
        Name of the schedd; empty: the one of this host.
    pool : str
        Address of the collector that knows it; empty: as HTCondor's configuration says.
    timeout : float
        Seconds that a call may take, waiting for earlier ones included.
    environment : mapping of str to str, optional
        Added to the environment: ``CONDOR_CONFIG`` …
    token : str
        A token file, or a directory of token files, of one user: jobs are this user's, whatever else this
        account has. Empty: whatever HTCondor's configuration says.

    Raises
    ------
    ConfigurationError
        htcondor2 is not installed, the names or the token cannot be used.
    """

    def __init__(
        self,
        name: str = "",
        *,
        pool: str = "",
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
        token: str = "",
    ) -> None:
        check_names(name, pool)
        self._calls = BindingsCalls(name, pool, timeout, environment, token)
        self._tries = fetching.Tries()

    @property
    def name(self) -> str:
        return self._calls.name

    async def submit(self, description: SubmitDescription) -> list[str]:
        number = len(description.worker_names)
        what = f"the submit of {number} jobs"
        answer = await self._calls.call(
            what,
            "submit",
            commands=description.commands,
            worker_names=description.worker_names,
            spool=description.spool,
        )
        cluster, first, submitted = answer["submitted"]
        if submitted != number:
            text = f"{submitted} jobs of {number} were submitted, to cluster {cluster}"
            raise ScheddSilentError(self.name, what, self._calls.timeout, text)
        return [f"{cluster}.{first + index}" for index in range(number)]

    async def query(self, gateway: str, cluster: str = "") -> list[ObservedJob]:
        found = await self._query(ads.of_gateway(gateway, cluster), ads.QUEUE_ATTRIBUTES)
        return [ads.observed(ad) for ad in found]

    async def act(self, action: Action, job_ids: Sequence[str]) -> int:
        ids = ads.checked_ids(job_ids)
        if not ids:
            return 0
        what = f"the order to {action.value} {len(ids)} jobs"
        totals = (await self._calls.call(what, "act", action=action.value, ids=ids))["totals"]
        if denied := totals["TotalPermissionDenied"]:
            text = f"Permission denied to {action.value} {denied} of {len(ids)} jobs"
            raise ActionRefusedError(self.name, action.value, text)
        return int(totals["TotalSuccess"] + totals["TotalAlreadyDone"])

    async def ended(self, job_ids: Sequence[str]) -> list[EndedJob]:
        ids = ads.checked_ids(job_ids)
        if not ids:
            return []
        answer = await self._calls.call(
            "a search in the history",
            "history",
            constraint=ads.of_ids(ids),
            attributes=ads.HISTORY_ATTRIBUTES,
            match=len(ids),
            since=ads.stop_reading_at(ids),
        )
        return [ads.ended(ad) for ad in answer["ads"]]

    async def fetch(self, job_ids: Sequence[str], sandbox: str) -> list[str]:
        ids = ads.checked_ids(job_ids)
        return await fetching.fetch(self, self._tries, ids, sandbox, self._calls.timeout, time.monotonic)

    async def renew_x509(self, cluster: str, path: str, until: float) -> int:
        return await renewing.renew(self, cluster, path, until, self._calls.timeout, time.monotonic)

    async def close(self) -> None:
        """End the child process."""
        await self._calls.close()

    async def _query(self, constraint: str, attributes: Sequence[str]) -> list[dict[str, Any]]:
        answer = await self._calls.call("a query", "query", constraint=constraint, attributes=attributes)
        return list(answer["ads"])

    # What fetching needs.

    async def outputs(self, job_ids: Sequence[str]) -> list[dict[str, Any]]:
        return await self._query(ads.of_ids(job_ids), ads.OUTPUT_ATTRIBUTES)

    async def redirect(self, job_ids: Sequence[str], sandbox: str) -> None:
        await self._calls.call(
            "an order to change jobs",
            "edit",
            ids=list(job_ids),
            changes=ads.output_directory(sandbox),
        )

    async def transfer(self, job_ids: Sequence[str], sandbox: str) -> None:
        await self._calls.call(
            f"the transfer of {len(job_ids)} jobs' output",
            "retrieve",
            only_in=sandbox if self._calls.identity else "",
            ids=list(job_ids),
        )

    # What renewing needs.

    async def select(self, constraint: str) -> list[dict[str, Any]]:
        return await self._query(constraint, renewing.ATTRIBUTES)

    async def hand_over(self, job_ids: Sequence[str], path: str) -> Mapping[str, str]:
        what = f"the delegation of an X.509 proxy to {len(job_ids)} jobs"
        answer = await self._calls.call(what, "delegate", ids=list(job_ids), path=path)
        refused: dict[str, str] = answer["refused"]
        return refused

    async def change(self, job_ids: Sequence[str], attribute: str, value: str) -> None:
        try:
            await self._calls.call(
                "an order to change jobs", "edit", ids=ads.of_ids(job_ids), changes={attribute: value}
            )
        except OutputError as error:
            raise NotRenewedError(self.name, job_ids, error.words) from None
