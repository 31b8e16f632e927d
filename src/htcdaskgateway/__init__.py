"""Dask clusters from a notebook, with HTCondor workers, through dask-gateway."""

from htcdaskgateway.client import HTCGateway, HTCGatewayCluster
from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.records import WorkerRecord, WorkerState

__all__ = ["HTCDaskError", "HTCGateway", "HTCGatewayCluster", "WorkerRecord", "WorkerState"]
