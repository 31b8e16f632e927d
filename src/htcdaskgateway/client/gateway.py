"""`HTCGateway`: dask-gateway's client, with clusters that know of their HTCondor workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
from dask_gateway import Gateway, GatewayClusterError

from htcdaskgateway.client.errors import ClusterFailedError, RefusedError
from htcdaskgateway.client.farewell import close_later
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.errors import AuthenticationError, GatewayUnreachableError, InvalidRequestError

if TYPE_CHECKING:
    from htcdaskgateway.client.cluster import HTCGatewayCluster


class HTCGateway(Gateway):
    """A client for a gateway whose workers are HTCondor jobs.

    Parameters
    ----------
    address : str, optional
        Address of the gateway. Like all further parameters (``proxy_address``, ``public_address``,
        ``auth``, ``asynchronous``, ``loop``) as for `dask_gateway.Gateway`, with the same configuration
        (``gateway.address`` and so on) where it is left out.

    Raises
    ------
    GatewayUnreachableError, AuthenticationError, InvalidRequestError
        By every method that asks the gateway.

    Examples
    --------
    >>> gateway = HTCGateway()                                    # doctest: +SKIP
    >>> with gateway.new_cluster() as cluster:                    # doctest: +SKIP
    ...     cluster.scale(10)
    ...     client = cluster.get_client()
    """

    async def _request(self, method: str, url: str, json: Any = None) -> aiohttp.ClientResponse:
        try:
            answer: aiohttp.ClientResponse = await super()._request(method, url, json=json)
        except aiohttp.ClientResponseError as error:
            if error.status in (401, 403):
                raise AuthenticationError(self.address, error.status, error.message) from error
            if error.status in (502, 503, 504):  # the gateway proxy answers, the gateway behind it does not
                raise GatewayUnreachableError(self.address, f"{error.status} {error.message}") from error
            raise
        except (aiohttp.ClientConnectionError, aiohttp.InvalidURL) as error:
            raise GatewayUnreachableError(self.address, str(error)) from error
        except GatewayClusterError as error:
            raise RefusedError(str(error)) from error
        except ValueError as error:  # dask-gateway's for 404 and 422
            raise InvalidRequestError(str(error)) from error
        return answer

    async def _workers(self, cluster_name: str, since: int | None = None) -> WorkersReport:
        query = "" if since is None else f"?since={since}"
        answer = await self._request("GET", f"{self.address}/api/v1/clusters/{cluster_name}/workers{query}")
        return WorkersReport.from_json(await answer.json())

    async def _wait_for_start(self, cluster_name: str) -> Any:
        try:
            return await super()._wait_for_start(cluster_name)
        except GatewayClusterError as error:
            try:
                words = (await self._workers(cluster_name)).problem
            except InvalidRequestError:  # not one of our gateways, or the cluster is unknown
                words = ""
            raise ClusterFailedError(cluster_name, words or str(error)) from error

    def new_cluster(
        self, cluster_options: Any = None, shutdown_on_close: bool = True, **kwargs: Any
    ) -> HTCGatewayCluster:
        """Start a cluster and wait until its scheduler runs; it has no workers yet.

        Parameters
        ----------
        cluster_options : dask_gateway.options.Options, optional
            What ``cluster_options()`` gave, as changed by you.
        shutdown_on_close : bool, optional
            Whether the cluster ends with this object or this Python process.
        **kwargs
            Single options, such as ``worker_cores=2``.

        Raises
        ------
        ClusterFailedError
            The scheduler did not start; says why.
        """
        from htcdaskgateway.client.cluster import HTCGatewayCluster

        return HTCGatewayCluster(
            **self._settings(),
            cluster_options=cluster_options,
            shutdown_on_close=shutdown_on_close,
            **kwargs,
        )

    def connect(self, cluster_name: str, shutdown_on_close: bool = False) -> HTCGatewayCluster:
        """Take control of a cluster that runs already, from any session of its owner."""
        from htcdaskgateway.client.cluster import HTCGatewayCluster

        cluster: HTCGatewayCluster = HTCGatewayCluster.from_name(
            cluster_name, shutdown_on_close=shutdown_on_close, **self._settings()
        )
        return cluster

    def _settings(self) -> dict[str, Any]:
        """Arguments that make another client of the same gateway."""
        return {
            "address": self.address,
            "proxy_address": self.proxy_address,
            "public_address": self._public_address,
            "auth": self.auth,
            "asynchronous": self.asynchronous,
            "loop": self.loop,
        }

    def close(self) -> Any:
        """Close the client; a second time does nothing."""
        if self.asynchronous or self._loop_runner.is_started():
            return super().close()
        return None

    def __del__(self) -> None:
        if not getattr(self, "asynchronous", True):
            close_later(self._loop_runner, self._cleanup)

    def __repr__(self) -> str:
        return f"HTCGateway<{self.address}>"
