"""Reads a scheduler's heartbeat. The scheduler runs its user's code: nothing in it is trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from htcdaskgateway.server.verdicts import Link

SCHEMES = {"scheduler_address": "tls", "dashboard_address": "http", "api_address": "http"}


@dataclass(frozen=True)
class Heartbeat:
    """What a scheduler says, as dask-gateway's ``scheduler_preload`` sends it.

    Attributes
    ----------
    count : int
        How many workers it wants; everything above it is retired.
    active, closing, closed : frozenset of str
        Names of workers: connected, about to be retired, seen once and gone.
    addresses : dict
        ``scheduler_address``, ``dashboard_address`` and ``api_address``.
    """

    count: int
    active: frozenset[str]
    closing: frozenset[str]
    closed: frozenset[str]
    addresses: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(
        cls, message: Mapping[str, Any], known: Mapping[str, str], maximum: int | None
    ) -> Heartbeat:
        """Read one; names that are not this cluster's workers are left out.

        Parameters
        ----------
        message : mapping
        known : mapping of str to str
            Names of the cluster's workers by their names in Dask.
        maximum : int or None
            The site's limit of ``count``.

        Raises
        ------
        ValueError, KeyError, TypeError
            It is not a heartbeat.
        """
        count = message["count"]
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(f"count is {count!r}")
        addresses = ("scheduler_address", "dashboard_address", "api_address")
        if not all(isinstance(message[key], str) and len(message[key]) < 255 for key in addresses):
            raise ValueError("an address is no short string")
        return cls(
            count=count if maximum is None else min(count, maximum),
            active=_known(message["active_workers"], known),
            closing=_known(message["closing_workers"], known),
            closed=_known(message["closed_workers"], known),
            addresses={key: message[key] for key in addresses},
        )

    def at(self, addresses: Mapping[str, str]) -> Heartbeat:
        """Give the same with addresses that the gateway knows better; one without a dashboard has none."""
        known = {key: address if self.addresses[key] else "" for key, address in addresses.items()}
        return replace(self, addresses=known)

    def check_addresses(self, host: str) -> None:
        """Raise ValueError if the gateway would be led elsewhere than to a scheduler of its launcher.

        Parameters
        ----------
        host : str
            Where the launcher lets schedulers listen; ``0.0.0.0`` or a name leaves open which address
            that is.
        """
        for key, scheme in SCHEMES.items():
            url = urlsplit(self.addresses[key])
            there = url.hostname == host or not _is_one_address(host)
            if not (url.scheme == scheme and url.port and there):
                if key == "dashboard_address" and not self.addresses[key]:
                    continue  # a scheduler without bokeh has none
                raise ValueError(f"{key} is {self.addresses[key]!r}, not {scheme}://{host}:PORT")

    def link(self, name: str, before: Link) -> Link:
        """What it says of one worker, given what was known before."""
        if name in self.closing:
            return Link.RETIRING
        if name in self.active:
            return Link.CONNECTED
        if name in self.closed or before is not Link.NEVER:
            return Link.LOST
        return Link.NEVER


def _known(names: Iterable[object], known: Mapping[str, str]) -> frozenset[str]:
    return frozenset(known[str(name)] for name in names if str(name) in known)


def _is_one_address(host: str) -> bool:
    try:
        return not ip_address(host).is_unspecified
    except ValueError:
        return False
