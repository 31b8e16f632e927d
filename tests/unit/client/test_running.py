"""With a real scheduler and a real worker in this process."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from distributed import Scheduler, Worker
from distributed.core import rpc

from htcdaskgateway.client.display import tell
from htcdaskgateway.client.images import Choice
from htcdaskgateway.client.running import (
    MOST_WORKERS,
    ask,
    environment,
    group,
    scheduler_column,
    worker_columns,
    worker_names,
)
from htcdaskgateway.client.running_checks import RunningChecks
from htcdaskgateway.versions import (
    Column,
    VersionMismatchError,
    VersionMismatchWarning,
    VersionTable,
    versions_here,
)

HERE = versions_here()
OLD = {"python": "3.1.0", "dask": "1.0"}


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    async with Scheduler(port=0, dashboard_address=":0", host="127.0.0.1") as started:
        yield started


@pytest.fixture
async def contact(scheduler: Scheduler) -> AsyncIterator[Any]:
    made = rpc(scheduler.address)
    yield made
    await made.close_rpc()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"packages": {"python": "3.11.7.final.0", "numpy": None}}, {"python": "3.11.7"}),
        ({"packages": {"dask": "1", "msgpack": "2"}}, {"dask": "1", "msgpack": "2"}),
        ({"packages": {"dask": ""}}, {}),
        ({"packages": {"dask": 7}}, {}),
        ({"packages": None}, {}),
        ({}, {}),
        (None, {}),
        ("text", {}),
    ],
)  # fmt: skip
def test_an_answer_of_distributed(answer: object, expected: dict[str, str]) -> None:
    assert environment(answer) == expected


def test_what_others_say_is_made_fit_for_a_terminal() -> None:
    told = environment({"packages": {"dask": "1\x1b[2J", "numpy": "9" * 10_000, "x\x07": "1"}})
    assert told == {"dask": "1\N{REPLACEMENT CHARACTER}[2J", "numpy": "9" * 80 + "…"}
    (one, two) = group({"w\x1b[2J" + "w" * 1000: {"dask": "1"}, "v": {}}, 2)
    assert one.note == "w\N{REPLACEMENT CHARACTER}[2J" + "w" * 55 + "…"
    assert two.note == "v; no answer"


async def test_an_error_of_others_is_made_fit_for_a_terminal() -> None:
    async def fail() -> None:
        raise RuntimeError("\x1b[2J" * 1000)

    _, note = await ask(fail(), 1)
    assert note.startswith("no answer: RuntimeError \N{REPLACEMENT CHARACTER}[2J")
    assert note.isprintable()
    assert len(note) <= 301


def test_workers_of_the_same_versions_are_one_column() -> None:
    new = {"python": "3.11.7"}
    assert group({}, 0) == ()
    assert group({"a": new, "b": new}, 2) == (Column("workers (2)", new),)
    mixed = {"a": OLD, "b": new, "c": {}, "d": new, "e": new, "f": new}
    assert group(mixed, 9) == (
        Column("workers (4)", new, "b, d, e and 1 more; 6 of 9 workers were asked"),
        Column("workers (1)", OLD, "a; 6 of 9 workers were asked"),
        Column("workers (1)", {}, "c; no answer; 6 of 9 workers were asked"),
    )


async def test_scheduler_and_workers_tell(scheduler: Scheduler, contact: Any) -> None:
    async with Worker(scheduler.address, name="w1"), Worker(scheduler.address, name="w2"):
        names = await worker_names(contact)
        assert sorted(names.values()) == ["w1", "w2"]
        column = await scheduler_column(contact)
        assert column == Column("scheduler", HERE)
        assert await worker_columns(contact, names) == (Column("workers (2)", HERE),)
        assert (await RunningChecks("c", contact, Choice()).table()).agrees


async def test_a_scheduler_that_is_gone_is_a_note(scheduler: Scheduler, contact: Any) -> None:
    await scheduler.close()
    column = await scheduler_column(contact, 1)
    assert column.versions == {}
    assert column.note.startswith("no answer")
    assert await worker_names(contact, 1) == {}
    (workers,) = await worker_columns(contact, {"tcp://127.0.0.1:1": "w"}, 1)
    assert workers.note.startswith("no answer")
    checks = RunningChecks("c", contact, Choice(check="error"))
    await checks.check_scheduler()
    await checks.check_workers(1)


async def test_a_scheduler_that_is_silent_is_a_note_in_time() -> None:
    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    contact = rpc("tcp://127.0.0.1:{1}".format(*server.sockets[0].getsockname()))
    column = await scheduler_column(contact, 0.5)
    assert column.note == "no answer within 0.5 s"
    await contact.close_rpc()
    server.close()


class Foreign:
    """Answers as a scheduler whose workers have other versions than this notebook."""

    def __init__(self, versions: dict[str, str]) -> None:
        self.packages = {"packages": versions}
        self.asked = 0

    async def identity(self) -> dict[str, Any]:
        return {"workers": {"tcp://1": {"name": "w1"}, "tcp://2": {"name": "w2"}}}

    async def versions(self, packages: list[str]) -> dict[str, Any]:
        return self.packages

    async def broadcast(self, workers: list[str], **_: object) -> dict[str, Any]:
        self.asked += len(workers)
        return dict.fromkeys(workers, self.packages)


DIFFER = " of cluster c7 does not fit this notebook: python, dask, distributed and dask-gateway differ."


async def outcome(ask: Callable[[], Awaitable[None]]) -> str:
    """What is raised, in short."""
    try:
        await ask()
    except VersionMismatchError as error:
        return f"{error.sentence} {[column.title for column in error.table.columns]}"
    return "nothing"


@pytest.mark.parametrize(("check", "raises"), [("error", True), ("off", False), ("", False)])
async def test_what_does_not_fit_is_raised(check: str, raises: bool) -> None:
    checks = RunningChecks("c7", Foreign(OLD), Choice(check=check))
    scheduler = f"The scheduler{DIFFER} ['notebook', 'scheduler']" if raises else "nothing"
    workers = f"A worker{DIFFER} ['notebook', 'workers (2)']" if raises else "nothing"
    for _ in range(2):  # who tries again hears it again
        assert await outcome(checks.check_scheduler) == scheduler
        assert await outcome(checks.check_workers) == workers


async def test_a_warning_comes_once() -> None:
    checks = RunningChecks("c7", Foreign(OLD), Choice(check="warn"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await checks.check_scheduler()
        await checks.check_workers()
        await checks.check_workers()
    assert [one.category for one in caught] == [VersionMismatchWarning]
    assert 'check_versions="warn" goes ahead' in str(caught[0].message)


async def test_not_more_workers_are_asked_than_a_scheduler_can_take() -> None:
    many = {f"tcp://{number}": f"w{number}" for number in range(MOST_WORKERS + 50)}
    foreign = Foreign(OLD)
    (column,) = await worker_columns(foreign, many)
    assert foreign.asked == MOST_WORKERS
    assert column == Column(f"workers ({MOST_WORKERS})", OLD, "100 of 150 workers were asked")


async def test_workers_that_fit_are_not_asked_again() -> None:
    foreign = Foreign(HERE)
    checks = RunningChecks("c7", foreign, Choice(check="error"))
    for _ in range(3):
        await checks.check_workers()
    assert foreign.asked == 2


def test_the_same_warning_of_a_second_cluster_is_shown_again() -> None:
    table = VersionTable((Column("notebook", HERE), Column("image", OLD)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            tell("Image 'a'", table, "warn")
    assert len(caught) == 2
