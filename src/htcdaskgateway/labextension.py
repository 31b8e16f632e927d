"""For dask-labextension, the Dask panel of JupyterLab: what a site names in its configuration.

``labextension.factory`` names `HTCGatewayCluster`, ``distributed.client.security-loader`` names `security`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from urllib.parse import urlsplit

from distributed.security import Security

from htcdaskgateway.client.cluster import HTCGatewayCluster as _HTCGatewayCluster
from htcdaskgateway.client.errors import ClusterFailedError
from htcdaskgateway.client.gateway import HTCGateway

__all__ = ["HTCGatewayCluster", "security"]


class HTCGatewayCluster(_HTCGatewayCluster):
    """A cluster of the button "+ NEW", whose dashboard opens in the panes of the panel."""

    dashboard_link: str | None

    async def _start_async(self) -> None:
        await super()._start_async()
        if self.dashboard_link and self._is_ours:
            self.dashboard_link = for_panes(self.dashboard_link, _base_url())


def for_panes(link: str, base_url: str) -> str:
    """Write a dashboard's link so that a click in the panel opens it.

    The panel's page takes a link as it is if the path of jupyter-server-proxy occurs in it. For any other it
    asks ``dask/dashboard/ID`` of the Jupyter server, which looks for the dashboard at the link's host and
    drops its path; that of a gateway's dashboard is what says whose it is. So the link that we give leads
    to where the gateway sends on to the dashboard, and whatever is named in it on the way there.

    Parameters
    ----------
    link : str
        ``https://…/clusters/NAME/status``.
    base_url : str
        Path of the Jupyter server, such as ``/user/analyst/``.

    Returns
    -------
    str
        ``https://…/api/v1/dashboards/NAME/user/analyst/proxy/status``.
    """
    address, _, rest = link.rpartition("/clusters/")
    name, _, page = rest.partition("/")
    server = f"/{base_url.strip('/')}".rstrip("/")
    return f"{address}/api/v1/dashboards/{name}{server}/proxy/{page}"


def _base_url() -> str:
    """Path of the Jupyter server that this process is; where it is none, that of any."""
    try:
        server = import_module("jupyter_server.serverapp").ServerApp
    except ImportError:
        return "/"
    return str(server.instance().base_url) if server.initialized() else "/"


def security(about: Mapping[str, object]) -> Security | None:
    """Give the keys of a cluster to ``Client("gateway://…/NAME")``, the code that the panel writes.

    Parameters
    ----------
    about : mapping
        ``address`` of the scheduler.

    Returns
    -------
    distributed.security.Security or None
        None: no cluster of a gateway.

    Raises
    ------
    ClusterFailedError
        It is not running.
    InvalidRequestError
        You have no such cluster.
    """
    address = str(about.get("address", ""))
    if not address.startswith("gateway://"):
        return None
    name = urlsplit(address).path.strip("/")
    with HTCGateway() as gateway:
        report = gateway.get_cluster(name)
    if report.security is None:
        raise ClusterFailedError(name, f"it is {report.status.name.lower()}")
    keys: Security = report.security
    return keys
