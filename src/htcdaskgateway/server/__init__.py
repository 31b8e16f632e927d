"""The gateway's side: a backend for the stock dask-gateway-server."""

from htcdaskgateway.server.backend import HTCondorBackend
from htcdaskgateway.server.traits import HTCondorClusterConfig

__all__ = ["HTCondorBackend", "HTCondorClusterConfig"]
