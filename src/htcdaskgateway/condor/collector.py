"""The collector of a pool: which schedds it has, and what they have to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from htcdaskgateway.condor.autoformat import ads_of
from htcdaskgateway.condor.bindings_calls import BindingsCalls
from htcdaskgateway.condor.choice import SCHEDD_ATTRIBUTES, ScheddLoad, load_of
from htcdaskgateway.condor.errors import CollectorUnavailableError, IdentityRefusedError
from htcdaskgateway.condor.names import check_names
from htcdaskgateway.condor.tools_calls import ToolsCalls
from htcdaskgateway.errors import ScheddSilentError, ScheddUnavailableError

_WHAT = "the list of schedds"


class Collector(Protocol):
    """One collector."""

    async def schedds(self, constraint: str = "") -> list[ScheddLoad]:
        """The schedds of the pool, or those for whose ads a ClassAd expression is true.

        Raises
        ------
        CollectorUnavailableError
        """

    async def close(self) -> None:
        """Give back threads and processes."""


class BindingsCollector:
    """Asked by means of htcondor2; parameters as those of `BindingsSchedd`."""

    def __init__(
        self,
        pool: str = "",
        *,
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
        token: str = "",
    ) -> None:
        check_names("", pool, alone=True)
        self._pool = pool
        self._calls = BindingsCalls("", pool, timeout, environment, token)

    async def schedds(self, constraint: str = "") -> list[ScheddLoad]:
        try:
            answer = await self._calls.call(
                _WHAT, "schedds", constraint=constraint or "true", attributes=SCHEDD_ATTRIBUTES
            )
        except IdentityRefusedError:
            raise
        except (ScheddUnavailableError, ScheddSilentError) as error:
            raise CollectorUnavailableError(self._pool, error.words or error.sentence) from error
        return [load_of(ad) for ad in answer["ads"]]

    async def close(self) -> None:
        await self._calls.close()


class ToolsCollector:
    """Asked by means of ``condor_status``; parameters as those of `ToolsSchedd`."""

    def __init__(
        self,
        pool: str = "",
        *,
        programs: Mapping[str, str] | None = None,
        directory: str = "",
        timeout: float = 30,
        environment: Mapping[str, str] | None = None,
        token: str = "",
    ) -> None:
        check_names("", pool, alone=True)
        self._calls = ToolsCalls("", pool, programs, directory, timeout, environment, token)

    async def schedds(self, constraint: str = "") -> list[ScheddLoad]:
        # Not -json: it shows expressions, in HTCondor's own writing, instead of their values.
        selection = ["-constraint", constraint] if constraint else []
        asked = [*self._calls.at(""), "-schedd", *selection, "-af:tV", *SCHEDD_ATTRIBUTES]
        try:
            output = await self._calls.run(_WHAT, "condor_status", *asked)
        except ScheddSilentError as error:
            raise CollectorUnavailableError(self._calls.pool, error.sentence) from error
        if output.code:
            self._calls.fail_if_stranger(output.words)
            raise CollectorUnavailableError(self._calls.pool, output.words)
        return [load_of(ad) for ad in ads_of(output.stdout, SCHEDD_ATTRIBUTES)]

    async def close(self) -> None:
        self._calls.close()
