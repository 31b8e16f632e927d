"""The addresses of a gateway, looked at before dask-gateway takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

import dask.config

from htcdaskgateway.client.errors import NoAddressError
from htcdaskgateway.errors import InvalidRequestError, shown

KEYS = ("address", "public-address", "proxy-address", "http-client.proxy")


def check_addresses(address: object, environment: Mapping[str, str] | None = None) -> None:
    """See that there is an address, and that those of Dask's configuration can be filled in.

    Parameters
    ----------
    address : str or None
        The argument; None: that of Dask's configuration counts.
    environment : mapping, optional
        Whose variables addresses of the configuration may name as ``{NAME}``. Without it, this process's.

    Raises
    ------
    NoAddressError
        Neither the argument nor the configuration has one.
    InvalidRequestError
        It is no address, or names a variable that is not set.
    """
    variables = os.environ if environment is None else environment
    given = {key: dask.config.get(f"gateway.{key}", None) for key in KEYS}
    filled = {key: _filled(key, text, variables) for key, text in given.items() if key != "address"}
    filled["address"] = _filled("address", given["address"], variables) if address is None else address
    if not filled["address"]:
        raise NoAddressError()
    if not isinstance(filled["address"], str):
        raise InvalidRequestError(f"The address of a gateway is text, not {filled['address']!r}.")
    try:
        _ = urlsplit(filled["address"]).port
    except ValueError as error:
        raise InvalidRequestError(f"{shown(filled['address'])} is no address: {error}.") from error


def _filled(key: str, text: object, variables: Mapping[str, str]) -> object:
    """Put values of the environment in, as dask-gateway will."""
    if not isinstance(text, str):
        return text
    try:
        return text.format_map(variables)
    except KeyError as error:
        why = f"names the environment variable {error.args[0]}, which is not set"
    except (ValueError, IndexError, AttributeError) as error:  # braces, or what else str.format() understands
        why = f"is no address: {error}"
    raise InvalidRequestError(
        f"gateway.{key} {why}.",
        {"in Dask's configuration": f"{key}: {shown(text)}"},
        f"Set it to the address itself, or name a variable that is set, as {{NAME}}. `export"
        f" DASK_GATEWAY__{key.upper().replace('-', '_').replace('.', '__')}=…` goes before files.",
    )
