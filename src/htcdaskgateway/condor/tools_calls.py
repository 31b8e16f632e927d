"""HTCondor's programs, or what a site has put in their place: run with a deadline, their output read."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from htcdaskgateway.condor import words
from htcdaskgateway.condor.errors import IdentityRefusedError
from htcdaskgateway.condor.fetching import confined
from htcdaskgateway.condor.identity import TokenIdentity
from htcdaskgateway.condor.programs import Output, run
from htcdaskgateway.errors import ConfigurationError, ScheddSilentError, ScheddUnavailableError

PROGRAMS = (
    "condor_submit", "condor_q", "condor_rm", "condor_hold", "condor_release", "condor_history",
    "condor_transfer_data", "condor_qedit", "condor_status",
)  # fmt: skip
_LIST = re.compile(r"^\[\s*(?=\{|\]|$)", re.MULTILINE)


class ToolsCalls:
    """The programs of one site, and what they may take.

    Parameters
    ----------
    name, pool : str
        Of the schedd and its collector.
    programs : mapping of str to str, optional
        Paths of single programs.
    directory : str
        Where the others are; empty: looked up in ``PATH``.
    timeout : float
        Seconds that a program may take.
    environment : mapping of str to str, optional
    token : str
        Token file or directory that is to be the only identity.

    Raises
    ------
    ConfigurationError
        Of a program that is not used, or a token that cannot be.
    """

    def __init__(
        self,
        name: str,
        pool: str,
        programs: Mapping[str, str] | None,
        directory: str,
        timeout: float,
        environment: Mapping[str, str] | None,
        token: str,
    ) -> None:
        unknown = set(programs or {}) - set(PROGRAMS)
        if unknown:
            raise ConfigurationError(
                f"No program {sorted(unknown)[0]!r} is used, only: {', '.join(PROGRAMS)}."
            )
        in_directory = {
            program: str(Path(directory, program)) if directory else program for program in PROGRAMS
        }
        self._programs = {**in_directory, **(programs or {})}
        self.wrapped = frozenset(programs or {})
        self.name, self.pool, self.timeout = name, pool, timeout
        self.identity = TokenIdentity(token) if token else None
        self._environment = {**(environment or {}), **(self.identity.environment if self.identity else {})}

    def at(self, name: str) -> list[str]:
        """Arguments that name the schedd."""
        return [*(["-name", name] if name else []), *(["-pool", self.pool] if self.pool else [])]

    async def run(self, what: str, program: str, *arguments: str, only_in: str = "") -> Output:
        """Run one.

        Parameters
        ----------
        what : str
            For errors: "a query".
        only_in : str
            It may write in this directory only.
        """
        command = [self._programs[program], *arguments]
        if only_in:
            command = confined(only_in, command)
        try:
            return await run(command, self.timeout, self._environment)
        except asyncio.TimeoutError:
            raise ScheddSilentError(self.name, what, self.timeout) from None

    def ads(self, what: str, output: Output) -> list[dict[str, Any]]:
        """Read ads from the output of a program, between what a wrapper may have to say."""
        if output.code:
            self.fail_if_unreachable(output.words, what)
            raise ScheddUnavailableError(self.name, output.words)
        if not output.stdout.strip():
            return []
        try:
            return _lists(output.stdout)
        except ValueError as error:
            raise ScheddSilentError(self.name, what, self.timeout, output.words) from error

    def fail_if_unreachable(self, said: str, what: str) -> None:
        self.fail_if_stranger(said)
        outcome = words.of_connection(said)
        if outcome is words.Outcome.SILENT:
            raise ScheddSilentError(self.name, what, self.timeout, said)
        if outcome is words.Outcome.UNAVAILABLE:
            raise ScheddUnavailableError(self.name, said)

    def fail_if_stranger(self, said: str) -> None:
        if words.is_stranger(said):
            raise IdentityRefusedError(self.name, said, str(self.identity or ""))

    def close(self) -> None:
        if self.identity:
            self.identity.close()


def talks_only(output: Output) -> bool:
    """Whether a program has succeeded and printed something, but no list."""
    return not output.code and bool(output.stdout.strip()) and not _LIST.search(output.stdout)


def _lists(text: str) -> list[dict[str, Any]]:
    """All lists in it, each of which begins a line; ValueError if there is none, or one is not complete."""
    found: list[dict[str, Any]] = []
    position, any_list = 0, False
    while match := _LIST.search(text, position):
        ads, position = json.JSONDecoder().raw_decode(text, match.start())
        found += ads
        any_list = True
    if not any_list:
        raise ValueError("no list")
    return found
