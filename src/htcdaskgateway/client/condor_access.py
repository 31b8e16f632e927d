"""Which HTCondor this session talks to, and how: settings ``htcdaskgateway.condor``."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from random import random

from htcdaskgateway.client.settings import names_of, number, texts
from htcdaskgateway.condor.access import INTERFACES, Access
from htcdaskgateway.condor.names import check_names
from htcdaskgateway.condor.schedd import Schedd
from htcdaskgateway.config import NAMESPACE, setting
from htcdaskgateway.errors import ConfigurationError

ANY = "any"  # of the pool's schedds


def configured_access() -> Access:
    """The way to the schedds that take this user's jobs, as Dask's configuration has it.

    ``interface``
        As of `Access`. ``auto``: the tools if there is a ``condor_submit``, which is what the site wants
        its users to use and may have wrapped; else the bindings.
    ``schedd``
        Its name; empty: this host's, or the one that a wrapper chooses. ``any``, or several names, a
        list or with blanks between them: one of the pool's, or of these, the less it has to do the more
        likely.
    ``pool``, ``tools``, ``timeout``
        Address of the collector, paths of single programs, seconds.

    Raises
    ------
    ConfigurationError
    """
    interface = setting("condor.interface", "auto").lower()
    if interface not in ("auto", *INTERFACES):
        raise ConfigurationError(
            f"{NAMESPACE}.condor.interface in Dask's configuration must be one of"
            f" auto, {', '.join(INTERFACES)}, not {interface!r}."
        )
    programs = texts("condor.tools")
    names = names_of("condor.schedd")
    choose = len(names) > 1 or names == [ANY]
    access = Access(
        interface=_found(programs) if interface == "auto" else interface,
        schedd_name="" if choose else "".join(names),
        schedd_names=tuple(names) if choose and names != [ANY] else (),
        schedd_constraint="true" if names == [ANY] else "",
        pool=setting("condor.pool"),
        programs=programs,
        timeout=number("condor.timeout", 30, 1),
    )
    check_names(access.schedd_name, access.pool, alone=access.chooses)
    if access.interface == "bindings" and not importlib.util.find_spec("htcondor2"):
        raise ConfigurationError(
            f"{NAMESPACE}.condor.interface is bindings, and there is no Python package htcondor2.",
            remedy="Install it: pip install 'htcdaskgateway[condor]'",
        )
    return access


def _found(programs: Mapping[str, str]) -> str:
    if shutil.which(programs.get("condor_submit", "condor_submit")):
        return "tools"
    if importlib.util.find_spec("htcondor2"):
        return "bindings"
    raise ConfigurationError(
        "This session has no HTCondor: neither condor_submit in PATH nor the Python package htcondor2.",
        {f"{NAMESPACE}.condor.interface": "auto"},
        f"Set {NAMESPACE}.condor.tools to the path of condor_submit and the other programs,"
        " or pip install 'htcdaskgateway[condor]'.",
    )


class Schedds:
    """The schedds that this session talks to, each one once."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._made: dict[str, Schedd] = {}

    async def of(self, name: str) -> Schedd:
        """Give the schedd of that name; with an empty one, the one that the configuration chooses now.

        Raises
        ------
        ConfigurationError, ScheddUnavailableError
        """
        if not name and self._access.chooses and self._access.interface != "processes":
            name = await self._access.choose_schedd(random)
        known = next((schedd for schedd in self._made.values() if name and schedd.name == name), None)
        if known is not None:
            return known
        if name not in self._made:
            self._made[name] = self._access.schedd(name)
        return self._made[name]

    @property
    def made(self) -> list[Schedd]:
        """Those that it has talked to."""
        return list(self._made.values())

    async def close(self) -> None:
        made, self._made = self._made, {}
        for schedd in made.values():
            await schedd.close()
