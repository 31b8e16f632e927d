"""Files of jobs that are in the queue, through the tools: output comes back, X.509 proxies are renewed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from htcdaskgateway.condor import ads, renewing
from htcdaskgateway.condor.errors import NotRenewedError, OutputError
from htcdaskgateway.condor.tools_calls import ToolsCalls
from htcdaskgateway.condor.tools_place import ToolsPlace

IDS = 1000  # in one constraint: one argument of a program has at most 128 KiB
_CHANGE = "an order to change jobs"


class ToolsFiles:
    """The part of a schedd that `fetching` and `renewing` need, but for `Schedd.act`.

    Parameters
    ----------
    calls : ToolsCalls
    place : ToolsPlace
        Where the jobs are.
    """

    def __init__(self, calls: ToolsCalls, place: ToolsPlace) -> None:
        self._calls, self._place = calls, place

    @property
    def name(self) -> str:
        return self._place.name

    async def outputs(self, job_ids: Sequence[str]) -> list[dict[str, Any]]:
        await self._place.find()
        found: list[dict[str, Any]] = []
        for start in range(0, len(job_ids), IDS):
            some = ads.of_ids(job_ids[start : start + IDS])
            found += await self._place.queue("a query", some, ads.OUTPUT_ATTRIBUTES)
        return found

    async def redirect(self, job_ids: Sequence[str], sandbox: str) -> None:
        changes = [word for change in ads.output_directory(sandbox).items() for word in change]
        output = await self._place.run(_CHANGE, "condor_qedit", "-constraint", ads.of_ids(job_ids), *changes)
        if output.code:
            self._calls.fail_if_unreachable(output.words, _CHANGE)
            raise OutputError(self.name, job_ids, output.words)

    async def transfer(self, job_ids: Sequence[str], sandbox: str) -> None:
        what = f"the transfer of {len(job_ids)} jobs' output"
        only_in = sandbox if self._calls.identity else ""
        output = await self._place.run(what, "condor_transfer_data", *job_ids, only_in=only_in)
        if output.code:
            self._calls.fail_if_unreachable(output.words, what)
            raise OutputError(self.name, job_ids, output.words)

    async def select(self, constraint: str) -> list[dict[str, Any]]:
        await self._place.find()
        return await self._place.queue("a query", constraint, renewing.ATTRIBUTES)

    async def hand_over(self, job_ids: Sequence[str], path: str) -> Mapping[str, str]:
        """Not to be had: only HTCondor's Python package can do it, none of its programs."""
        raise NotRenewedError(
            self.name,
            job_ids,
            "HTCondor has no program that gives a spooled job a renewed X.509 proxy.",
            "Start workers anew: scale(0), then scale(n). A session with the setting"
            " htcdaskgateway.condor.interface = bindings can give it.",
        )

    async def change(self, job_ids: Sequence[str], attribute: str, value: str) -> None:
        for start in range(0, len(job_ids), IDS):
            some = ads.of_ids(job_ids[start : start + IDS])
            output = await self._place.run(_CHANGE, "condor_qedit", "-constraint", some, attribute, value)
            if output.code:
                self._calls.fail_if_unreachable(output.words, _CHANGE)
                raise NotRenewedError(self.name, job_ids, output.words)
