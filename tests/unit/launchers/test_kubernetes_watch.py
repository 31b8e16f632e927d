"""Following pods, where the API server does what a real one does rarely; see tests/kubernetes as well."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes_asyncio import client

from htcdaskgateway.launchers.kubernetes.api import Api
from htcdaskgateway.launchers.kubernetes.errors import KubernetesRefusedError, KubernetesSilentError
from htcdaskgateway.launchers.kubernetes.watch import PodWatch

LOG = logging.getLogger("watch")


def pod(name: str, uid: str = "1", version: int = 1, status: dict[str, Any] | None = None) -> dict[str, Any]:
    metadata = {"name": name, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "status": status or {}}


def event(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": obj}


EXPIRED = {"kind": "Status", "code": 410, "message": "too old resource version: 1 (5)"}


class Server:
    """Answers as it is told: what a list shows, and what each watch says before it breaks off."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []
        self.watches: list[list[dict[str, Any]] | int] = []
        self.asked: list[str] = []
        self.listed = asyncio.Event()
        self.may_list = asyncio.Event()
        self.may_list.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            self.asked.append("list")
            shown = list(self.pods)
            self.listed.set()
            await self.may_list.wait()
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": shown})
        self.asked.append(f"watch {request.query['resourceVersion']}")
        said = self.watches.pop(0) if self.watches else None
        if isinstance(said, int):
            words = 'cannot watch resource "pods"' if said == 403 else "no"
            return web.json_response({"message": f"You {words}"}, status=said)
        answer = web.StreamResponse()
        await answer.prepare(request)
        for one in said or []:
            await answer.write(json.dumps(one).encode() + b"\n")
        if said is None:
            await asyncio.sleep(60)
        return answer


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    app = web.Application()
    app.router.add_get("/api/v1/namespaces/ns/pods", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    settings = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    made = Api(client.ApiClient(settings), "ns", timeout=5)
    yield made
    await made.close()
    await runner.cleanup()


@pytest.fixture
async def watch(api: Api) -> AsyncIterator[PodWatch]:
    made = PodWatch(api, "a=b", LOG)
    following = asyncio.ensure_future(made.run())
    yield made
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


@pytest.mark.parametrize("gone", [[event("ERROR", EXPIRED)], 410])
async def test_what_is_forgotten_is_listed_again(
    server: Server, watch: PodWatch, gone: list[dict[str, Any]] | int
) -> None:
    server.pods = [pod("old")]
    server.watches = [[event("ADDED", pod("b", version=2))], gone]
    assert await watch.until(lambda: set(watch.pods) == {"old", "b"}, 5)
    server.pods = [pod("b", version=7), pod("c")]
    assert await watch.until(lambda: set(watch.pods) == {"b", "c"}, 5)
    assert server.asked[:4] == ["list", "watch 1", "watch 2", "list"]


async def test_a_watch_goes_on_from_where_it_broke_off(server: Server, watch: PodWatch) -> None:
    server.watches = [
        [event("ADDED", pod("a", version=2)), event("BOOKMARK", {"metadata": {"resourceVersion": "9"}})],
        [event("DELETED", pod("a", version=10))],
    ]
    assert await watch.until(lambda: not watch.pods and len(server.asked) > 2, 5)
    assert server.asked[:3] == ["list", "watch 1", "watch 9"]


@pytest.mark.parametrize("broken", [500, 401, [{"nonsense": 1}], [[1]]])
async def test_it_begins_again_after_anything(server: Server, watch: PodWatch, broken: Any) -> None:
    server.watches = [broken, broken, [event("ADDED", pod("late"))]]
    assert await watch.until(lambda: "late" in watch.pods, 10)


async def test_a_permission_that_is_granted_again_counts_before_anything_happens(
    server: Server, watch: PodWatch
) -> None:
    server.watches = [403]
    assert await watch.until(lambda: watch.forbidden is not None, 5)
    for _ in range(50):
        if watch.forbidden is None:
            break
        await asyncio.sleep(0.1)
    assert watch.forbidden is None
    assert server.asked == ["list", "watch 1", "list", "watch 1"]


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_all_the_time(
    server: Server, watch: PodWatch
) -> None:
    server.watches = [[] for _ in range(1000)]
    await asyncio.sleep(1)
    assert 2 <= len(server.asked) < 10


async def test_a_pod_that_was_made_while_others_were_listed_stays(server: Server, watch: PodWatch) -> None:
    server.may_list.clear()
    await asyncio.wait_for(server.listed.wait(), 5)
    watch.put(pod("new"))
    server.may_list.set()
    await asyncio.wait_for(watch.synced.wait(), 5)
    assert set(watch.pods) == {"new"}


async def test_what_was_seen_of_a_pod_is_newer_than_its_making(server: Server, watch: PodWatch) -> None:
    server.watches = [[event("ADDED", pod("a", version=3, status={"phase": "Running"}))]]
    assert await watch.until(lambda: "a" in watch.pods, 5)
    watch.put(pod("a"))
    assert watch.pods["a"]["status"] == {"phase": "Running"}


async def test_the_end_of_an_earlier_pod_of_that_name_is_not_this_ones(
    server: Server, watch: PodWatch
) -> None:
    server.pods = [pod("a", uid="2")]
    server.watches = [[event("DELETED", pod("a", uid="1")), event("ADDED", pod("b"))]]
    assert await watch.until(lambda: "b" in watch.pods, 5)
    assert "a" in watch.pods


async def test_a_problem_lasts_since_it_was_first_seen_with_this_pod(server: Server, watch: PodWatch) -> None:
    fails = {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "why"}}}]}
    backs_off = {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}
    server.watches = [[event("ADDED", pod("a", status=fails))]]
    assert await watch.until(lambda: "a" in watch.problems, 5)
    before = watch.problems["a"]
    watch._happened("MODIFIED", pod("a", status=backs_off))
    assert watch.problems["a"] == before
    assert before[0].words == "ErrImagePull, why"
    watch._happened("MODIFIED", pod("a", uid="2", status=backs_off))
    assert watch.problems["a"][1] > before[1]
    watch._happened("MODIFIED", pod("a", uid="2", status={"phase": "Running"}))
    assert watch.problems == {}


