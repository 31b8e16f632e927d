"""`HTCGateway`: dask-gateway's client, with clusters that know of their HTCondor workers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohttp
from dask_gateway import Gateway, GatewayClusterError, GatewayServerError

from htcdaskgateway.client.address import check_addresses
from htcdaskgateway.client.answers import NotTheGatewayError, only_the_gateway, remedy
from htcdaskgateway.client.authentication import way_to_authenticate
from htcdaskgateway.client.dropin import check_worker_type, checked_options
from htcdaskgateway.client.errors import ClusterFailedError, RefusedError
from htcdaskgateway.client.farewell import close_at_exit, close_later
from htcdaskgateway.client.image_check import check_image
from htcdaskgateway.client.images import Choice, Wish, decide, look, wish
from htcdaskgateway.client.report import WorkersReport, worker_count
from htcdaskgateway.client.session_credentials import check_required
from htcdaskgateway.client.session_place import FILES_TIMEOUT
from htcdaskgateway.client.site import SiteFacts
from htcdaskgateway.client.submitter import check_configuration
from htcdaskgateway.config import setting
from htcdaskgateway.errors import AuthenticationError, GatewayUnreachableError, InvalidRequestError
from htcdaskgateway.threads import in_thread

if TYPE_CHECKING:
    from htcdaskgateway.client.cluster import HTCGatewayCluster

# What dask-gateway-server makes of the Hub's 403 for a token that the Hub does not know: a 500.
UNKNOWN_TOKEN = "Permission failure verifying user's JupyterHub API token"  # noqa: S105 - words


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
    NoAddressError
        There is no address: neither here nor in Dask's configuration.
    InvalidRequestError
        An address is none, names an environment variable that is not set, or authentication lacks something.
    GatewayUnreachableError, AuthenticationError, InvalidRequestError
        By every method that asks the gateway.

    Examples
    --------
    >>> gateway = HTCGateway()                                    # doctest: +SKIP
    >>> with gateway.new_cluster() as cluster:                    # doctest: +SKIP
    ...     cluster.scale(10)
    ...     client = cluster.get_client()
    """

    _session: aiohttp.ClientSession | None
    _choice = Choice()  # of the cluster that was submitted last: each cluster object has a gateway of its own

    def __init__(
        self,
        address: str | None = None,
        proxy_address: str | int | None = None,
        public_address: str | None = None,
        auth: Any = None,
        *arguments: Any,
        **keywords: Any,
    ) -> None:
        check_addresses(address)
        way = way_to_authenticate(auth)
        try:
            super().__init__(address, proxy_address, public_address, way, *arguments, **keywords)
        except ValueError as error:  # such as: a port that is none, of the gateway proxy's address
            raise InvalidRequestError(f"There can be no client of this gateway: {error}.") from error
        if not self.asynchronous:
            close_at_exit(self)

    async def _request(self, method: str, url: str, json: Any = None) -> aiohttp.ClientResponse:
        if self._session is None:  # as dask-gateway makes it, and it looks at who has answered
            cookies = aiohttp.CookieJar(unsafe=True)
            self._session = aiohttp.ClientSession(cookie_jar=cookies, raise_for_status=only_the_gateway)
        try:
            answer: aiohttp.ClientResponse = await super()._request(method, url, json=json)
        except aiohttp.ClientResponseError as error:
            if error.status in (401, 403):
                raise AuthenticationError(self.address, error.status, error.message) from error
            if error.status in (502, 503, 504):  # the gateway proxy answers, the gateway behind it does not
                raise GatewayUnreachableError(self.address, f"{error.status} {error.message}") from error
            raise
        except (aiohttp.ClientConnectionError, aiohttp.InvalidURL, NotTheGatewayError) as error:
            raise GatewayUnreachableError(self.address, str(error)) from error
        except GatewayClusterError as error:
            raise RefusedError(str(error)) from error
        except GatewayServerError as error:
            if str(error) != UNKNOWN_TOKEN:
                raise
            raise AuthenticationError(self.address, 401, str(error)) from error
        except ValueError as error:  # dask-gateway's for 404 and 422
            raise InvalidRequestError(str(error), remedy=remedy(str(error))) from error
        return answer

    async def _workers(self, cluster_name: str, since: int | None = None) -> WorkersReport:
        query = "" if since is None else f"?since={since}"
        answer = await self._request("GET", f"{self.address}/api/v1/clusters/{cluster_name}/workers{query}")
        return WorkersReport.from_json(await answer.json())

    async def _site(self) -> SiteFacts:
        """What this gateway says of its site; nothing, if it is not one of ours."""
        try:
            answer = await self._request("GET", f"{self.address}/api/v1/site")
            return SiteFacts.from_json(await answer.json())
        except (aiohttp.ContentTypeError, ValueError):  # no such route, or an answer of something else
            return SiteFacts()

    async def _cluster_options(self, use_local_defaults: bool = True) -> Any:
        options = await super()._cluster_options(use_local_defaults)
        ours = {"image": setting("image"), "image_registry": setting("image-registry")}
        mine = {name: text for name, text in ours.items() if text and name in options}
        if use_local_defaults and mine and (await self._site()).is_ours:
            options.update({**mine, **self._config_cluster_options()})
        return options

    async def _submit(
        self,
        cluster_options: Any = None,
        *,
        image: str | None = None,
        image_registry: str | None = None,
        apptainer_image: str | None = None,
        check_versions: str | None = None,
        **kwargs: Any,
    ) -> str:
        wanted = wish(image, image_registry, apptainer_image, check_versions)
        kwargs = await checked_options(self, kwargs)
        site = await self._site()
        given = self._config_cluster_options() if cluster_options is None else cluster_options
        options = {**(given if isinstance(given, Mapping) else {}), **kwargs}
        self._choice = await self._choose(wanted, site, options)
        if site.submitter == "session":
            check_configuration()
            with suppress(asyncio.TimeoutError):  # scale() looks again
                await in_thread(lambda: check_required(site.credentials), FILES_TIMEOUT)
        if chosen := self._choice.image:
            kwargs["image"] = str(chosen)
            if "image_registry" in options:
                kwargs["image_registry"] = chosen.registry
        else:  # another gateway's option of that name: what it means is its own
            asked = {"image": wanted.image, "image_registry": wanted.registry}
            kwargs.update({option: text for option, text in asked.items() if text is not None})
        name: str = await super()._submit(cluster_options=cluster_options, **kwargs)
        return name

    @staticmethod
    async def _choose(wanted: Wish, site: SiteFacts, options: Mapping[str, Any]) -> Choice:
        choice = decide(wanted, site, options)
        if choice.image is None or choice.check == "off":
            return choice
        choice = await look(choice)
        await check_image(choice)
        return choice

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
        self,
        cluster_options: Any = None,
        shutdown_on_close: bool = True,
        *,
        image: str | None = None,
        image_registry: str | None = None,
        apptainer_image: str | None = None,
        check_versions: str | None = None,
        **kwargs: Any,
    ) -> HTCGatewayCluster:
        """Start a cluster and wait until its scheduler runs; it has no workers yet.

        The image is compared with this notebook first: Python (major.minor), dask, distributed and
        dask-gateway must agree. After an error nothing was submitted, or what was is stopped again.

        Parameters
        ----------
        cluster_options : dask_gateway.options.Options, optional
            What ``cluster_options()`` gave, as changed by you.
        shutdown_on_close : bool, optional
            Whether the cluster ends with this object or this Python process.
        image : str, optional
            Image of scheduler and workers, ``repository/name:tag`` or ``registry/repository/name:tag``;
            without a tag, the only one there is. Without it: ``htcdaskgateway.image`` of Dask's
            configuration, else the site's.
        image_registry : str, optional
            Its registry, if it names none, such as ``registry.hub.docker.com``.
        apptainer_image : str, optional
            Old name of ``image``.
        check_versions : {"error", "warn", "off"}, optional
            What follows if versions do not agree. ``"warn"`` shows them and goes ahead. ``"off"`` looks at
            nothing, so that the image need not be visible here. Without it:
            ``htcdaskgateway.check-versions``, else what the site says.
        **kwargs
            Single options, such as ``worker_cores=2``, ``worker_memory=4`` (GB) and, where workers are to
            run, ``node_match_expr="rank = …"`` or ``"requirements = …"``.

        Raises
        ------
        VersionMismatchError
            The image, or the scheduler, does not fit this notebook; holds the table.
        InvalidRequestError
            There is no such image, or it cannot be used (`htcdaskgateway.images.errors`); or an option is
            not one that the gateway knows.
        CredentialError
            This session is to submit, and a credential of yours that the site requires is not there or
            will not do; says what mends it.
        ClusterFailedError
            The scheduler did not start; says why.
        """
        from htcdaskgateway.client.cluster import HTCGatewayCluster

        return HTCGatewayCluster(
            **self._settings(),
            cluster_options=cluster_options,
            shutdown_on_close=shutdown_on_close,
            image=image,
            image_registry=image_registry,
            apptainer_image=apptainer_image,
            check_versions=check_versions,
            **kwargs,
        )

    def connect(self, cluster_name: str, shutdown_on_close: bool = False) -> HTCGatewayCluster:
        """Take control of a cluster that runs already, from any session of its owner."""
        from htcdaskgateway.client.cluster import HTCGatewayCluster

        cluster: HTCGatewayCluster = HTCGatewayCluster.from_name(
            cluster_name, shutdown_on_close=shutdown_on_close, **self._settings()
        )
        return cluster

    def scale_cluster(self, cluster_name: str, n: int, worker_type: str | None = None, **kwargs: Any) -> Any:
        """Scale a cluster to ``n`` workers, as `HTCGatewayCluster.scale`.

        Parameters
        ----------
        cluster_name : str
        n : int
        worker_type : {"htcondor"}, optional
            There is no other.

        Raises
        ------
        InvalidRequestError
            ``n`` is no number of workers, or there are no workers of this type.
        RefusedError
            HTCondor refused the jobs or cannot be reached. Nothing was changed.
        """
        check_worker_type(worker_type)
        return super().scale_cluster(cluster_name, worker_count(n), **kwargs)

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
