"""Where htcdaskgateway 0.1.25 had `HTCGateway`. New code imports it from `htcdaskgateway`."""

from htcdaskgateway.client.gateway import HTCGateway

__all__ = ["HTCGateway"]
