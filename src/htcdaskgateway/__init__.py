"""Dask clusters from a notebook, with HTCondor workers, through dask-gateway."""

from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.records import WorkerRecord, WorkerState

__all__ = ["HTCDaskError", "WorkerRecord", "WorkerState"]
