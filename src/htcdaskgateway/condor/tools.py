"""The schedd through HTCondor's command-line tools, which some sites wrap."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from htcdaskgateway.condor import ads, words
from htcdaskgateway.condor.names import check_names
from htcdaskgateway.condor.programs import Output, run
from htcdaskgateway.condor.schedd import Action, EndedJob, ObservedJob, SubmitDescription
from htcdaskgateway.errors import (
    ActionRefusedError,
    CondorError,
    ConfigurationError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)

PROGRAMS = ("condor_submit", "condor_q", "condor_rm", "condor_hold", "condor_release", "condor_history")
_ACTIONS = {Action.REMOVE: "condor_rm", Action.HOLD: "condor_hold", Action.RELEASE: "condor_release"}
_SUBMITTED = re.compile(r"(\d+) job\(s\) submitted to cluster (\d+)")
_ACTED = re.compile(r"^Job \d+\.\d+ (already )?(marked for removal|held|released)", re.MULTILINE)
_DENIED = re.compile(r"^Permission denied to .*$", re.MULTILINE)
_NONE_FOUND = re.compile(r"^Job \d+\.\d+ (not found|not .* to be)", re.MULTILINE)
_IDS = 1000  # of a search in the history: one argument of a program has at most 128 KiB


class ToolsSchedd:
    """A schedd, asked by means of ``condor_submit``, ``condor_q`` and the like.

    Parameters
    ----------
    name : str
        Name of the schedd; empty: the one of this host, or the one that a wrapper chooses.
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

    Raises
    ------
    ConfigurationError
        A name that cannot be used.
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
    ) -> None:
        check_names(name, pool)
        unknown = set(programs or {}) - set(PROGRAMS)
        if unknown:
            raise ConfigurationError(
                f"No program {sorted(unknown)[0]!r} is used, only: {', '.join(PROGRAMS)}."
            )
        in_directory = {
            program: str(Path(directory, program)) if directory else program for program in PROGRAMS
        }
        self._programs = {**in_directory, **(programs or {})}
        self._where = [*(["-name", name] if name else []), *(["-pool", pool] if pool else [])]
        self._name, self._timeout, self._environment = name, timeout, dict(environment or {})

    @property
    def name(self) -> str:
        return self._name

    async def submit(self, description: SubmitDescription) -> list[str]:
        number = len(description.worker_names)
        what = f"the submit of {number} jobs"
        # 0600, and gone afterwards; the sandbox keeps one for people to read
        with tempfile.NamedTemporaryFile("w", prefix="htcdask-", suffix=".sub", encoding="utf-8") as file:
            file.write(str(description))
            file.flush()
            output = await self._run(what, "condor_submit", file.name)
        if output.code:
            outcome = words.of_tool_submit(output.words)
            if outcome is words.Outcome.REFUSED:
                raise SubmitRefusedError(self.name, output.words)
            if outcome is words.Outcome.UNAVAILABLE:
                raise ScheddUnavailableError(self.name, output.words)
            raise ScheddSilentError(self.name, what, self._timeout, output.words)
        submitted = _SUBMITTED.findall(output.stdout)
        if len(submitted) != 1 or int(submitted[0][0]) != number:
            raise ScheddSilentError(self.name, what, self._timeout, output.words)
        cluster = submitted[0][1]
        await self._learn_name(cluster)
        return [f"{cluster}.{index}" for index in range(number)]

    async def query(self, gateway: str) -> list[ObservedJob]:
        attributes = (*ads.QUEUE_ATTRIBUTES, "GlobalJobId")
        found = await self._queue("a query", ads.of_gateway(gateway), attributes)
        return [ads.observed(ad) for ad in found]

    async def act(self, action: Action, job_ids: Sequence[str]) -> int:
        ids = ads.checked_ids(job_ids)
        if not ids:
            return 0
        output = await self._run(f"the order to {action.value} {len(ids)} jobs", _ACTIONS[action], *ids)
        said = output.words
        if denied := _DENIED.findall(said):
            raise ActionRefusedError(self.name, action.value, "\n".join(denied[:5]))
        if output.code and not (_ACTED.search(said) or _NONE_FOUND.search(said)):
            self._fail_if_unreachable(said, "the order")
            raise ActionRefusedError(self.name, action.value, said)
        return len(_ACTED.findall(said))

    async def ended(self, job_ids: Sequence[str]) -> list[EndedJob]:
        ids = ads.checked_ids(job_ids)
        found: list[dict[str, Any]] = []
        for start in range(0, len(ids), _IDS):
            some = ids[start : start + _IDS]
            search = ["-json", "-attributes", ",".join(ads.HISTORY_ATTRIBUTES), "-match", str(len(some))]
            search += ["-constraint", ads.of_ids(some), "-since", ads.stop_reading_at(some)]
            what = "a search in the history"
            found += self._ads(what, await self._run(what, "condor_history", *search))
        return [ads.ended(ad) for ad in found]

    async def close(self) -> None:
        """Nothing is kept between calls."""

    async def _run(self, what: str, program: str, *arguments: str) -> Output:
        command = [self._programs[program], *self._where, *arguments]
        try:
            return await run(command, self._timeout, self._environment)
        except asyncio.TimeoutError:
            raise ScheddSilentError(self.name, what, self._timeout) from None

    async def _queue(self, what: str, constraint: str, attributes: Sequence[str]) -> list[dict[str, Any]]:
        selection = ["-allusers", "-json", "-attributes", ",".join(attributes), "-constraint", constraint]
        found = self._ads(what, await self._run(what, "condor_q", *selection))
        if found and not self._name:
            self._name = str(found[0].get("GlobalJobId") or "").partition("#")[0]
        return found

    def _ads(self, what: str, output: Output) -> list[dict[str, Any]]:
        if output.code:
            self._fail_if_unreachable(output.words, what)
            raise ScheddUnavailableError(self.name, output.words)
        if not output.stdout.strip():
            return []
        try:
            return list(json.loads(output.stdout))
        except ValueError as error:
            raise ScheddSilentError(self.name, what, self._timeout, output.words) from error

    def _fail_if_unreachable(self, said: str, what: str) -> None:
        outcome = words.of_connection(said)
        if outcome is words.Outcome.SILENT:
            raise ScheddSilentError(self.name, what, self._timeout, said)
        if outcome is words.Outcome.UNAVAILABLE:
            raise ScheddUnavailableError(self.name, said)

    async def _learn_name(self, cluster: str) -> None:
        """Ask once by what name the schedd is known that has our jobs, where we were not told."""
        if self._name:
            return
        try:
            await self._queue("a query", f"ClusterId == {cluster}", ("GlobalJobId",))
        except CondorError:
            return  # the jobs are submitted; the next query tells
