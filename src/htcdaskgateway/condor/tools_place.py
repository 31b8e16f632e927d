"""Which schedd the tools talk to: the one that we were told, or the one that a site's wrapper chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from htcdaskgateway.condor import ads
from htcdaskgateway.condor.programs import Output
from htcdaskgateway.condor.quoting import classad_text, expand
from htcdaskgateway.condor.schedd import SubmitDescription
from htcdaskgateway.condor.tools_calls import ToolsCalls, talks_only
from htcdaskgateway.errors import ScheddUnavailableError

_SEARCHES = 5  # through all queues of the pool, after which jobs have left it
_CLUSTERS = 100  # whose jobs are looked for at a time
_SCHEDDS = 50  # that are asked for jobs which a wrapper has submitted somewhere


class ToolsPlace:
    """Runs programs at one schedd, whose name it finds out by our jobs where we were not told.

    A wrapper chooses another one each time, and numbers of jobs are the same in all of them: once it is
    found, it is named to every program.

    Parameters
    ----------
    calls : ToolsCalls
        Its ``name`` is the schedd's from then on.
    """

    def __init__(self, calls: ToolsCalls) -> None:
        self._calls = calls
        self._where = calls.at(calls.name)
        self._searches = 0
        self._sought = ""  # jobs that a wrapper has submitted we do not know yet where

    @property
    def name(self) -> str:
        return self._calls.name

    @property
    def wrapper_chooses(self) -> bool:
        """Whether a wrapper chooses the schedd, and we do not know yet which one."""
        return not self.name and "condor_submit" in self._calls.wrapped

    def seek(self, constraint: str) -> None:
        """Let `find` look for these jobs; for none, if the constraint is empty."""
        self._sought, self._searches = constraint, 0

    def seek_lost(self, gateway: str, clusters: Sequence[str]) -> None:
        """Let `find` look for jobs of these clusters, unless it looks for some already."""
        if clusters and self.wrapper_chooses and not self._sought:
            self.seek(" || ".join(f"({ads.of_gateway(gateway, name)})" for name in clusters[:_CLUSTERS]))

    async def find(self) -> None:
        """Find out which schedd has the jobs that are sought, if any are.

        Raises
        ------
        ScheddUnavailableError
            No schedd shows them; some searches later they have left the queue.
        ScheddSilentError
        """
        if not self._sought:
            return
        found: list[dict[str, Any]] = []
        wrapped = "condor_submit" in self._calls.wrapped
        try:
            found = await self.queue("a query", self._sought, ("GlobalJobId",))
        except ScheddUnavailableError:
            if not wrapped:  # which may be there because this host has no schedd
                raise
        if not found and wrapped:
            found = await self._search(self._sought)
            self._searches += 1
            if not found and self._searches < _SEARCHES:
                raise ScheddUnavailableError("", f"No schedd shows the jobs with {self._sought}")
        if found:
            self.keep_to(found[0])
        self._sought = ""

    def keep_to(self, ad: Mapping[str, Any]) -> None:
        """Let all calls from now on go to the schedd of this job."""
        self._calls.name = str(ad.get("GlobalJobId") or "").partition("#")[0]
        if self._calls.wrapped & {"condor_submit", "condor_q"}:
            self._where = self._calls.at(self.name)

    async def run(self, what: str, program: str, *arguments: str, only_in: str = "") -> Output:
        """Run a program there, as `ToolsCalls.run`."""
        return await self._calls.run(what, program, *self._where, *arguments, only_in=only_in)

    async def queue(
        self, what: str, constraint: str, attributes: Sequence[str], where: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """Ads of the jobs that meet the constraint; ``where``: at another schedd."""
        selection = ["-allusers", "-json", "-attributes", ",".join(attributes), "-constraint", constraint]
        place = self._where if where is None else where
        output = await self._calls.run(what, "condor_q", *place, *selection)
        if talks_only(output):
            # condor_q prints nothing at all where there are no jobs: is it that, and a wrapper's talk?
            count = ["-allusers", "-json", "-totals", "-constraint", constraint]
            totals = self._calls.ads(what, await self._calls.run(what, "condor_q", *place, *count))
            if totals and all(ad.get("MyType") == "Summary" and ad.get("Jobs") == 0 for ad in totals):
                return []
        return self._calls.ads(what, output)

    async def _search(self, constraint: str) -> list[dict[str, Any]]:
        """Ask the schedds of the pool one after another."""
        what = "the list of schedds"
        listed = await self._calls.run(what, "condor_status", *self._calls.at(""), "-schedd", "-af", "Name")
        for name in listed.stdout.split()[:_SCHEDDS]:
            found = await self.queue("a query", constraint, ("GlobalJobId",), self._calls.at(name))
            if found:
                return found
        return []


def jobs_of(cluster: str, description: SubmitDescription) -> str:
    """Write the constraint that selects the jobs of one submit, whichever schedd has them."""
    return " && ".join(filter(None, (f"ClusterId == {cluster}", jobs_like(description))))


def jobs_like(description: SubmitDescription) -> str:
    """Write the constraint that selects all jobs of the same cluster; empty if they do not say theirs."""
    gateway, cluster = (
        classad_text(expand(description.commands.get(f"+HTCDask{name}", '""'), ""))
        for name in ("Gateway", "Cluster")
    )
    return ads.of_gateway(gateway, cluster) if gateway else ""
