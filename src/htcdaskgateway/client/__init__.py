"""The user's side: what a notebook imports."""

from htcdaskgateway.client.cluster import HTCGatewayCluster
from htcdaskgateway.client.gateway import HTCGateway

__all__ = ["HTCGateway", "HTCGatewayCluster"]
