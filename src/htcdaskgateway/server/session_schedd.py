"""The schedd of a cluster's owner, asked through a session of theirs: the `Schedd` protocol over orders."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from htcdaskgateway.condor import wire
from htcdaskgateway.condor.ads import checked_ids
from htcdaskgateway.condor.errors import OutputError
from htcdaskgateway.condor.schedd import Action, EndedJob, ObservedJob, SubmitDescription
from htcdaskgateway.errors import (
    ActionRefusedError,
    CondorError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)
from htcdaskgateway.server.orders import NoSessionError, NotAnsweredError, NotTakenError, Orders

Answer = TypeVar("Answer")


class NoSessionAttachedError(ScheddUnavailableError):
    """Nobody is there who could submit: the workers of the cluster wait. Nothing was done."""

    def __init__(self, cluster: str, user: str) -> None:
        super().__init__("", f"no session of {user} is attached to cluster {cluster}")
        self.args = (cluster, user)
        self.cluster, self.user = cluster, user
        self.sentence = f"No session of {user} is attached to cluster {cluster}, so no jobs can be submitted."
        self.facts = {}
        self.words = ""
        self.remedy = f"HTCGateway().connect({cluster!r}) in a session of {user} attaches one."


class SessionGoneError(ScheddSilentError):
    """The session that was asked has gone, or hangs: what it did is not known."""


class SessionSchedd:
    """A schedd of the cluster's owner.

    Parameters
    ----------
    cluster, user : str
        Whose session it is.
    orders : Orders
    timeout : float
        Seconds that a session may take to carry out an order.
    schedd : str, optional
        Name of the schedd that has the cluster's jobs; empty: the session that is asked first chooses.
    """

    def __init__(self, cluster: str, user: str, orders: Orders, timeout: float, schedd: str = "") -> None:
        self.cluster, self.user = cluster, user
        self.orders, self.timeout = orders, timeout
        self._name = schedd

    @property
    def name(self) -> str:
        """The schedd that all sessions of this cluster use from now on; empty until one has chosen."""
        return self._name

    async def submit(self, description: SubmitDescription) -> list[str]:
        await self.settle("", [])
        number = len(description.worker_names)
        return await self._ask(
            f"the submit of {number} jobs",
            {"op": "submit", "description": wire.description_to_json(description)},
            lambda answer: wire.ids_from_json(answer, number),
        )

    async def query(self, gateway: str, cluster: str = "") -> list[ObservedJob]:
        """The jobs of this cluster: its session answers for no other."""
        jobs = await self._ask(
            "a query", {"op": "query", "gateway": gateway, "cluster": self.cluster}, wire.observed_from_json
        )
        return [job for job in jobs if job.cluster_name == self.cluster and cluster in ("", self.cluster)]

    async def act(self, action: Action, job_ids: Sequence[str]) -> int:
        ids = checked_ids(job_ids)
        if not ids:
            return 0
        what = f"the order to {action.value} {len(ids)} jobs"
        return await self._ask(what, {"op": "act", "action": action.value, "job_ids": ids}, wire.whole_number)

    async def ended(self, job_ids: Sequence[str]) -> list[EndedJob]:
        ids = checked_ids(job_ids)
        if not ids:
            return []
        what = "a search in the history"
        jobs = await self._ask(what, {"op": "ended", "job_ids": ids}, wire.ended_from_json)
        return [job for job in jobs if job.job_id in ids]

    async def fetch(self, job_ids: Sequence[str], sandbox: str = "") -> list[str]:
        """Bring output back: to the session's own sandbox, whatever the gateway's is."""
        ids = checked_ids(job_ids)
        if not ids:
            return []
        what = f"the output of {len(ids)} jobs"
        fetched = await self._ask(what, {"op": "fetch", "job_ids": ids}, wire.ids_from_json)
        return [job_id for job_id in fetched if job_id in ids]

    async def logs(self, worker: str, tail: int | None) -> dict[str, dict[str, str]]:
        """What workers wrote, as far as it has come back to the session's sandbox."""
        order = {"op": "log", "worker": worker, "tail": tail}
        return await self._ask("a request for logs", order, wire.logs_from_json)

    async def close(self) -> None:
        """Nothing is kept here."""

    async def settle(self, gateway: str, lost: Sequence[str]) -> None:
        """Learn which schedd it will be, before there are jobs, or which one has them.

        A session that ends in the middle of a submit tells nobody where they are. One that ends now has
        done nothing, and who takes over is asked instead: whoever wanted the jobs may have ended with it.
        """
        if self._name:
            return
        order = {
            "op": "query",
            "gateway": gateway if lost else "nobody",
            "cluster": self.cluster,
            "seek": bool(lost),
        }
        try:
            try:
                await self._ask("a query", order, wire.observed_from_json)
            except SessionGoneError:
                await self._ask("a query", order, wire.observed_from_json)
        except ScheddSilentError as error:  # nothing was submitted
            raise ScheddUnavailableError(error.schedd, error.sentence) from error

    async def _ask(self, what: str, order: Mapping[str, Any], read: Callable[[object], Answer]) -> Answer:
        told = {**order, "schedd": self._name}
        began = time.monotonic()
        try:
            answer = await self.orders.ask(told, began, self.timeout)
        except NoSessionError:
            raise NoSessionAttachedError(self.cluster, self.user) from None
        except NotTakenError:
            words = f"the session of {self.user} did not fetch the order in {self.timeout:g} s"
            raise ScheddUnavailableError(self.name, words) from None
        except NotAnsweredError:
            words = f"the session of {self.user} that was asked has not answered"
            # less than the timeout where the session is known to be gone
            waited = round(time.monotonic() - began, 1)
            raise SessionGoneError(self.name, what, waited, words) from None
        try:
            schedd = wire.line(answer.get("schedd", ""), 255)
            error = self._error(answer["error"], what, order["op"]) if "error" in answer else None
            if not isinstance(error, ScheddUnavailableError):  # it was asked, or may have been
                self._name = self._name or schedd
            if error is not None:
                raise error
            return read(answer.get("ok"))
        except wire.NotAnAnswerError as error:
            words = f"what the session of {self.user} answered cannot be used: {error}"
            raise ScheddSilentError(self.name, what, self.timeout, words) from error

    @staticmethod
    def _error(data: object, what: str, op: str) -> CondorError:
        """Make the error; one that this order cannot meet is none."""
        error = wire.error_from_json(data, what)
        for kind, where in (
            (SubmitRefusedError, "submit"),
            (ActionRefusedError, "act"),
            (OutputError, "fetch"),
        ):
            if isinstance(error, kind) and op != where:
                raise wire.NotAnAnswerError(f"a {type(error).__name__} to {op}")
        return error
