"""Names of daemons in the site's configuration."""

from __future__ import annotations

import re

from htcdaskgateway.errors import ConfigurationError, shown

# hosts, ports, name@host, and addresses in HTCondor's own form <host:port?key=value&…>
_DAEMON = re.compile(r"[A-Za-z0-9<\[][A-Za-z0-9._:@<>\[\]?&=+%,/-]*")


def check_names(schedd: str, pool: str, *, alone: bool = False) -> None:
    """Refuse what could be an option of a program, or a part of an expression.

    Parameters
    ----------
    schedd, pool : str
    alone : bool
        The pool may stand without a schedd.

    Raises
    ------
    ConfigurationError
    """
    for what, text in (("schedd", schedd), ("pool", pool)):
        if text and not _DAEMON.fullmatch(text):
            raise ConfigurationError(f"{shown(text)} is not the name of a {what}.")
    if pool and not (schedd or alone):
        raise ConfigurationError(f"The pool {shown(pool)} is set, and no name of a schedd in it.")
