"""How a session tells the gateway who it is, looked at before dask-gateway makes it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

import dask.config
from dask_gateway.auth import GatewayAuth, JupyterHubAuth, KerberosAuth, get_auth
from dask_gateway.utils import format_template

from htcdaskgateway.errors import InvalidRequestError, shown

WAYS = (
    "gateway.auth.type of Dask's configuration, or auth= of HTCGateway, is basic, jupyterhub or kerberos, or"
    " names a class as package.module.Class."
)
WITHOUT_HUB = (
    "A server of the Hub has the token; elsewhere make one on the Hub's page Token, and in the shell that"
    " starts Python:\nexport JUPYTERHUB_API_TOKEN=…"
)
WITHOUT_KERBEROS = "pip install 'dask-gateway[kerberos]'"
# What a class somewhere, or a name that is none, may raise.
WRONG = (ImportError, TypeError, AttributeError, ValueError, LookupError, OSError)


def way_to_authenticate(auth: object) -> GatewayAuth:
    """Make what dask-gateway authenticates with.

    Parameters
    ----------
    auth : str, GatewayAuth, callable or None
        The argument; None: ``gateway.auth`` of Dask's configuration counts.

    Raises
    ------
    InvalidRequestError
        There is no such way, it lacks something, or its keywords are not its own.
    """
    if isinstance(auth, GatewayAuth):
        return _checked(auth, {})
    kind = dask.config.get("gateway.auth.type", None) if auth is None else auth
    keywords = dask.config.get("gateway.auth.kwargs", None) or {}
    facts = {"gateway.auth.type" if auth is None else "auth": shown(str(kind))}
    if not isinstance(keywords, Mapping):
        raise _refused("gateway.auth.kwargs is no mapping", facts, WAYS)
    if keywords:
        facts["gateway.auth.kwargs"] = ", ".join(map(str, keywords))  # names alone: values are secrets
    for name, value in keywords.items():
        _see_filled(str(name), value, facts)
    try:
        made: GatewayAuth = get_auth(auth)
    except WRONG as error:
        without_token = kind in ("jupyterhub", JupyterHubAuth) and isinstance(error, ValueError)
        other = "Take out of gateway.auth.kwargs what this type does not know. " if keywords else ""
        raise _refused(
            str(error) or type(error).__name__, facts, WITHOUT_HUB if without_token else other + WAYS
        ) from error
    return _checked(made, facts)


def _checked(made: GatewayAuth, facts: Mapping[str, str]) -> GatewayAuth:
    """See that what is imported at the first request is there."""
    if isinstance(made, KerberosAuth) and find_spec("kerberos") is None:
        raise _refused("Kerberos needs the Python module kerberos", facts, WITHOUT_KERBEROS)
    return made


def _see_filled(name: str, value: object, facts: Mapping[str, str]) -> None:
    try:
        format_template(value)
        return
    except (LookupError, ValueError, AttributeError):
        pass  # its words may be a part of a password
    raise _refused(
        f"gateway.auth.kwargs.{name} cannot be filled in",
        facts,
        "{NAME} in it is a variable of the environment, which has to be set; write {{ for a brace.",
    )


def _refused(why: str, facts: Mapping[str, str], remedy: str) -> InvalidRequestError:
    return InvalidRequestError(f"There can be no client of this gateway: {why}.", facts, remedy)
