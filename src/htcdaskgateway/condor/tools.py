"""The schedd through HTCondor's command-line tools, which some sites wrap."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from htcdaskgateway.condor import ads, fetching, renewing, words
from htcdaskgateway.condor.errors import NotRenewedError, OutputError
from htcdaskgateway.condor.names import check_names
from htcdaskgateway.condor.programs import Output
from htcdaskgateway.condor.quoting import classad_text, expand
from htcdaskgateway.condor.schedd import Action, EndedJob, ObservedJob, SubmitDescription
from htcdaskgateway.condor.tools_calls import ToolsCalls, talks_only
from htcdaskgateway.errors import (
    ActionRefusedError,
    ConfigurationError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)

_ACTIONS = {Action.REMOVE: "condor_rm", Action.HOLD: "condor_hold", Action.RELEASE: "condor_release"}
_SUBMITTED = re.compile(r"(\d+) job\(s\) submitted to cluster (\d+)")
_ACTED = re.compile(r"^Job \d+\.\d+ (already )?(marked for removal|held|released)", re.MULTILINE)
_DENIED = re.compile(r"^Permission denied to .*$", re.MULTILINE)
_NONE_FOUND = re.compile(r"^Job \d+\.\d+ (not found|not .* to be)", re.MULTILINE)
_IDS = 1000  # in one constraint: one argument of a program has at most 128 KiB
_SEARCHES = 5  # through all queues of the pool, after which jobs have left it
_CLUSTERS = 100  # whose jobs are looked for at a time
_SCHEDDS = 50  # that are asked for jobs which a wrapper has submitted somewhere


class ToolsSchedd:
    """A schedd, asked by means of ``condor_submit``, ``condor_q`` and the like.

    Parameters
    ----------
    name : str
        Name of the schedd; empty: the one of this host, or the one that a wrapper chooses for the first
        jobs and that is then kept.
    pool : str
        Address of the collector that knows it; empty: as HTCondor's configuration says.
    programs : mapping of str to str, optional
        Paths of single programs: ``{"condor_submit": "/usr/local/bin/condor_submit"}``.
    directory : str, optional
        Where the other programs are; empty: looked up in ``PATH``.
    timeout : float
        Seconds that a program may take.
    environment : mapping of str to str, optional
        Added to the programs' environment.
    token : str
        A token file, or a directory of token files, of one user: jobs are this user's, whatever else this
        account has. Empty: whatever HTCondor's configuration says.

    Raises
    ------
    ConfigurationError
        A name, a program or a token that cannot be used.
    """

    def __init__(
        self,
        name: str = "",
        *,
        pool: str = "",
        programs: Mapping[str, str] | None = None,
        directory: str = "",
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
        token: str = "",
    ) -> None:
        check_names(name, pool)
        self._calls = ToolsCalls(name, pool, programs, directory, timeout, environment, token)
        self._where = self._calls.at(name)
        self._tries = fetching.Tries()
        self._searches = 0
        self._sought = ""  # jobs that a wrapper has submitted we do not know yet where

    @property
    def name(self) -> str:
        return self._calls.name

    async def submit(self, description: SubmitDescription) -> list[str]:
        await self._find_schedd()
        if not self.name and "condor_submit" in self._calls.wrapped:  # the jobs may be anywhere
            self._sought, self._searches = _like(description), 0
        try:
            ids = await self._submit(description)
        except (SubmitRefusedError, ScheddUnavailableError, ConfigurationError):
            self._sought = ""
            raise
        if not self.name:
            self._sought, self._searches = _jobs_of(ids[0].partition(".")[0], description), 0
            # The jobs are submitted; if they are not found now, the next call finds them, or fails.
            with contextlib.suppress(ScheddUnavailableError, ScheddSilentError):
                await self._find_schedd()
        return ids

    async def _submit(self, description: SubmitDescription) -> list[str]:
        number = len(description.worker_names)
        what = f"the submit of {number} jobs"
        # 0600, and gone afterwards; the sandbox keeps one for people to read
        with tempfile.NamedTemporaryFile("w", prefix="htcdask-", suffix=".sub", encoding="utf-8") as file:
            file.write(str(description))
            file.flush()
            spool = ["-spool"] if description.spool else []
            output = await self._run(what, "condor_submit", *spool, file.name)
        submitted = set(_SUBMITTED.findall(output.stdout))
        if output.code:
            await self._failed_submit(what, output.words, submitted, description)
        if len(submitted) != 1 or int(next(iter(submitted))[0]) != number:
            raise ScheddSilentError(self.name, what, self._calls.timeout, output.words)
        cluster = submitted.pop()[1]
        return [f"{cluster}.{index}" for index in range(number)]

    async def query(self, gateway: str, cluster: str = "") -> list[ObservedJob]:
        await self._find_schedd()
        constraint = ads.of_gateway(gateway, cluster)
        found = await self._queue("a query", constraint, (*ads.QUEUE_ATTRIBUTES, "GlobalJobId"))
        if found and not self.name and (cluster or not self._calls.identity):  # else maybe another user's
            self._keep_to(found[0])
        return [ads.observed(ad) for ad in found]

    async def act(self, action: Action, job_ids: Sequence[str]) -> int:
        ids = ads.checked_ids(job_ids)
        if not ids:
            return 0
        await self._find_schedd()
        output = await self._run(f"the order to {action.value} {len(ids)} jobs", _ACTIONS[action], *ids)
        said = output.words
        if denied := _DENIED.findall(said):
            raise ActionRefusedError(self.name, action.value, "\n".join(denied[:5]))
        if output.code and not (_ACTED.search(said) or _NONE_FOUND.search(said)):
            self._calls.fail_if_unreachable(said, "the order")
            raise ActionRefusedError(self.name, action.value, said)
        return len(_ACTED.findall(said))

    async def ended(self, job_ids: Sequence[str]) -> list[EndedJob]:
        ids = ads.checked_ids(job_ids)
        await self._find_schedd()
        found: list[dict[str, Any]] = []
        for start in range(0, len(ids), _IDS):
            some = ids[start : start + _IDS]
            search = ["-json", "-attributes", ",".join(ads.HISTORY_ATTRIBUTES), "-match", str(len(some))]
            search += ["-constraint", ads.of_ids(some), "-since", ads.stop_reading_at(some)]
            what = "a search in the history"
            found += self._calls.ads(what, await self._run(what, "condor_history", *search))
        return [ads.ended(ad) for ad in found]

    async def fetch(self, job_ids: Sequence[str], sandbox: str) -> list[str]:
        ids = ads.checked_ids(job_ids)
        return await fetching.fetch(self, self._tries, ids, sandbox, self._calls.timeout, time.monotonic)

    async def renew_x509(self, cluster: str, path: str, until: float) -> int:
        return await renewing.renew(self, cluster, path, until, self._calls.timeout, time.monotonic)

    async def settle(self, gateway: str, lost: Sequence[str]) -> None:
        """As `Settles`: a wrapper may have submitted them for a process that has ended since."""
        if lost and not self.name and not self._sought and "condor_submit" in self._calls.wrapped:
            clusters = (f"({ads.of_gateway(gateway, cluster)})" for cluster in lost[:_CLUSTERS])
            self._sought, self._searches = " || ".join(clusters), 0
        await self._find_schedd()

    async def close(self) -> None:
        """Nothing is kept between calls but the way to the token."""
        self._calls.close()

    async def _run(self, what: str, program: str, *arguments: str, only_in: str = "") -> Output:
        return await self._calls.run(what, program, *self._where, *arguments, only_in=only_in)

    async def _queue(
        self, what: str, constraint: str, attributes: Sequence[str], where: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
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

    async def _failed_submit(
        self, what: str, said: str, submitted: set[tuple[str, str]], description: SubmitDescription
    ) -> None:
        self._calls.fail_if_stranger(said)
        if description.spool and len(submitted) == 1 and words.NOT_SPOOLED in said:
            # The jobs exist by now, and without their input none may stay.
            jobs = _jobs_of(submitted.pop()[1], description)
            output = await self._run(what, "condor_rm", "-constraint", jobs)
            if not output.code:
                raise SubmitRefusedError(self.name, said)
        outcome = words.of_tool_submit(said)
        if outcome is words.Outcome.REFUSED:
            raise SubmitRefusedError(self.name, said)
        if outcome is words.Outcome.UNAVAILABLE:
            raise ScheddUnavailableError(self.name, said)
        raise ScheddSilentError(self.name, what, self._calls.timeout, said)

    async def _find_schedd(self) -> None:
        """Ask once by what name the schedd is known that has our jobs, where we were not told.

        A wrapper chooses another one each time, and numbers of jobs are the same in all of them: from
        then on it is named to every program.
        """
        if not self._sought:
            return
        found: list[dict[str, Any]] = []
        wrapped = "condor_submit" in self._calls.wrapped
        try:
            found = await self._queue("a query", self._sought, ("GlobalJobId",))
        except ScheddUnavailableError:
            if not wrapped:  # which may be there because this host has no schedd
                raise
        if not found and wrapped:
            found = await self._search(self._sought)
            self._searches += 1
            if not found and self._searches < _SEARCHES:
                raise ScheddUnavailableError("", f"No schedd shows the jobs with {self._sought}")
        if found:
            self._keep_to(found[0])
        self._sought = ""

    def _keep_to(self, ad: Mapping[str, Any]) -> None:
        """Let all calls from now on go to the schedd of this job."""
        self._calls.name = _schedd_of(ad)
        if self._calls.wrapped & {"condor_submit", "condor_q"}:
            self._where = self._calls.at(self.name)

    async def _search(self, constraint: str) -> list[dict[str, Any]]:
        """Ask the schedds of the pool one after another."""
        what = "the list of schedds"
        listed = await self._calls.run(what, "condor_status", *self._calls.at(""), "-schedd", "-af", "Name")
        for name in listed.stdout.split()[:_SCHEDDS]:
            found = await self._queue("a query", constraint, ("GlobalJobId",), self._calls.at(name))
            if found:
                return found
        return []

    # What fetching needs.

    async def outputs(self, job_ids: Sequence[str]) -> list[dict[str, Any]]:
        await self._find_schedd()
        found: list[dict[str, Any]] = []
        for start in range(0, len(job_ids), _IDS):
            some = ads.of_ids(job_ids[start : start + _IDS])
            found += await self._queue("a query", some, ads.OUTPUT_ATTRIBUTES)
        return found

    async def redirect(self, job_ids: Sequence[str], sandbox: str) -> None:
        changes = [word for change in ads.output_directory(sandbox).items() for word in change]
        what = "an order to change jobs"
        output = await self._run(what, "condor_qedit", "-constraint", ads.of_ids(job_ids), *changes)
        if output.code:
            self._calls.fail_if_unreachable(output.words, what)
            raise OutputError(self.name, job_ids, output.words)

    async def transfer(self, job_ids: Sequence[str], sandbox: str) -> None:
        what = f"the transfer of {len(job_ids)} jobs' output"
        only_in = sandbox if self._calls.identity else ""
        output = await self._run(what, "condor_transfer_data", *job_ids, only_in=only_in)
        if output.code:
            self._calls.fail_if_unreachable(output.words, what)
            raise OutputError(self.name, job_ids, output.words)

    # What renewing needs.

    async def select(self, constraint: str) -> list[dict[str, Any]]:
        await self._find_schedd()
        return await self._queue("a query", constraint, renewing.ATTRIBUTES)

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
        what = "an order to change jobs"
        for start in range(0, len(job_ids), _IDS):
            some = ads.of_ids(job_ids[start : start + _IDS])
            output = await self._run(what, "condor_qedit", "-constraint", some, attribute, value)
            if output.code:
                self._calls.fail_if_unreachable(output.words, what)
                raise NotRenewedError(self.name, job_ids, output.words)


def _jobs_of(cluster: str, description: SubmitDescription) -> str:
    """Write the constraint that selects the jobs of one submit, whichever schedd has them."""
    return " && ".join(filter(None, (f"ClusterId == {cluster}", _like(description))))


def _like(description: SubmitDescription) -> str:
    """Write the constraint that selects all jobs of the same cluster; empty if they do not say theirs."""
    gateway, cluster = (
        classad_text(expand(description.commands.get(f"+HTCDask{name}", '""'), ""))
        for name in ("Gateway", "Cluster")
    )
    return ads.of_gateway(gateway, cluster) if gateway else ""


def _schedd_of(ad: Mapping[str, Any]) -> str:
    return str(ad.get("GlobalJobId") or "").partition("#")[0]
