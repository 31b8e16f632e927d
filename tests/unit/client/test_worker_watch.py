"""Workers are compared although nobody waits for them."""

from __future__ import annotations

import asyncio
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from htcdaskgateway import HTCGatewayCluster
from htcdaskgateway.client import worker_watch
from htcdaskgateway.client.images import Choice
from htcdaskgateway.client.running_checks import RunningChecks
from htcdaskgateway.client.worker_watch import WorkerWatch
from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.versions import VersionMismatchError, VersionMismatchWarning, versions_here

OLD = {"python": "3.1.0", "dask": "1.0"}


class Late:
    """Answers as a scheduler whose only worker comes with the third look."""

    def __init__(self, versions: dict[str, str]) -> None:
        self.packages, self.looks, self.asked = {"packages": versions}, 0, 0

    async def identity(self) -> dict[str, Any]:
        self.looks += 1
        return {"workers": {"tcp://1": {"name": "w1"}} if self.looks > 2 else {}}

    async def broadcast(self, workers: list[str], **_: object) -> dict[str, Any]:
        self.asked += 1
        return dict.fromkeys(workers, self.packages)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(worker_watch, "LONGEST_PAUSE", 0.02)


async def watched(scheduler: Late, check: str, seconds: float = 0.5) -> tuple[list[str], RunningChecks]:
    """Sentences of what was warned of."""
    checks = RunningChecks("c7", scheduler, Choice(check=check))
    watch = WorkerWatch(checks)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watch.start()
        watch.start()  # as a second call of scale
        await asyncio.sleep(seconds)
    watch.end()
    mine = [one for one in caught if one.category is VersionMismatchWarning]
    return [str(one.message).splitlines()[0] for one in mine], checks


@pytest.mark.parametrize("check", ["error", "warn"])
async def test_workers_that_do_not_fit_are_warned_of_once(check: str) -> None:
    scheduler = Late(OLD)
    told, checks = await watched(scheduler, check)
    differ = "does not fit this notebook: python, dask, distributed and dask-gateway differ."
    assert told == [f"A worker of cluster c7 {differ}"]
    assert (scheduler.looks, scheduler.asked) == (3, 1)  # and then no more
    if check == "error":  # who waits for them hears it as an error all the same
        with pytest.raises(VersionMismatchError):
            await checks.check_workers()


async def test_workers_that_fit_end_the_watch_in_silence() -> None:
    scheduler = Late(versions_here())
    told, _ = await watched(scheduler, "error")
    assert told == []
    assert (scheduler.looks, scheduler.asked) == (3, 1)


@pytest.mark.parametrize("check", ["off", ""])
async def test_off_looks_at_nothing(check: str) -> None:
    scheduler = Late(OLD)
    assert (await watched(scheduler, check, 0.1))[0] == []
    assert scheduler.looks == 0


async def test_the_end_of_the_cluster_ends_it() -> None:
    scheduler = Late(OLD)
    watch = WorkerWatch(RunningChecks("c7", scheduler, Choice(check="error")))
    watch.end()
    watch.start()
    watch.end()
    await asyncio.sleep(0.1)
    assert scheduler.looks == 0


async def test_a_warning_that_is_made_an_error_goes_nowhere() -> None:
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    scheduler = Late(OLD)
    watch = WorkerWatch(RunningChecks("c7", scheduler, Choice(check="error")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch.start()
        await asyncio.sleep(0.3)
    assert watch._task is not None
    assert watch._task.done()
    assert watch._task.exception() is None
    assert failed == []


async def test_scaling_starts_it_and_waiting_for_workers_ends_it() -> None:
    calls: list[str] = []

    async def done(*_: object, **__: object) -> None:
        return None

    async def refuse(*_: object) -> None:
        raise InvalidRequestError("No such cluster.")

    async def site() -> Any:
        return SimpleNamespace(is_ours=True)

    watch = SimpleNamespace(start=lambda: calls.append("start"), end=lambda: calls.append("end"))
    gateway = SimpleNamespace(_scale_cluster=done, _adapt_cluster=done, _site=site)
    cluster: Any = SimpleNamespace(
        _watch=watch, gateway=gateway, name="c7", _check_open=str, _check_more=done, report=refuse
    )
    await HTCGatewayCluster._scale(cluster, 0)
    await HTCGatewayCluster._adapt(cluster, None, None, active=False)
    assert calls == []
    await HTCGatewayCluster._scale(cluster, 2)
    await HTCGatewayCluster._adapt(cluster, 1, 2, active=True)
    with pytest.raises(InvalidRequestError):
        await HTCGatewayCluster._wait_for_workers(cluster, 1, None, None)
    assert calls == ["start", "start", "end"]
