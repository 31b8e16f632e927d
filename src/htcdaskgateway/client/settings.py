"""Settings of the session that are no text: numbers, mappings. See `htcdaskgateway.config`."""

from __future__ import annotations

from collections.abc import Mapping

import dask.config

from htcdaskgateway.config import NAMESPACE
from htcdaskgateway.errors import ConfigurationError


def number(name: str, default: float, least: float) -> float:
    """Give a setting that is a number.

    Raises
    ------
    ConfigurationError
        It is none, or below ``least``.
    """
    value = _value(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise _unusable(name, f"a number, at least {least:g}", value)
    return float(value)


def texts(name: str) -> dict[str, str]:
    """Give a setting that names texts; empty if it is not set.

    Raises
    ------
    ConfigurationError
        It is no mapping from text to text.
    """
    value = _value(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(
        isinstance(part, str) for pair in value.items() for part in pair
    ):
        raise _unusable(name, "a mapping from text to text", value)
    return dict(value)


def names_of(name: str) -> list[str]:
    """Give a setting that is a name, or several: a list, or a text with blanks between them.

    Raises
    ------
    ConfigurationError
        It is neither.
    """
    value = _value(name)
    if value is None:
        return []
    names = value.split() if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(one, str) and one for one in names):
        raise _unusable(name, "a text or a list of texts", value)
    return list(names)


def _value(name: str) -> object:
    value: object = dask.config.get(f"{NAMESPACE}.{name}", None)
    return value


def _unusable(name: str, wanted: str, value: object) -> ConfigurationError:
    return ConfigurationError(f"{NAMESPACE}.{name} in Dask's configuration must be {wanted}, not {value!r}.")
