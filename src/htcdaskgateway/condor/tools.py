"""The schedd through HTCondor's command-line tools, which some sites wrap."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from htcdaskgateway.condor import ads, fetching, renewing, words
from htcdaskgateway.condor.names import check_names
from htcdaskgateway.condor.schedd import Action, EndedJob, ObservedJob, SubmitDescription
from htcdaskgateway.condor.tools_calls import ToolsCalls
from htcdaskgateway.condor.tools_files import IDS, ToolsFiles
from htcdaskgateway.condor.tools_place import ToolsPlace, jobs_like, jobs_of
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


class ToolsSchedd(ToolsFiles):
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
        calls = ToolsCalls(name, pool, programs, directory, timeout, environment, token)
        super().__init__(calls, ToolsPlace(calls))
        self._tries = fetching.Tries()

    async def submit(self, description: SubmitDescription) -> list[str]:
        await self._place.find()
        if self._place.wrapper_chooses:  # the jobs may be anywhere
            self._place.seek(jobs_like(description))
        try:
            ids = await self._submit(description)
        except (SubmitRefusedError, ScheddUnavailableError, ConfigurationError):
            self._place.seek("")
            raise
        if not self.name:
            self._place.seek(jobs_of(ids[0].partition(".")[0], description))
            # The jobs are submitted; if they are not found now, the next call finds them, or fails.
            with contextlib.suppress(ScheddUnavailableError, ScheddSilentError):
                await self._place.find()
        return ids

    async def _submit(self, description: SubmitDescription) -> list[str]:
        number = len(description.worker_names)
        what = f"the submit of {number} jobs"
        # 0600, and gone afterwards; the sandbox keeps one for people to read
        with tempfile.NamedTemporaryFile("w", prefix="htcdask-", suffix=".sub", encoding="utf-8") as file:
            file.write(str(description))
            file.flush()
            spool = ["-spool"] if description.spool else []
            output = await self._place.run(what, "condor_submit", *spool, file.name)
        submitted = set(_SUBMITTED.findall(output.stdout))
        if output.code:
            await self._failed_submit(what, output.words, submitted, description)
        if len(submitted) != 1 or int(next(iter(submitted))[0]) != number:
            raise ScheddSilentError(self.name, what, self._calls.timeout, output.words)
        cluster = submitted.pop()[1]
        return [f"{cluster}.{index}" for index in range(number)]

    async def query(self, gateway: str, cluster: str = "") -> list[ObservedJob]:
        await self._place.find()
        constraint = ads.of_gateway(gateway, cluster)
        found = await self._place.queue("a query", constraint, (*ads.QUEUE_ATTRIBUTES, "GlobalJobId"))
        if found and not self.name and (cluster or not self._calls.identity):  # else maybe another user's
            self._place.keep_to(found[0])
        return [ads.observed(ad) for ad in found]

    async def act(self, action: Action, job_ids: Sequence[str]) -> int:
        ids = ads.checked_ids(job_ids)
        if not ids:
            return 0
        await self._place.find()
        output = await self._place.run(f"the order to {action.value} {len(ids)} jobs", _ACTIONS[action], *ids)
        said = output.words
        if denied := _DENIED.findall(said):
            raise ActionRefusedError(self.name, action.value, "\n".join(denied[:5]))
        if output.code and not (_ACTED.search(said) or _NONE_FOUND.search(said)):
            self._calls.fail_if_unreachable(said, "the order")
            raise ActionRefusedError(self.name, action.value, said)
        return len(_ACTED.findall(said))

    async def ended(self, job_ids: Sequence[str]) -> list[EndedJob]:
        ids = ads.checked_ids(job_ids)
        await self._place.find()
        found: list[dict[str, Any]] = []
        for start in range(0, len(ids), IDS):
            some = ids[start : start + IDS]
            search = ["-json", "-attributes", ",".join(ads.HISTORY_ATTRIBUTES), "-match", str(len(some))]
            search += ["-constraint", ads.of_ids(some), "-since", ads.stop_reading_at(some)]
            what = "a search in the history"
            found += self._calls.ads(what, await self._place.run(what, "condor_history", *search))
        return [ads.ended(ad) for ad in found]

    async def fetch(self, job_ids: Sequence[str], sandbox: str) -> list[str]:
        ids = ads.checked_ids(job_ids)
        return await fetching.fetch(self, self._tries, ids, sandbox, self._calls.timeout, time.monotonic)

    async def renew_x509(self, cluster: str, path: str, until: float) -> int:
        return await renewing.renew(self, cluster, path, until, self._calls.timeout, time.monotonic)

    async def settle(self, gateway: str, lost: Sequence[str]) -> None:
        """As `Settles`: a wrapper may have submitted them for a process that has ended since."""
        self._place.seek_lost(gateway, lost)
        await self._place.find()

    async def close(self) -> None:
        """Nothing is kept between calls but the way to the token."""
        self._calls.close()

    async def _failed_submit(
        self, what: str, said: str, submitted: set[tuple[str, str]], description: SubmitDescription
    ) -> None:
        self._calls.fail_if_stranger(said)
        if description.spool and len(submitted) == 1 and words.NOT_SPOOLED in said:
            # The jobs exist by now, and without their input none may stay.
            jobs = jobs_of(submitted.pop()[1], description)
            output = await self._place.run(what, "condor_rm", "-constraint", jobs)
            if not output.code:
                raise SubmitRefusedError(self.name, said)
        outcome = words.of_tool_submit(said)
        if outcome is words.Outcome.REFUSED:
            raise SubmitRefusedError(self.name, said)
        if outcome is words.Outcome.UNAVAILABLE:
            raise ScheddUnavailableError(self.name, said)
        raise ScheddSilentError(self.name, what, self._calls.timeout, said)
