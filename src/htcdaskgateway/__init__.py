"""Dask clusters from a notebook, with HTCondor workers, through dask-gateway."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.records import WorkerRecord, WorkerState

if TYPE_CHECKING:
    from htcdaskgateway.client import HTCGateway, HTCGatewayCluster
    from htcdaskgateway.versions import VersionMismatchError, VersionMismatchWarning

__all__ = [
    "HTCDaskError",
    "HTCGateway",
    "HTCGatewayCluster",
    "VersionMismatchError",
    "VersionMismatchWarning",
    "WorkerRecord",
    "WorkerState",
]

# The gateway and the command line import this package too, and need no client for it.
_LATER = {
    "HTCGateway": "htcdaskgateway.client",
    "HTCGatewayCluster": "htcdaskgateway.client",
    "VersionMismatchError": "htcdaskgateway.versions",
    "VersionMismatchWarning": "htcdaskgateway.versions",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
