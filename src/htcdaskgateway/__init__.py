"""Dask clusters from a notebook, with HTCondor workers, through dask-gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.records import WorkerRecord, WorkerState

if TYPE_CHECKING:
    from htcdaskgateway.client import HTCGateway, HTCGatewayCluster

__all__ = ["HTCDaskError", "HTCGateway", "HTCGatewayCluster", "WorkerRecord", "WorkerState"]


def __getattr__(name: str) -> object:
    # The gateway and the command line import this package too, and need no client for it.
    if name in ("HTCGateway", "HTCGatewayCluster"):
        from htcdaskgateway import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
