"""What comes back from an API server: of any length, in any bytes, and not always from an API server."""

from __future__ import annotations

import asyncio
import json
import logging
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes_asyncio import client
from tests.unit.launchers.test_kubernetes_launcher import make
from tests.unit.launchers.test_kubernetes_watch import Serving, pod

from htcdaskgateway.launchers.kubernetes import KubernetesLauncher
from htcdaskgateway.launchers.kubernetes.answers import LOG_KEPT, LOG_READ
from htcdaskgateway.launchers.kubernetes.api import Api
from htcdaskgateway.launchers.kubernetes.errors import KubernetesRefusedError, KubernetesSilentError
from htcdaskgateway.launchers.kubernetes.names import CLUSTER, Names
from htcdaskgateway.launchers.kubernetes.watch import PodWatch

LOG = logging.getLogger("answers")


@asynccontextmanager
async def asking(answer: Any, timeout: float = 5) -> AsyncIterator[Api]:
    async with Serving(answer) as url:
        api = Api(client.ApiClient(client.Configuration(host=url)), "ns", timeout)
        yield api
        await api.close()


async def test_a_log_in_any_bytes() -> None:
    async def said(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"caf\xe9 \xff\n", content_type="text/plain", charset="utf-8")

    async with asking(said) as api:
        assert await api.log("x", "scheduler", 1000, 5) == ("caf� �\n", True)


async def test_of_a_long_log_the_end_is_kept_and_no_more_is_held() -> None:
    megabyte = b"x" * 2**20

    async def said(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(64):
            await answer.write(megabyte)
        await answer.write(b"the end")
        return answer

    async with asking(said) as api:
        tracemalloc.start()
        text, whole = await api.log("x", "scheduler", 1000, 60)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(text) == LOG_KEPT
    assert text.endswith("xthe end")
    assert not whole, "as long as it may be: there may be more"
    assert most < 16 * 2**20


async def test_what_came_of_a_log_in_time_is_kept() -> None:
    async def said(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(json.dumps(dict(request.query)).encode())
        await asyncio.sleep(60)
        return answer

    async with asking(said) as api:
        text, whole = await api.log("x", "scheduler", 1000, 0.5)
    assert json.loads(text) == {"container": "scheduler", "tailLines": "1000", "limitBytes": str(LOG_READ)}
    assert not whole


async def test_a_log_of_which_nothing_comes() -> None:
    async def said(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with asking(said) as api:
        with pytest.raises(KubernetesSilentError):
            await api.log("x", "scheduler", 1000, 0.5)


NONSENSE = [
    b"<html>\nWe are back soon.\n</html>",
    b"",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"items": 3}',
    b'{"kind": "Status"}',
]


@pytest.mark.parametrize("said", NONSENSE)
async def test_nonsense_with_status_200_is_no_answer_and_passes(said: bytes) -> None:
    answers = [said, said]

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=answers.pop()) if answers else web.json_response({"items": [{"a": 1}]})

    async with asking(answer) as api:
        assert await api.items("pods") == [{"a": 1}]


async def test_nonsense_for_ever_is_told() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=NONSENSE[0])

    async with asking(answer, timeout=0.5) as api:
        with pytest.raises(KubernetesSilentError, match=r"within 0\.5 s") as caught:
            await api.create("secrets", {})
    assert caught.value.words == rf"no answer of an API server: {NONSENSE[0].decode()!r}"


async def test_a_refusal_in_any_bytes() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"\xff", status=403)

    async with asking(answer) as api:
        with pytest.raises(KubernetesRefusedError, match="�"):
            await api.items("pods")


class Cluster:
    """A launcher with one pod, which has ended; the test says what the API server has of it."""

    def __init__(self) -> None:
        self.logs: dict[str, bytes] = {}
        self.deleted: list[str] = []
        self.launcher: KubernetesLauncher = make(stop_grace=0, stop_timeout=1)
        self.state = {"cluster": "c1", "name": "dask-x", "uid": "1", "namespace": "ns"}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/log"):
            return web.Response(body=self.logs.get(request.query["tailLines"], b""))
        if request.method == "DELETE":
            self.deleted.append(request.path.removeprefix("/api/v1/namespaces/ns/"))
            self.watch._forget("dask-x")
            return web.json_response({})
        of = request.path.rpartition("/")[2]
        found = pod("dask-x")
        found["metadata"]["annotations"] = {CLUSTER: "c1"}
        return web.json_response({"items": [found] if of == "secrets" else []})

    def begin(self, api: Api) -> None:
        self.watch = PodWatch(api, "a=b", LOG)
        self.watch.synced.set()
        status = {"state": {"terminated": {"reason": "Error", "exitCode": 3}}}
        self.watch.put(
            pod("dask-x", status={"phase": "Failed", "containerStatuses": [{"name": "scheduler", **status}]})
        )
        self.launcher._api, self.launcher._watch, self.launcher._names = api, self.watch, Names("gateway-1")
        self.launcher._opened = asyncio.Event()
        self.launcher._opened.set()


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    async with asking(made.answer) as api:
        made.begin(api)
        yield made


MIDDLE = b"the middle\n".ljust(LOG_READ, b"x")


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        ({"1000": b"starting\nthe end\n\n"}, "the end"),
        ({"1000": MIDDLE, "10": b"the end"}, "the end"),
        ({"1000": MIDDLE, "10": MIDDLE, "1": b"the end"}, "the end"),
        ({"1000": MIDDLE, "10": MIDDLE, "1": MIDDLE}, "x" * 500 + "…"),
        ({"1000": b"\t\x1b[2Jgone \xe2\x80\xaeexe.\x00\xff\n"}, r"\x1b[2Jgone \u202eexe.\x00�"),
    ],
)
async def test_last_words(cluster: Cluster, logs: dict[str, bytes], words: str) -> None:
    cluster.logs = logs
    reason = await cluster.launcher.failure("alice", cluster.state)
    said, _, found = reason.partition(" Its last words: ")
    assert said == "The scheduler's pod has ended: Error, exit code 3."
    assert found.startswith(words)
    assert reason.isprintable()


async def test_a_secret_goes_whatever_its_scheduler_has_written(cluster: Cluster) -> None:
    cluster.logs = {"1000": b"\xff\n"}
    assert await cluster.launcher.stop("alice", cluster.state) == "�\n"
    assert cluster.deleted == ["secrets/dask-x"]


async def test_a_secret_goes_whatever_happens_to_the_log(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: KubernetesLauncher, name: str) -> str:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(KubernetesLauncher, "_log", broken)
    with pytest.raises(RuntimeError, match="nobody thought of this"):
        await cluster.launcher.stop("alice", cluster.state)
    assert cluster.deleted == ["secrets/dask-x"]
