"""Makes secret, service and pod of a scheduler: each once, however often that is begun."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from htcdaskgateway.launchers.base import SchedulerSpec
from htcdaskgateway.launchers.kubernetes.api import FIRST_PAUSE, Api
from htcdaskgateway.launchers.kubernetes.errors import (
    KubernetesRefusedError,
    KubernetesSilentError,
    NotOursError,
)
from htcdaskgateway.launchers.kubernetes.manifests import (
    Manifest,
    PodSettings,
    is_left_to_us,
    make_pod,
    make_secret,
    make_service,
)
from htcdaskgateway.launchers.kubernetes.names import CLUSTER, Names
from htcdaskgateway.launchers.kubernetes.watch import PodWatch

Check = Callable[[Manifest], bool]
ATTEMPTS = 3


@dataclass(frozen=True)
class Made:
    """What there is now."""

    service: dict[str, Any]
    pod: dict[str, Any]


class Creation:
    """Makes the objects of one scheduler.

    A request whose answer was lost is made again, and finds what the first one made. What an earlier
    start has left, and what is on its way out, is waited for.

    Parameters
    ----------
    api : Api
    watch : PodWatch
    names : Names
    seconds : float
        How long an object may take that is on its way out.
    """

    def __init__(self, api: Api, watch: PodWatch, names: Names, seconds: float) -> None:
        self.api, self.watch, self.names, self.seconds = api, watch, names, seconds

    async def run(self, spec: SchedulerSpec, image: str, site: PodSettings, node_port: bool) -> Made:
        """Make them, or find them made.

        Raises
        ------
        KubernetesError
        InvalidRequestError
            A value of the user's cannot be told to a pod.
        """
        if self.watch.forbidden is not None:  # it would never be known what becomes of the pod
            raise self.watch.forbidden
        make_pod(self.names, spec, image, "uid", site)  # refused before anything is made
        secret = make_secret(self.names, spec)
        made = await self._make("secrets", secret, lambda found: found.get("data") == secret["data"])
        owner = made["metadata"]["uid"]

        def is_owned(found: Manifest) -> bool:
            return any(one["uid"] == owner for one in found["metadata"].get("ownerReferences", []))

        service = await self._make("services", make_service(self.names, spec, owner, node_port), is_owned)
        pod = await self._make("pods", make_pod(self.names, spec, image, owner, site), is_owned)
        return Made(service, pod)

    async def _make(self, resource: str, manifest: Manifest, is_same: Check) -> dict[str, Any]:
        deadline, unseen = time.monotonic() + self.seconds, 0
        while True:
            try:
                return await self.api.create(resource, manifest)
            except KubernetesRefusedError as error:
                if error.status != HTTPStatus.CONFLICT:
                    raise
            found, name = await self._ours(resource, manifest), manifest["metadata"]["name"]
            if found is None:
                unseen += 1
                if unseen == ATTEMPTS:  # had it gone meanwhile, ours would be there by now
                    raise NotOursError(resource, name, self.api.namespace)
            elif not found["metadata"].get("deletionTimestamp"):
                if is_same(found):
                    return found
                # Of an earlier start of this cluster: the secret takes with it what belongs to it.
                if is_left_to_us(found):
                    await self.api.delete(resource, name, found["metadata"]["uid"])
            if time.monotonic() > deadline:
                words = f"{name} is still there"
                raise KubernetesSilentError("delete", resource, self.api.namespace, self.seconds, words)
            await asyncio.sleep(FIRST_PAUSE)

    async def _ours(self, resource: str, manifest: Manifest) -> dict[str, Any] | None:
        metadata = manifest["metadata"]
        selector = self.names.selector(metadata["annotations"][CLUSTER])
        found = await self.api.items(resource, label_selector=selector)
        return next((one for one in found if one["metadata"]["name"] == metadata["name"]), None)
