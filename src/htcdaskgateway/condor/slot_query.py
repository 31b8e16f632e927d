"""The slots of a pool, asked of its collector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.autoformat import ads_of
from htcdaskgateway.condor.bindings_calls import BindingsCalls
from htcdaskgateway.condor.errors import CollectorUnavailableError, IdentityRefusedError
from htcdaskgateway.condor.need import Need
from htcdaskgateway.condor.slots import NOT_DYNAMIC, SLOT_ATTRIBUTES, Slot, SlotMatch, judge
from htcdaskgateway.condor.tools_calls import ToolsCalls
from htcdaskgateway.errors import ScheddSilentError, ScheddUnavailableError

_WHAT = "the list of slots"
Ads = list[dict[str, Any]]


class _Slots(Protocol):
    async def ads(self, constraint: str, attributes: Sequence[str]) -> Ads: ...

    async def close(self) -> None: ...


class _Bindings:
    def __init__(self, access: Access) -> None:
        self._calls = BindingsCalls("", access.pool, access.timeout, access.environment, access.token)

    async def ads(self, constraint: str, attributes: Sequence[str]) -> Ads:
        answer = await self._calls.call(_WHAT, "slots", constraint=constraint, attributes=list(attributes))
        found: Ads = answer["ads"]
        return found

    async def close(self) -> None:
        await self._calls.close()


class _Tools:
    def __init__(self, access: Access) -> None:
        self._calls = ToolsCalls(
            "", access.pool, access.programs, "", access.timeout, access.environment, access.token
        )

    async def ads(self, constraint: str, attributes: Sequence[str]) -> Ads:
        asked = [*self._calls.at(""), "-constraint", constraint, "-af:tV", *attributes]
        output = await self._calls.run(_WHAT, "condor_status", *asked)
        if output.code:
            self._calls.fail_if_stranger(output.words)
            raise ScheddUnavailableError("", output.words)
        return ads_of(output.stdout, attributes)

    async def close(self) -> None:
        self._calls.close()


async def ask_slots(access: Access, need: Need) -> SlotMatch:
    """Ask how many slots match.

    Raises
    ------
    CollectorUnavailableError, IdentityRefusedError, ConfigurationError
    """
    slots: _Slots = _Tools(access) if access.interface == "tools" else _Bindings(access)
    try:
        found = [Slot.of_ad(ad) for ad in await slots.ads(NOT_DYNAMIC, SLOT_ATTRIBUTES)]
        suitable = {slot.name for slot in found} if not need.requirements else None
        if need.requirements and (constraint := need.constraint):
            try:
                fitting = await slots.ads(f"{NOT_DYNAMIC} && ({constraint})", ["Name"])
            except ScheddUnavailableError:  # the list came: it is the expression
                suitable = None
            else:
                suitable = {str(ad.get("Name", "")) for ad in fitting}
    except IdentityRefusedError:
        raise
    except (ScheddUnavailableError, ScheddSilentError) as error:
        raise SlotsUnknownError(access.pool, error.words or error.sentence) from error
    finally:
        await slots.close()
    return judge(need, found, suitable)


class SlotsUnknownError(CollectorUnavailableError):
    """The collector could not be asked for the slots of the pool."""

    def __init__(self, pool: str, words: str) -> None:
        super().__init__(pool, words)
        self.sentence = f"The collector {pool or '(default)'} cannot be asked for its slots."
        self.remedy = f"condor_status {f'-pool {pool} ' if pool else ''}shows what it says."
