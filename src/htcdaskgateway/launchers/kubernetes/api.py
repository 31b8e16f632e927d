"""Requests to the API server, with a deadline: what does not reach it is tried again until then."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from kubernetes_asyncio import client, config

from htcdaskgateway.errors import ConfigurationError
from htcdaskgateway.launchers.kubernetes.answers import (
    HOLDS,
    LOG_READ,
    LogEnd,
    is_race,
    log_end_of,
    message,
    object_of,
    refusal,
    text_of,
)
from htcdaskgateway.launchers.kubernetes.errors import KubernetesRefusedError, KubernetesSilentError
from htcdaskgateway.launchers.kubernetes.permissions import RULES, access_review

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ONE_REQUEST = 10.0  # seconds that the API server may take for one attempt
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two attempts
PASSING = {429, 500, 502, 503, 504}  # statuses of a server that is starting, ending or busy
LAST_MOMENT = 0.25  # seconds that TLS connections take to end after their session is closed
RENEWAL_PAUSE = 3.0  # seconds between two readings of the kubeconfig
LONGEST_USE = 120.0  # seconds after which nothing is under way any more
_SINGULAR = {"secrets": "secret", "services": "service", "pods": "pod", "events": "event"}
T = TypeVar("T")
Read = Callable[[aiohttp.ClientResponse], Awaitable[T]]


async def connect(kubeconfig: str, context: str) -> client.ApiClient:
    """Give a connection, by the pod's own service account where no file is named.

    Raises
    ------
    ConfigurationError
        There is nothing to connect with.
    """
    settings = client.Configuration()
    try:
        if not kubeconfig and not context and (ACCOUNT / "token").exists():
            config.load_incluster_config(client_configuration=settings)
        else:
            await config.load_kube_config(
                kubeconfig or None, context or None, client_configuration=settings, persist_config=False
            )
    except (config.ConfigException, OSError, ValueError, KeyError) as error:
        raise ConfigurationError(
            "The gateway does not know how to reach Kubernetes.",
            {"kubeconfig": kubeconfig or "(default)", "context": context or "(current)", "it says": error},
            "Set c.KubernetesLauncher.kubeconfig, or run the gateway as a pod with a service account.",
        ) from error
    return client.ApiClient(settings)


class Api:
    """The requests that the launcher makes in its namespace; all objects are plain JSON.

    Parameters
    ----------
    connection : kubernetes_asyncio.client.ApiClient
    namespace : str
    timeout : float
        Seconds after which a request is given up.
    connect_again : callable, optional
        Gives a connection with the credentials of now: they may end while the gateway runs.
    """

    def __init__(
        self,
        connection: client.ApiClient,
        namespace: str,
        timeout: float,
        connect_again: Callable[[], Awaitable[client.ApiClient]] | None = None,
    ) -> None:
        self.namespace, self.timeout = namespace, timeout
        self._connection, self._connect_again = connection, connect_again
        self._renewal, self._renewed = asyncio.Lock(), float("-inf")
        self._credentials = credentials(connection)
        self._former: list[tuple[float, client.ApiClient]] = []
        self.used: set[tuple[str, str]] = set()  # of RULES, for those who ask whether all are needed

    async def close(self) -> None:
        for connection in (*(old for _, old in self._former), self._connection):
            await connection.close()
        await asyncio.sleep(LAST_MOMENT)

    async def create(self, resource: str, manifest: dict[str, Any]) -> dict[str, Any]:
        method = f"create_namespaced_{_SINGULAR[resource]}"
        return await self._object("create", resource, method, self.namespace, manifest)

    async def items(self, resource: str, namespace: str = "", **selection: Any) -> list[dict[str, Any]]:
        """Give what there is in the namespace, or in another one."""
        method, where = f"list_namespaced_{_SINGULAR[resource]}", namespace or self.namespace
        found = await self._object("list", resource, method, where, where=where, **selection)
        return list(found["items"])

    async def pods(self, selector: str) -> tuple[list[dict[str, Any]], str]:
        """Give the pods, and from when on a watch shows what changes."""
        found = await self._object(
            "list", "pods", "list_namespaced_pod", self.namespace, label_selector=selector
        )
        return list(found["items"]), str(found["metadata"]["resourceVersion"])

    async def delete(
        self, resource: str, name: str, uid: str, grace: int | None = None, namespace: str = ""
    ) -> None:
        """Delete this very object and, in the background, what belongs to it. It may be gone already."""
        options: dict[str, Any] = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            method, where = f"delete_namespaced_{_SINGULAR[resource]}", namespace or self.namespace
            await self._object("delete", resource, method, name, where, where=where, body=options)
        except KubernetesRefusedError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):  # now another's name
                raise

    async def log(self, pod: str, container: str, lines: int, timeout: float) -> LogEnd:
        """Give the end of what a container has written, of its last lines."""
        return await self._ask(
            "get", "pods/log", "read_namespaced_pod_log", log_end_of, pod, self.namespace,
            container=container, tail_lines=lines, limit_bytes=LOG_READ, timeout=timeout,
        )  # fmt: skip

    async def lacking(self) -> list[tuple[str, str]]:
        """Give the permissions that the account lacks, as the API server sees it."""
        reviews = "create_self_subject_access_review"

        async def allowed(verb: str, resource: str) -> bool:
            body = access_review(verb, resource, self.namespace)
            said = await self._object("review", resource, reviews, body, timeout=ONE_REQUEST)
            return bool(said["status"]["allowed"])

        answers = await asyncio.gather(*(allowed(*rule) for rule in RULES))
        return [rule for rule, answer in zip(RULES, answers, strict=True) if not answer]

    @asynccontextmanager
    async def watch(
        self, selector: str, version: str, seconds: int
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Give what happens to pods, for so many seconds; that it may be seen is known at once."""
        self.used.add(("watch", "pods"))
        answer = await client.CoreV1Api(self._connection).list_namespaced_pod(
            self.namespace, label_selector=selector, resource_version=version, watch=True,
            timeout_seconds=seconds, allow_watch_bookmarks=True,
            _preload_content=False, _request_timeout=seconds + ONE_REQUEST,
        )  # fmt: skip
        async with answer:
            if answer.status != HTTPStatus.OK:
                raise refusal("watch", "pods", self.namespace, answer.status, await text_of(answer))
            yield self._events(answer)

    async def _events(self, answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
        async for line in answer.content:
            event = json.loads(line)
            if event["type"] == "ERROR":
                said = json.dumps(event["object"])
                raise refusal("watch", "pods", self.namespace, event["object"].get("code", 0), said)
            yield event

    async def _object(self, verb: str, resource: str, method: str, *args: Any, **kw: Any) -> dict[str, Any]:
        read = partial(object_of, holds=HOLDS.get(verb, ""))
        return await self._ask(verb, resource, method, read, *args, **kw)

    async def _ask(
        self,
        verb: str,
        resource: str,
        method: str,
        read: Read[T],
        *args: Any,
        timeout: float = 0,
        where: str = "",
        **kw: Any,
    ) -> T:
        """Make one request, again and again while nothing sensible comes back; once more as somebody new."""
        self.used.add((verb, resource))
        seconds, where = timeout or self.timeout, where or self.namespace
        deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
        may_renew = True
        while True:
            connection = self._connection
            group = client.AuthorizationV1Api if verb == "review" else client.CoreV1Api
            request = getattr(group(connection), method)
            left = min(ONE_REQUEST, max(deadline - time.monotonic(), 0.1))
            try:
                answer = await request(*args, _preload_content=False, _request_timeout=left, **kw)
                async with answer:
                    if answer.status < HTTPStatus.MULTIPLE_CHOICES:
                        return await read(answer)
                    status, said = answer.status, await text_of(answer)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                words = str(error) or type(error).__name__
            else:
                if status == HTTPStatus.UNAUTHORIZED and may_renew and await self._renew(connection):
                    may_renew = False
                    continue
                if status not in PASSING and not is_race(verb, status, said):
                    raise refusal(verb, resource, where, status, said)
                words = message(said)
            if time.monotonic() + pause > deadline:
                raise KubernetesSilentError(verb, resource, where, seconds, words)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _renew(self, refused: client.ApiClient) -> bool:
        """Take the credentials of now in place of those that were refused; False: there are no others."""
        async with self._renewal:
            if self._connection is not refused:  # another request has done it meanwhile
                return True
            if self._connect_again is None or time.monotonic() - self._renewed < RENEWAL_PAUSE:
                return False
            now = self._renewed = time.monotonic()
            try:
                found = await asyncio.wait_for(self._connect_again(), ONE_REQUEST)
            except (ConfigurationError, asyncio.TimeoutError):
                return False
            if (known := credentials(found)) == self._credentials:
                await found.close()
                return False
            # Requests are under way on the former one, and a watch for as long as that lasts.
            for at, old in [one for one in self._former if now - one[0] > LONGEST_USE]:
                await old.close()
                self._former.remove((at, old))
            self._former.append((now, refused))
            self._connection, self._credentials = found, known
            return True


def credentials(connection: client.ApiClient) -> tuple[object, ...]:
    """What a connection says who we are with, to be compared."""
    settings = connection.configuration
    files = (settings.ssl_ca_cert, settings.cert_file, settings.key_file)
    contents = [Path(name).read_bytes() for name in files if name and Path(name).is_file()]
    return settings.host, settings.api_key.get("BearerToken"), *contents
