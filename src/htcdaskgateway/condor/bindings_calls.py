"""Calls of htcondor2 in a child process: one at a time, each with a deadline, errors as ours."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from htcdaskgateway.condor import words
from htcdaskgateway.condor.child import Child, ChildEndedError
from htcdaskgateway.condor.errors import IdentityRefusedError, OutputError
from htcdaskgateway.condor.fetching import confined
from htcdaskgateway.condor.identity import TokenIdentity
from htcdaskgateway.errors import (
    ActionRefusedError,
    ConfigurationError,
    HTCDaskError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)

# A directory with a __main__.py: Python then looks for modules in it, not in this package nor in the
# working directory, and what `htcdaskgateway` imports is not imported there.
_PROGRAM = Path(__file__).with_name("bindings_child")


class BindingsCalls:
    """The child process, and what it may take.

    Parameters
    ----------
    name, pool : str
        Of the schedd and its collector.
    timeout : float
        Seconds that a call may take, waiting for earlier ones included.
    environment : mapping of str to str, optional
    token : str
        Token file or directory that is to be the only identity.

    Raises
    ------
    ConfigurationError
        htcondor2 is not installed, or the token cannot be used.
    """

    def __init__(
        self, name: str, pool: str, timeout: float, environment: Mapping[str, str] | None, token: str
    ) -> None:
        package = importlib.util.find_spec("htcondor2")
        if package is None or package.origin is None:
            raise _not_installed("There is no module htcondor2.")
        self.name, self.timeout = name, timeout
        self.identity = TokenIdentity(token) if token else None
        self._lock = asyncio.Lock()
        self._command = [sys.executable, str(_PROGRAM), json.dumps({"name": name, "pool": pool})]
        self._environment = {
            "PYTHONPATH": str(Path(package.origin).absolute().parents[1]),
            **(environment or {}),
            **(self.identity.environment if self.identity else {}),
        }
        self._child = Child(self._command, self._environment)

    @property
    def pid(self) -> int | None:
        return self._child.pid

    async def call(self, what: str, call: str, *, only_in: str = "", **arguments: Any) -> dict[str, Any]:
        """Ask the child; the wait for earlier calls is part of the deadline.

        Parameters
        ----------
        what : str
            For errors: "a query".
        only_in : str
            A child of its own makes this call, which may write in this directory only.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            await asyncio.wait_for(self._lock.acquire(), self.timeout)
        except asyncio.TimeoutError:
            text = f"Earlier calls have kept it busy for {self.timeout:g} s"
            raise ScheddUnavailableError(self.name, text) from None
        child = Child(confined(only_in, self._command), self._environment) if only_in else self._child
        try:
            left = max(0.0, self.timeout - (clock() - started))
            answer = await child.ask({"call": call, "seconds": left, **arguments}, left)
        except asyncio.TimeoutError:
            raise ScheddSilentError(self.name, what, self.timeout) from None
        except ChildEndedError as error:
            if call == "retrieve":
                raise OutputError(self.name, arguments["ids"], str(error)) from error
            raise ScheddSilentError(self.name, what, round(clock() - started, 1), str(error)) from error
        finally:
            if child is not self._child:
                await child.close()
            self._lock.release()
        self.name = answer.get("name") or self.name
        if "failed" in answer:
            raise self._error(what, call, arguments, answer, round(clock() - started, 1))
        return answer

    async def close(self) -> None:
        await self._child.close()
        if self.identity:
            self.identity.close()

    def _error(
        self, what: str, call: str, asked: Mapping[str, Any], answer: Mapping[str, Any], seconds: float
    ) -> HTCDaskError:
        said, step = str(answer["failed"]).strip(), answer["step"]
        if step == "import":
            return _not_installed(said)
        if words.is_stranger(said):
            return IdentityRefusedError(self.name, said, str(self.identity or ""))
        if step in ("spool", "left"):  # the jobs that there were are removed, or are still there
            outcome = words.Outcome.REFUSED if step == "spool" else words.Outcome.SILENT
        elif call == "submit" and step == "call":
            outcome, said = words.of_bindings_submit(said)
        else:
            outcome = words.of_connection(said) or words.Outcome.UNAVAILABLE
        if outcome is words.Outcome.SILENT:
            return ScheddSilentError(self.name, what, seconds, said)
        if outcome is words.Outcome.REFUSED and call == "submit":
            return SubmitRefusedError(self.name, said)
        if call == "act" and (outcome is words.Outcome.REFUSED or step == "call"):
            return ActionRefusedError(self.name, asked["action"], said)
        if call in ("edit", "retrieve") and step == "call" and words.of_connection(said) is None:
            return OutputError(self.name, asked["ids"], said)
        return ScheddUnavailableError(self.name, said)


def _not_installed(why: str) -> ConfigurationError:
    return ConfigurationError(
        "HTCondor's Python package cannot be used.",
        {"Python says": why},
        "Install it: pip install 'htcdaskgateway[condor]'. Or use the command-line tools.",
    )
