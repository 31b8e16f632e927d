"""Where htcdaskgateway 0.1.25 had `HTCGatewayCluster`. New code imports it from `htcdaskgateway`."""

from htcdaskgateway.client.cluster import HTCGatewayCluster

__all__ = ["HTCGatewayCluster"]
