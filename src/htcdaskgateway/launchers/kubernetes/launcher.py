"""Schedulers as pods: started, watched and stopped with one namespace's permissions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from htcdaskgateway.credentials.words import shown
from htcdaskgateway.errors import (
    ConfigurationError,
    InvalidRequestError,
    SchedulerStartError,
)
from htcdaskgateway.launchers.base import Addresses, SchedulerSpec
from htcdaskgateway.launchers.kubernetes import permissions
from htcdaskgateway.launchers.kubernetes.addresses import addresses, is_local, way_to
from htcdaskgateway.launchers.kubernetes.api import Api, connect
from htcdaskgateway.launchers.kubernetes.creation import Creation
from htcdaskgateway.launchers.kubernetes.errors import KubernetesError, KubernetesSilentError
from htcdaskgateway.launchers.kubernetes.manifests import CONTAINER, PORTS, is_left_to_us, make_pod
from htcdaskgateway.launchers.kubernetes.merge import misshapen
from htcdaskgateway.launchers.kubernetes.names import CLUSTER, Names
from htcdaskgateway.launchers.kubernetes.traits import KubernetesSettings
from htcdaskgateway.launchers.kubernetes.verdict import GONE, TAKEN_AWAY, has_started, last_event
from htcdaskgateway.launchers.kubernetes.watch import PodWatch

LOG_LINES = (1000, 10, 1)  # of a scheduler's log; fewer where these are too long to reach its end
LAST_WORDS = 500  # characters of the last line, in a reason
QUICK = 5.0  # seconds for what is good to have, and not waited for


class KubernetesLauncher(KubernetesSettings):
    """Runs each scheduler in a pod, with a service before it and a secret for its key and token.

    Service and pod belong to the secret: when that is deleted, all of it goes. Whatever has lost its owner
    goes by its labels. What the gateway may do in the namespace is in `permissions`; it looks at objects
    that carry its instance id only.
    """

    host = ""  # every address of the pod, IPv4 or IPv6; but distributed's dashboard knows IPv4 only
    ports = PORTS
    _api: Api | None = None

    def check_configuration(self) -> None:
        if self.scheduler_address == "node-port" and not self.node_address:
            raise ConfigurationError(
                'c.KubernetesLauncher.scheduler_address is "node-port", and no node is named.',
                remedy='Set c.KubernetesLauncher.node_address = "ADDRESS".',
            )
        if words := misshapen(self.pod_template):
            raise ConfigurationError(f"c.KubernetesLauncher.pod_template is no part of a pod: {words}.")
        spec = SchedulerSpec("cluster", "user", ("dask",), {}, {})
        with_template = make_pod(Names("gateway"), spec, "image", "uid", self.pods)
        containers = with_template.get("spec", {}).get("containers") or []
        if not any(one.get("name") == CONTAINER and one.get("image") for one in containers):
            raise ConfigurationError("c.KubernetesLauncher.pod_template removes the scheduler's container.")

    def check_ways(self, worker_contact: str, api_url: str) -> None:
        if worker_contact != "gateway-proxy":
            raise ConfigurationError(
                "Workers outside Kubernetes do not reach the addresses of scheduler pods.",
                {"c.HTCondorBackend.worker_contact": worker_contact},
                'Set c.HTCondorBackend.worker_contact = "gateway-proxy".',
            )
        if is_local(urlsplit(api_url).hostname or ""):
            raise ConfigurationError(
                f"Scheduler pods do not reach the gateway at {api_url}.",
                remedy="Set c.HTCondorBackend.api_url to its address as pods see it:"
                " http://ADDRESS:PORT/PREFIX/api.",
            )

    def admit(self, user: str) -> None:
        """Admit everybody: nobody's pod runs as an account of this host."""

    # -- life --------------------------------------------------------------------------------------

    async def open(self, gateway: str) -> None:
        self._names = Names(gateway)  # before anything is waited for: `place` may be called then
        self._opened = asyncio.Event()
        way = partial(connect, self.kubeconfig, self.context)
        api = Api(await way(), self.namespace, self.api_timeout, way)
        try:
            permissions.check(await api.lacking(), self.namespace)
        except KubernetesError as error:
            # The gateway starts all the same: what it has serves on, and Kubernetes may come back.
            self.log.warning("What the gateway may do in Kubernetes is not known. %s", error)
        except ConfigurationError:
            await api.close()
            raise
        self._api = api
        self._watch = PodWatch(api, self._names.selector(), self.log)
        self._following = asyncio.ensure_future(self._watch.run())
        self._opened.set()

    async def close(self) -> None:
        if self._api is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
            await self._api.close()
            self._api = None

    async def _connected(self) -> Api:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._opened.wait(), self.api_timeout)
        if self._api is None:
            raise KubernetesSilentError(
                "reach", "anything", self.namespace, self.api_timeout, "not connected"
            )
        return self._api

    # -- schedulers --------------------------------------------------------------------------------

    def place(self, cluster: str) -> dict[str, Any]:
        name = self._names.object_name(cluster)
        return {"cluster": cluster, "name": name, "namespace": self.namespace}

    async def start(self, spec: SchedulerSpec) -> dict[str, Any]:
        image = spec.image.reference if spec.image else self.image
        if not image:
            raise SchedulerStartError(spec.cluster, "no image is named: c.KubernetesLauncher.image is empty")
        try:
            creation = Creation(await self._connected(), self._watch, self._names, self.api_timeout)
            making = creation.run(spec, image, self.pods, self.scheduler_address == "node-port")
            # all of it, in little more time than one request may take
            made = await asyncio.wait_for(making, self.api_timeout + QUICK)
        except asyncio.TimeoutError as error:
            words = f"Kubernetes took more than {self.api_timeout + QUICK:g} s"
            raise SchedulerStartError(spec.cluster, words) from error
        except (KubernetesError, InvalidRequestError) as error:
            words = " ".join([error.sentence, *map(str, error.facts.values())])
            raise SchedulerStartError(spec.cluster, words) from error
        self._watch.put(made.pod)
        state = {**self.place(spec.cluster), "uid": made.pod["metadata"]["uid"]}
        return {**state, **way_to(made.service, self.scheduler_address, self.namespace, self.node_address)}

    def addresses(self, state: Mapping[str, Any]) -> Addresses | None:
        pod = self._watch.pods.get(state.get("name", "")) if self._api else None
        return addresses(state, pod)

    async def failure(self, user: str, state: Mapping[str, Any]) -> str:
        if "uid" not in state or self._api is None or not self._watch.synced.is_set():
            return ""
        if (namespace := state.get("namespace", self.namespace)) != self.namespace:
            return (
                f"The scheduler's pod is in the Kubernetes namespace {namespace!r}, and schedulers of this"
                f" gateway are in {self.namespace!r} now."
            )
        name = state["name"]
        pod = self._watch.pods.get(name)
        if pod is None or pod["metadata"]["uid"] != state["uid"]:
            found, since = GONE, time.monotonic()
        elif name in self._watch.problems:
            found, since = self._watch.problems[name]
        else:
            return ""
        if not self.patience.is_over(found, time.monotonic() - since):
            return ""
        event = "" if found.words else last_event(await self._events(state["uid"]), reasons=TAKEN_AWAY)
        return _sentence(str(found), event, await self._log(name))

    async def delay(self, user: str, state: Mapping[str, Any]) -> str:
        if "uid" not in state or self._api is None:
            return ""
        problem, _ = self._watch.problems.get(state["name"], ("", 0))
        event = last_event(await self._events(state["uid"]), known=str(problem))
        return _sentence(str(problem), event, await self._log(state["name"]))

    async def _events(self, uid: str) -> list[dict[str, Any]]:
        if self._api is None:
            return []
        try:
            return await self._api.items("events", field_selector=f"involvedObject.uid={uid}", timeout=QUICK)
        except KubernetesError as error:
            self.log.warning("%s", error)
            return []

    async def _log(self, name: str) -> str:
        """The end of the log, as far as Kubernetes has it at once."""
        if self._api is None or name not in self._watch.pods:
            return ""
        log, deadline = "", time.monotonic() + QUICK
        try:
            for lines in LOG_LINES:
                log, whole = await self._api.log(name, CONTAINER, lines, deadline - time.monotonic())
                if whole or time.monotonic() > deadline:
                    break
        except KubernetesError as error:
            # It has none, for one that never started.
            never = getattr(error, "status", 0) in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)
            self.log.log(logging.INFO if never else logging.WARNING, "%s", error)
        return log

    async def stop(self, user: str, state: Mapping[str, Any]) -> str:
        if "cluster" not in state:
            return ""
        api = await self._connected()
        name, selector = state["name"], self._names.selector(state["cluster"])
        if (namespace := state.get("namespace", self.namespace)) != self.namespace:
            await self._leave(api, namespace, selector)
            return ""
        await self._watch.until(lambda: True, QUICK)  # a new gateway process may not have seen it yet
        try:
            log = await self._log(name)
        finally:  # its secret goes, whatever its log is like
            await _remove(api, selector)
        pod = self._watch.pods.get(name)
        if pod is not None and not has_started(pod):
            await self._remove_now(api, name)  # nothing has to end; Kubernetes itself takes half a minute
        seconds = self.stop_grace + self.stop_timeout
        if not await self._watch.until(lambda: name not in self._watch.pods, seconds):
            self.log.warning("Pod %s has not ended in %g s; its node may be lost.", name, seconds)
            await self._remove_now(api, name)
        return log

    async def _leave(self, api: Api, namespace: str, selector: str) -> None:
        """Remove what is in a namespace that was ours, if we still may."""
        try:
            await _remove(api, selector, namespace=namespace)
        except KubernetesError as error:
            by_hand = f"kubectl -n {namespace} delete secrets,services,pods -l {selector}"
            self.log.error("What a cluster has left is to be removed by hand: %s\n%s", by_hand, error)

    async def _remove_now(self, api: Api, name: str) -> None:
        """Take a pod away without asking its node."""
        pod = self._watch.pods.get(name)
        if pod is None:
            return
        try:
            await api.delete("pods", name, pod["metadata"]["uid"], grace=0)
        except KubernetesError as error:
            self.log.warning("%s", error)

    async def sweep(self, is_known: Callable[[str], bool]) -> None:
        api = await self._connected()
        for name in await _remove(api, self._names.selector(), is_known):
            self.log.info("Removed %s: its cluster is not known (any more)", name)


async def _remove(
    api: Api, selector: str, is_known: Callable[[str], bool] = lambda cluster: False, namespace: str = ""
) -> list[str]:
    """Delete what a selector finds of clusters that are not known; kind and name of each object."""
    removed = []
    for resource in ("secrets", "services", "pods"):
        # Asked now and not before the list was made: a cluster is known before its secret is made.
        for found in filter(is_left_to_us, await api.items(resource, namespace, label_selector=selector)):
            metadata = found["metadata"]
            if not is_known(metadata.get("annotations", {}).get(CLUSTER, "")):
                await api.delete(resource, metadata["name"], metadata["uid"], namespace=namespace)
                removed.append(f"{resource}/{metadata['name']}")
    return removed


def _sentence(problem: str, event: str, log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    said = [
        problem,
        f"Kubernetes says: {event}." if event else "",
        f"Its last words: {shown(lines[-1].strip(), LAST_WORDS)}" if lines else "",
    ]
    return " ".join(filter(None, said))
