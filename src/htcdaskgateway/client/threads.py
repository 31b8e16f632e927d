"""See `htcdaskgateway.threads`."""

from htcdaskgateway.threads import in_thread

__all__ = ["in_thread"]
