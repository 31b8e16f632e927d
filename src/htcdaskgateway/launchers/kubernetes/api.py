"""Requests to the API server, with a deadline: what does not reach it is tried again until then."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes_asyncio import client, config

from htcdaskgateway.errors import ConfigurationError
from htcdaskgateway.launchers.kubernetes.errors import (
    KubernetesRefusedError,
    KubernetesSilentError,
    PermissionMissingError,
)
from htcdaskgateway.launchers.kubernetes.permissions import RULES, access_review

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ONE_REQUEST = 10.0  # seconds that the API server may take for one attempt
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two attempts
PASSING = {429, 500, 502, 503, 504}  # statuses of a server that is starting, ending or busy
LAST_MOMENT = 0.25  # seconds that TLS connections take to end after their session is closed
WORDS = 1000  # characters of foreign words that an error shows
_SINGULAR = {"secrets": "secret", "services": "service", "pods": "pod", "events": "event"}
# Quotas and admission rules refuse with the same status, and words of their own.
_NO_PERMISSION = re.compile(r" cannot [a-z]+ resource ")


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
    """

    def __init__(self, connection: client.ApiClient, namespace: str, timeout: float) -> None:
        self.namespace, self.timeout = namespace, timeout
        self._connection = connection
        self._core = client.CoreV1Api(connection)
        self.used: set[tuple[str, str]] = set()  # of RULES, for those who ask whether all are needed

    async def close(self) -> None:
        await self._connection.close()
        await asyncio.sleep(LAST_MOMENT)

    async def create(self, resource: str, manifest: dict[str, Any]) -> dict[str, Any]:
        method = f"create_namespaced_{_SINGULAR[resource]}"
        return await self._object("create", resource, method, self.namespace, manifest)

    async def items(self, resource: str, **selection: Any) -> list[dict[str, Any]]:
        method = f"list_namespaced_{_SINGULAR[resource]}"
        found = await self._object("list", resource, method, self.namespace, **selection)
        return list(found["items"])

    async def pods(self, selector: str) -> tuple[list[dict[str, Any]], str]:
        """Give the pods, and from when on a watch shows what changes."""
        found = await self._object(
            "list", "pods", "list_namespaced_pod", self.namespace, label_selector=selector
        )
        return list(found["items"]), str(found["metadata"]["resourceVersion"])

    async def delete(self, resource: str, name: str, uid: str, grace: int | None = None) -> None:
        """Delete this very object and, in the background, what belongs to it. It may be gone already."""
        options: dict[str, Any] = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            method = f"delete_namespaced_{_SINGULAR[resource]}"
            await self._object("delete", resource, method, name, self.namespace, body=options)
        except KubernetesRefusedError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):  # now another's name
                raise

    async def log(self, pod: str, container: str, lines: int, timeout: float) -> str:
        return await self._ask(
            "get", "pods/log", "read_namespaced_pod_log", pod, self.namespace,
            container=container, tail_lines=lines, timeout=timeout,
        )  # fmt: skip

    async def lacking(self) -> list[tuple[str, str]]:
        """Give the permissions that the account lacks, as the API server sees it."""
        reviews = client.AuthorizationV1Api(self._connection).create_self_subject_access_review

        async def allowed(verb: str, resource: str) -> bool:
            body = access_review(verb, resource, self.namespace)
            said = await self._ask("review", resource, reviews, body, timeout=ONE_REQUEST)
            return bool(json.loads(said)["status"]["allowed"])

        answers = await asyncio.gather(*(allowed(*rule) for rule in RULES))
        return [rule for rule, answer in zip(RULES, answers, strict=True) if not answer]

    async def watch(self, selector: str, version: str, seconds: int) -> AsyncIterator[dict[str, Any]]:
        """Yield what happens to pods, for so many seconds."""
        self.used.add(("watch", "pods"))
        answer = await self._core.list_namespaced_pod(
            self.namespace, label_selector=selector, resource_version=version, watch=True,
            timeout_seconds=seconds, allow_watch_bookmarks=True,
            _preload_content=False, _request_timeout=seconds + ONE_REQUEST,
        )  # fmt: skip
        async with answer:
            if answer.status != HTTPStatus.OK:
                raise refusal("watch", "pods", self.namespace, answer.status, await answer.text())
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    said = json.dumps(event["object"])
                    raise refusal("watch", "pods", self.namespace, event["object"].get("code", 0), said)
                yield event

    async def _object(self, verb: str, resource: str, method: str, *args: Any, **kw: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self._ask(verb, resource, method, *args, **kw))
        return found

    async def _ask(
        self, verb: str, resource: str, method: Any, *args: Any, timeout: float = 0, **kw: Any
    ) -> str:
        """Make one request, again and again while nothing sensible comes back."""
        self.used.add((verb, resource))
        seconds = timeout or self.timeout
        deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
        request = getattr(self._core, method) if isinstance(method, str) else method
        while True:
            left = min(ONE_REQUEST, max(deadline - time.monotonic(), 0.1))
            try:
                answer = await request(*args, _preload_content=False, _request_timeout=left, **kw)
                async with answer:
                    status, said = answer.status, await answer.text()
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                words = str(error) or type(error).__name__
            else:
                if status < HTTPStatus.MULTIPLE_CHOICES:
                    return str(said)
                if status not in PASSING:
                    raise refusal(verb, resource, self.namespace, status, said)
                words = message(said)
            if time.monotonic() + pause > deadline:
                raise KubernetesSilentError(verb, resource, self.namespace, seconds, words)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def message(said: str) -> str:
    """What the API server says in words."""
    try:
        return str(json.loads(said)["message"])[:WORDS]
    except (ValueError, KeyError, TypeError):
        return said.strip()[:WORDS]


def refusal(
    verb: str, resource: str, namespace: str, status: int, said: str
) -> KubernetesRefusedError | PermissionMissingError:
    """Tell a permission that lacks from everything else that is refused."""
    words = message(said)
    if status == HTTPStatus.FORBIDDEN and _NO_PERMISSION.search(words):
        return PermissionMissingError(verb, resource, namespace, words)
    return KubernetesRefusedError(verb, resource, namespace, status, words)
