"""Which HTCondor the gateway talks to, and how: traits of the site's configuration."""

from __future__ import annotations

from pathlib import Path

from traitlets import Bool, CaselessStrEnum, Dict, Float, Integer, Unicode
from traitlets.config import LoggingConfigurable

from htcdaskgateway.condor.access import Access
from htcdaskgateway.errors import ConfigurationError


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
    spool = Bool(
        False,
        help="""Whether files go to the schedd and back over the network (``condor_submit -spool``): for a
        schedd that does not see the gateway's file systems.""",
        config=True,
    )
    accounting_group_user = Bool(
        False,
        help="""Whether jobs are accounted to the user who asked for them, although the gateway's account
        submits them. The schedd must allow it.""",
        config=True,
    )
    token_directory = Unicode(
        "",
        help="""Directory with an HTCondor token (IDTOKEN) of each user, ``USER`` or ``USER/…``, mode 0600 in
        0700. Jobs are then submitted under it, and belong to the user who asked. Empty: under the
        identity that the gateway's own account has.""",
        config=True,
    )

    def access(self, user: str = "") -> Access:
        """The way to HTCondor, for jobs of this user.

        Raises
        ------
        ConfigurationError
        """
        return Access(
            interface=self.interface,
            schedd_name=self.schedd_name,
            pool=self.pool,
            programs=dict(self.tools),
            timeout=self.timeout,
            slots=self.slots,
            token=str(token_of(Path(self.token_directory), user)) if self.token_directory else "",
        )


def token_of(directory: Path, user: str) -> Path:
    """Where a user's token is.

    Raises
    ------
    ConfigurationError
        The name could lead out of the directory.
    """
    if not user or user.startswith(".") or "/" in user or "\0" in user:
        raise ConfigurationError(f"There can be no token of a user {user!r}.")
    return directory / user