async def test_requests_are_made_again_until_their_time_is_over() -> None:
    statuses = iter([503, 500, 429])

    async def busy(request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response({"message": "busy"}, status=next(statuses))
        except StopIteration:
            return web.json_response({"items": []})

    async with Serving(busy) as url:
        patient = Api(client.ApiClient(client.Configuration(host=url)), "ns", timeout=10)
        assert await patient.items("pods") == []
        await patient.close()


async def test_a_request_that_is_never_answered_is_given_up() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with Serving(silent) as url:
        impatient = Api(client.ApiClient(client.Configuration(host=url)), "ns", timeout=0.5)
        with pytest.raises(KubernetesSilentError, match=r"did not list pods in namespace 'ns' within 0\.5 s"):
            await impatient.items("pods")
        await impatient.close()


@pytest.mark.parametrize(("status", "raises"), [(404, False), (409, False), (200, False), (400, True)])
async def test_what_is_gone_need_not_be_deleted(status: int, raises: bool) -> None:
    async def said(request: web.Request) -> web.StreamResponse:
        asked.append(await request.json())
        return web.json_response({"message": "x"}, status=status)

    asked: list[dict[str, Any]] = []
    async with Serving(said) as url:
        api = Api(client.ApiClient(client.Configuration(host=url)), "ns", timeout=1)
        if raises:
            with pytest.raises(KubernetesRefusedError):
                await api.delete("secrets", "x", "u")
        else:
            await api.delete("secrets", "x", "u")
        await api.close()
    assert asked == [{"preconditions": {"uid": "u"}, "propagationPolicy": "Background"}]


class Serving:
    """A server that answers every request so."""

    def __init__(self, answer: Any) -> None:
        self.app = web.Application()
        self.app.router.add_route("*", "/{path:.*}", answer)

    async def __aenter__(self) -> str:
        self.runner = web.AppRunner(self.app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()
