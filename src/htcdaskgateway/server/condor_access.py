"""Which HTCondor the gateway talks to, and how: traits of the site's configuration."""

from __future__ import annotations

import stat
import subprocess
from contextlib import suppress
from pathlib import Path

from traitlets import Bool, CaselessStrEnum, Dict, Float, Integer, List, Unicode
from traitlets.config import LoggingConfigurable

from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.fetching import confined
from htcdaskgateway.condor.names import check_names
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
    schedd_names = List(
        Unicode(),
        help="""Names of schedds, one of which each cluster gets when it starts: the less a schedd has to do
        the more likely, and no overloaded one. Instead of ``schedd_name``.""",
        config=True,
    )
    schedd_constraint = Unicode(
        "",
        help="""Likewise, of the schedds in whose ads this ClassAd expression is true; ``true``: any of the
        pool.""",
        config=True,
    )
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
        schedd that does not see the file systems of whoever submits, the gateway or the users' sessions.
        Logs then come back when a worker has ended.""",
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
        0700. Jobs are then submitted under it, and belong to the user who asked, who cannot read the
        gateway's files: it needs ``spool``. Empty: under the identity that the gateway's own account has.
        """,
        config=True,
    )

    @property
    def chooses(self) -> bool:
        """Whether each cluster gets a schedd of its own choice."""
        return bool(self.schedd_names or self.schedd_constraint)

    def check(self) -> None:
        """Refuse what cannot work, before anybody asks for workers.

        Raises
        ------
        ConfigurationError
        """
        if self.chooses and self.schedd_name:
            raise ConfigurationError(
                f"c.HTCondorAccess.schedd_name is {self.schedd_name!r}, and there are others to choose from.",
                {"schedd_names": ", ".join(self.schedd_names), "schedd_constraint": self.schedd_constraint},
                "Set either schedd_name, or schedd_names and schedd_constraint.",
            )
        for name in self.schedd_names or [self.schedd_name]:
            check_names(name, self.pool, alone=self.chooses)
        if self.interface == "processes" and (self.chooses or self.token_directory):
            setting = "token_directory" if self.token_directory else "a choice of schedds"
            raise ConfigurationError(
                f"c.HTCondorAccess.interface is 'processes', which has no use for {setting}."
            )
        if self.token_directory:
            self._check_tokens()

    def _check_tokens(self) -> None:
        if not self.spool:
            raise ConfigurationError(
                f"c.HTCondorAccess.token_directory is {self.token_directory!r}, but spool is not set:"
                " users' jobs cannot read the gateway's files.",
                remedy="c.HTCondorAccess.spool = True",
            )
        try:
            mode = Path(self.token_directory).stat().st_mode
        except OSError as error:
            raise ConfigurationError(
                f"c.HTCondorAccess.token_directory = {self.token_directory!r} cannot be used:"
                f" {error.strerror}."
            ) from error
        if not stat.S_ISDIR(mode) or mode & 0o077:
            raise ConfigurationError(
                f"c.HTCondorAccess.token_directory = {self.token_directory!r} is no directory,"
                " or is open to others.",
                {"mode": f"{mode & 0o7777:04o}"},
                f"chmod go= {self.token_directory}",
            )
        # The kernel must hold HTCondor's clients to a sandbox where they write what a user's job tells them.
        tried = subprocess.run(
            confined(self.token_directory, ["true"]), capture_output=True, timeout=30, check=False
        )
        if tried.returncode:
            why = tried.stderr.decode(errors="replace").strip()
            self.log.warning("The logs of users' workers cannot be brought back here. %s", why)

    def access(self, user: str = "") -> Access:
        """The way to HTCondor, for jobs of this user.

        Raises
        ------
        ConfigurationError
            There is no token of this user.
        """
        return Access(
            interface=self.interface,
            schedd_name=self.schedd_name,
            schedd_names=tuple(self.schedd_names),
            schedd_constraint=self.schedd_constraint,
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
        There is none, or the name could lead out of the directory.
    """
    if not user or user.startswith(".") or "/" in user or "\0" in user:
        raise ConfigurationError(f"There can be no token of a user {user!r}.")
    token = directory / user
    with suppress(PermissionError):  # whoever uses it says so
        if not token.exists():
            raise ConfigurationError(
                f"The gateway has no HTCondor token of {user}, under which it could submit jobs.",
                {"looked for": str(token)},
                f"On the schedd's host: condor_token_create -identity {user}@DOMAIN",
            )
    return token
