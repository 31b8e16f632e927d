"""Settings of the client: Dask's configuration, namespace ``htcdaskgateway``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import dask.config
import yaml

from htcdaskgateway.errors import ConfigurationError

NAMESPACE = "htcdaskgateway"


@cache
def _put_in_defaults() -> None:
    # On first use, for importing the package reads no file.
    text = (files("htcdaskgateway") / "htcdaskgateway.yaml").read_text(encoding="utf-8")
    dask.config.update_defaults(yaml.safe_load(text))


def setting(name: str, default: str = "") -> str:
    """Give a setting of the client.

    Parameters
    ----------
    name : str
        Key below ``htcdaskgateway``, such as ``image-root``.
    default : str, optional
        For what is not set, or null: what the gateway says.

    Raises
    ------
    ConfigurationError
        The value is not text.
    """
    _put_in_defaults()
    value = dask.config.get(f"{NAMESPACE}.{name}", None)
    if value is None:
        return default
    if value is False and name == "check-versions":
        return "off"  # which YAML takes for a truth value
    if not isinstance(value, str):
        raise ConfigurationError(
            f"{NAMESPACE}.{name} in Dask's configuration must be text, not {value!r}.",
            remedy="Put it in quotation marks.",
        )
    return value
