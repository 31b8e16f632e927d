"""The sessions that submit for clusters: the orders of each, and the schedd behind it."""

from __future__ import annotations

import time

from dask_gateway_server.backends.db_base import Cluster

from htcdaskgateway.server.orders import Orders
from htcdaskgateway.server.session_schedd import SessionSchedd


class Sessions:
    """Orders, made when a cluster first needs some.

    Parameters
    ----------
    lease : float
        Seconds without a word from a session, after which another one takes over.
    timeout : float
        Seconds that a session may take to carry out an order.
    """

    def __init__(self, lease: float, timeout: float) -> None:
        self.lease, self.timeout = lease, timeout
        self._orders: dict[str, Orders] = {}

    def orders(self, cluster: Cluster) -> Orders:
        """What sessions of a cluster's owner are asked."""
        return self._orders.setdefault(cluster.name, Orders(self.lease))

    def about(self, cluster: Cluster) -> dict[str, str] | None:
        """What the session that submits for a cluster says of itself; None: there is none."""
        orders = self._orders.get(cluster.name)
        return dict(orders.about) if orders and orders.attached(time.monotonic()) else None

    def schedd(self, cluster: Cluster, name: str) -> SessionSchedd:
        """The schedd of a cluster's owner; all sessions use the one of this name, if it is given."""
        return SessionSchedd(cluster.name, cluster.username, self.orders(cluster), self.timeout, name)

    def forget(self, cluster_name: str) -> None:
        self._orders.pop(cluster_name, None)

    def dismiss(self) -> None:
        """Answer the sessions that wait for orders, and wait for no answer of theirs: the gateway ends."""
        for orders in self._orders.values():
            orders.close()
