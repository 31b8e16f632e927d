"""Where htcdaskgateway 0.1.25 had its copy of dask-gateway's `Options`."""

from dask_gateway.options import Options

__all__ = ["Options"]
