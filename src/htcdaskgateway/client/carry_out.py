"""One order of the gateway, carried out: a call of the `Schedd` protocol, and its answer as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from htcdaskgateway.condor import wire
from htcdaskgateway.condor.schedd import Action, Schedd, Settles, SubmitDescription
from htcdaskgateway.errors import HTCDaskError, SandboxError, ScheddSilentError

MOST_LINES = 100_000


class _Sandbox(Protocol):
    @property
    def path(self) -> Path: ...


class Place(Protocol):
    """What is the session's own; see `htcdaskgateway.client.session_place`."""

    @property
    def sandbox(self) -> _Sandbox: ...

    async def schedd(self, name: str) -> Schedd: ...

    async def prepare(self, description: SubmitDescription) -> SubmitDescription: ...

    async def logs(self, worker: str, tail: int | None) -> dict[str, dict[str, str]]: ...


async def carry_out(order: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Do what an order asks for.

    Parameters
    ----------
    order : mapping
        ``id``, ``op``, ``schedd`` and the arguments of the call.
    place : Place

    Returns
    -------
    dict
        ``order`` and ``schedd``, and either ``ok`` or ``error``. Nothing but a cancellation is raised.
    """
    told: dict[str, Any] = {"order": order.get("id"), "schedd": ""}
    op = order.get("op")
    schedd: Schedd | None = None
    try:
        if op == "log":
            return {**told, "ok": await _logs(order, place)}
        if not isinstance(op, str) or op not in _CALLS:
            raise HTCDaskError(f"This session knows no order {str(op)[:40]!r}: it is older than the gateway.")
        schedd = await place.schedd(wire.line(order.get("schedd", ""), 255))
        ok = await _CALLS[op](order, schedd, place)
        return {**told, "schedd": schedd.name, "ok": ok}
    except HTCDaskError as error:
        failed = error
    except (wire.NotAnAnswerError, KeyError) as error:
        failed = HTCDaskError(f"The order to {op} cannot be read: {error}.")
    except Exception as error:  # noqa: BLE001 - the gateway waits for an answer whatever happens here
        words = f"{type(error).__name__}: {error}"
        failed = ScheddSilentError(schedd.name if schedd else "", f"the order to {op}", 0, words)
    told["schedd"] = schedd.name if schedd else ""
    refused = op == "submit" and not isinstance(failed, SandboxError)  # which may be mended: jobs wait
    return {**told, "error": wire.error_to_json(failed, submit=refused)}


async def _submit(order: Mapping[str, Any], schedd: Schedd, place: Place) -> object:
    description = wire.description_from_json(order["description"])
    return await schedd.submit(await place.prepare(description))


async def _query(order: Mapping[str, Any], schedd: Schedd, place: Place) -> object:
    gateway, cluster = wire.line(order["gateway"]), wire.line(order["cluster"])
    if order.get("seek") is True and isinstance(schedd, Settles):
        await schedd.settle(gateway, [cluster])
    return wire.jobs_to_json(await schedd.query(gateway, cluster))


async def _act(order: Mapping[str, Any], schedd: Schedd, place: Place) -> object:
    try:
        action = Action(order["action"])
    except ValueError as error:
        raise wire.NotAnAnswerError(str(error)) from error
    return await schedd.act(action, wire.ids_from_json(order["job_ids"]))


async def _ended(order: Mapping[str, Any], schedd: Schedd, place: Place) -> object:
    return wire.jobs_to_json(await schedd.ended(wire.ids_from_json(order["job_ids"])))


async def _fetch(order: Mapping[str, Any], schedd: Schedd, place: Place) -> object:
    return await schedd.fetch(wire.ids_from_json(order["job_ids"]), str(place.sandbox.path))


async def _logs(order: Mapping[str, Any], place: Place) -> object:
    tail = order.get("tail")
    if tail is not None:
        tail = min(wire.whole_number(tail), MOST_LINES)
    return await place.logs(wire.line(order.get("worker") or ""), tail)


_CALLS = {"submit": _submit, "query": _query, "act": _act, "ended": _ended, "fetch": _fetch}
