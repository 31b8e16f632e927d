"""Which HTCondor the gateway talks to, and how: traits of the site's configuration."""

from __future__ import annotations

from traitlets import CaselessStrEnum, Dict, Float, Integer, Unicode
from traitlets.config import LoggingConfigurable

from htcdaskgateway.condor.schedd import Schedd


class HTCondorAccess(LoggingConfigurable):
    """The access point and the way to it."""

    interface = CaselessStrEnum(
        ["bindings", "tools", "processes"],
        "bindings",
        help="""``bindings``: HTCondor's Python package, in a child process. ``tools``: ``condor_submit`` and
        the other programs, for sites that wrap them. ``processes``: no HTCondor at all, workers are
        processes on this host; for demonstrations.""",
        config=True,
    )
    schedd_name = Unicode("", help="Name of the schedd; empty: this host's.", config=True)
    pool = Unicode("", help="Address of the collector; empty: from HTCondor's configuration.", config=True)
    tools = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""Paths of single programs, such as ``{"condor_submit": "/usr/local/bin/condor_submit"}``.
        What is not named here is looked up in ``PATH``.""",
        config=True,
    )
    timeout = Float(30, min=1, help="Seconds that HTCondor may take to answer.", config=True)
    slots = Integer(0, min=0, help="Jobs that ``processes`` runs at a time; 0: one per CPU.", config=True)

    def connect(self) -> Schedd:
        """Make the implementation that the site chose; each imports only what it needs itself."""
        if self.interface == "processes":
            from htcdaskgateway.condor.processes import ProcessSchedd

            return ProcessSchedd(slots=self.slots or None)
        if self.interface == "tools":
            from htcdaskgateway.condor.tools import ToolsSchedd

            return ToolsSchedd(
                self.schedd_name, pool=self.pool, programs=dict(self.tools), timeout=self.timeout
            )
        from htcdaskgateway.condor.bindings import BindingsSchedd

        return BindingsSchedd(self.schedd_name, pool=self.pool, timeout=self.timeout)
