"""The schedd through HTCondor's Python package, which works in a child process.

A call of htcondor2 blocks, and it holds Python's global lock while it does: measured with a stopped
schedd, 20 s for a query and more than 400 s for a submit, in which no other thread of the process runs.
In a child process a call that is overdue can also be ended, which no thread can.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from htcdaskgateway.condor import ads, words
from htcdaskgateway.condor.child import Child, ChildEndedError
from htcdaskgateway.condor.names import check_names
from htcdaskgateway.condor.schedd import Action, EndedJob, ObservedJob, SubmitDescription
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
        Added to the environment: ``CONDOR_CONFIG``, ``_CONDOR_SEC_TOKEN_DIRECTORY`` …

    Raises
    ------
    ConfigurationError
        htcondor2 is not installed, or the names cannot be used.
    """

    def __init__(
        self,
        name: str = "",
        *,
        pool: str = "",
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        check_names(name, pool)
        package = importlib.util.find_spec("htcondor2")
        if package is None or package.origin is None:
            raise _not_installed("There is no module htcondor2.")
        self._name, self._timeout = name, timeout
        self._lock = asyncio.Lock()
        self._child = Child(
            [sys.executable, str(_PROGRAM), json.dumps({"name": name, "pool": pool})],
            {"PYTHONPATH": str(Path(package.origin).absolute().parents[1]), **(environment or {})},
        )

    @property
    def name(self) -> str:
        return self._name

    async def submit(self, description: SubmitDescription) -> list[str]:
        number = len(description.worker_names)
        what = f"the submit of {number} jobs"
        answer = await self._call(
            what, "submit", commands=description.commands, worker_names=description.worker_names
        )
        cluster, first, submitted = answer["submitted"]
        if submitted != number:
            text = f"{submitted} jobs of {number} were submitted, to cluster {cluster}"
            raise ScheddSilentError(self.name, what, self._timeout, text)
        return [f"{cluster}.{first + index}" for index in range(number)]

    async def query(self, gateway: str) -> list[ObservedJob]:
        answer = await self._call(
            "a query", "query", constraint=ads.of_gateway(gateway), attributes=ads.QUEUE_ATTRIBUTES
        )
        return [ads.observed(ad) for ad in answer["ads"]]

    async def act(self, action: Action, job_ids: Sequence[str]) -> int:
        ids = ads.checked_ids(job_ids)
        if not ids:
            return 0
        what = f"the order to {action.value} {len(ids)} jobs"
        totals = (await self._call(what, "act", action=action.value, ids=ids))["totals"]
        if denied := totals["TotalPermissionDenied"]:
            text = f"Permission denied to {action.value} {denied} of {len(ids)} jobs"
            raise ActionRefusedError(self.name, action.value, text)
        return int(totals["TotalSuccess"] + totals["TotalAlreadyDone"])

    async def ended(self, job_ids: Sequence[str]) -> list[EndedJob]:
        ids = ads.checked_ids(job_ids)
        if not ids:
            return []
        answer = await self._call(
            "a search in the history",
            "history",
            constraint=ads.of_ids(ids),
            attributes=ads.HISTORY_ATTRIBUTES,
            match=len(ids),
            since=ads.stop_reading_at(ids),
        )
        return [ads.ended(ad) for ad in answer["ads"]]

    async def close(self) -> None:
        """End the child process."""
        await self._child.close()

    async def _call(self, what: str, call: str, **arguments: Any) -> dict[str, Any]:
        """Ask the child; errors come as ours. One call at a time: the wait is part of the deadline."""
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            await asyncio.wait_for(self._lock.acquire(), self._timeout)
        except asyncio.TimeoutError:
            text = f"Earlier calls have kept it busy for {self._timeout:g} s"
            raise ScheddUnavailableError(self.name, text) from None
        try:
            left = max(0.0, self._timeout - (clock() - started))
            answer = await self._child.ask({"call": call, "seconds": left, **arguments}, left)
        except asyncio.TimeoutError:
            raise ScheddSilentError(self.name, what, self._timeout) from None
        except ChildEndedError as error:
            raise ScheddSilentError(self.name, what, round(clock() - started, 1), str(error)) from error
        finally:
            self._lock.release()
        self._name = answer.get("name") or self._name
        if "failed" in answer:
            seconds = round(clock() - started, 1)
            raise self._error(what, call, arguments.get("action", ""), answer, seconds)
        return answer

    def _error(
        self, what: str, call: str, action: str, answer: Mapping[str, Any], seconds: float
    ) -> HTCDaskError:
        said, step = str(answer["failed"]).strip(), answer["step"]
        if step == "import":
            return _not_installed(said)
        if step == "denied":
            outcome = words.Outcome.REFUSED
        elif call == "submit" and step == "call":
            outcome, said = words.of_bindings_submit(said)
        else:
            outcome = words.of_connection(said) or words.Outcome.UNAVAILABLE
        if outcome is words.Outcome.SILENT:
            return ScheddSilentError(self.name, what, seconds, said)
        if outcome is words.Outcome.REFUSED and call == "submit":
            return SubmitRefusedError(self.name, said)
        if call == "act" and (outcome is words.Outcome.REFUSED or step == "call"):
            return ActionRefusedError(self.name, action, said)
        return ScheddUnavailableError(self.name, said)


def _not_installed(why: str) -> ConfigurationError:
    return ConfigurationError(
        "HTCondor's Python package cannot be used.",
        {"Python says": why},
        "Install it: pip install 'htcdaskgateway[condor]'. Or use the command-line tools.",
    )
