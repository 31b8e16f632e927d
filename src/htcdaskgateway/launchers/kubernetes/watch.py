"""Follows the pods of a gateway: one list, then a watch, and again where that breaks off."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from http import HTTPStatus
from logging import Logger, LoggerAdapter
from typing import Any

import aiohttp

from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.launchers.kubernetes.api import FIRST_PAUSE, Api
from htcdaskgateway.launchers.kubernetes.errors import KubernetesRefusedError, PermissionMissingError
from htcdaskgateway.launchers.kubernetes.verdict import Problem, follow, problem

WATCH = 60  # seconds that one watch lasts; a server that is gone without a word is noticed after it
LONGEST_PAUSE = 15.0  # seconds between two attempts
Pod = dict[str, Any]


class PodWatch:
    """The pods that a selector finds, as Kubernetes showed them last.

    Attributes
    ----------
    pods : dict of str to dict
        By name.
    synced : asyncio.Event
        Set once all have been seen.
    forbidden : PermissionMissingError or None
        Why they cannot be followed, where only a person can change that.
    """

    def __init__(self, api: Api, selector: str, log: Logger | LoggerAdapter[Any]) -> None:
        self.api, self.selector, self.log = api, selector, log
        self.pods: dict[str, Pod] = {}
        self.problems: dict[str, tuple[Problem, float]] = {}
        self.synced = asyncio.Event()
        self.forbidden: PermissionMissingError | None = None
        self._changed = asyncio.Event()
        self._put: dict[str, float] = {}

    def put(self, pod: Pod) -> None:
        """Note a pod that has just been made: what was asked before may not show it."""
        self._put[pod["metadata"]["name"]] = time.monotonic()
        if pod["metadata"]["name"] not in self.pods:
            self._see(pod)

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is so of the pods; False if it is not in time."""
        deadline = time.monotonic() + seconds
        while not (self.synced.is_set() and condition()):
            changed = self._changed
            if (left := deadline - time.monotonic()) <= 0:
                return False
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(changed.wait(), left)
        return True

    async def run(self) -> None:
        """Follow them until cancelled."""
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                await self._follow()
            except KubernetesRefusedError as error:
                if error.status != HTTPStatus.GONE:  # what happened since is forgotten there: list again
                    self.log.warning("%s", error)
            except PermissionMissingError as error:
                if self.forbidden is None:
                    self.log.error("%s", error)
                self.forbidden = error
            except (HTCDaskError, aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                self.log.warning("The scheduler pods are not seen at the moment: %r", error)
            except (ValueError, LookupError, TypeError) as error:  # no answer of an API server
                self.log.warning("What is said of the scheduler pods makes no sense: %r", error)
            # It went well for a while: what has ended it is new.
            pause = FIRST_PAUSE if time.monotonic() - began > WATCH / 2 else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _follow(self) -> None:
        asked = time.monotonic()
        pods, version = await self.api.pods(self.selector)
        # Our own are made before the watch shows them, and may be newer than this list.
        kept = {name: pod for name, pod in self.pods.items() if self._put.get(name, 0) > asked}
        for name in set(self.pods) - {pod["metadata"]["name"] for pod in pods} - set(kept):
            self._forget(name)
        for pod in pods:
            self._see(pod)
        self.synced.set()
        self._touch()
        while True:
            async with self.api.watch(self.selector, version, WATCH) as events:
                self.forbidden = None
                async for event in events:
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._happened(event["type"], event["object"])
            await asyncio.sleep(FIRST_PAUSE)  # whoever ends watches at once is not asked all the time

    def _happened(self, what: str, pod: Pod) -> None:
        if what in ("ADDED", "MODIFIED"):
            self._see(pod)
        elif what == "DELETED":
            known = self.pods.get(pod["metadata"]["name"])
            if known and known["metadata"]["uid"] == pod["metadata"]["uid"]:
                self._forget(pod["metadata"]["name"])

    def _see(self, pod: Pod) -> None:
        name = pod["metadata"]["name"]
        same = name in self.pods and self.pods[name]["metadata"]["uid"] == pod["metadata"]["uid"]
        self.pods[name] = pod
        found = follow(self.problems.get(name) if same else None, problem(pod), time.monotonic())
        if found is None:
            self.problems.pop(name, None)
        else:
            self.problems[name] = found
        self._touch()

    def _forget(self, name: str) -> None:
        self.pods.pop(name, None)
        self.problems.pop(name, None)
        self._put.pop(name, None)
        self._touch()

    def _touch(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
