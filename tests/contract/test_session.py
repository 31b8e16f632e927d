"""The suite again, for a schedd behind a session: every call goes out as an order and comes back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from tests.contract import test_schedd as suite
from tests.contract.conftest import Subject
from tests.doubles import FakeSchedd
from tests.support.session_gateway import CLUSTER, SessionGateway, until

from htcdaskgateway.client.carry_out import carry_out
from htcdaskgateway.client.conversation import Conversation
from htcdaskgateway.condor.processes import ProcessSchedd
from htcdaskgateway.condor.schedd import (
    Action,
    EndedJob,
    JobStatus,
    ObservedJob,
    Schedd,
    SubmitDescription,
)
from htcdaskgateway.errors import ScheddSilentError, ScheddUnavailableError
from htcdaskgateway.server.session_schedd import SessionSchedd


class Behind(FakeSchedd):
    """The double as a test has it, to make things happen to jobs; its calls go through the session."""

    def __init__(self, session: SessionSchedd) -> None:
        super().__init__()
        self.session = session

    @property
    def name(self) -> str:
        return self.session.name

    async def submit(self, description: SubmitDescription) -> list[str]:
        return await self.session.submit(description)

    async def query(self, gateway: str, cluster: str = "") -> list[ObservedJob]:
        return await self.session.query(gateway, cluster)

    async def act(self, action: Action, job_ids: Sequence[str]) -> int:
        return await self.session.act(action, job_ids)

    async def ended(self, job_ids: Sequence[str]) -> list[EndedJob]:
        return await self.session.ended(job_ids)

    async def fetch(self, job_ids: Sequence[str], sandbox: str) -> list[str]:
        return await self.session.fetch(job_ids, sandbox)


def far(near: Behind) -> Schedd:
    """The double as the session has it, with the same jobs and the same faults."""
    double = FakeSchedd()
    double.__dict__ = near.__dict__
    return double


class Place:
    """The jobs' files are where the suite has put them."""

    def __init__(self, schedd: Schedd) -> None:
        self._schedd = schedd
        self.sandbox = SimpleNamespace(path=Path("/nowhere"))

    async def schedd(self, name: str) -> Schedd:
        return self._schedd

    async def prepare(self, description: SubmitDescription) -> SubmitDescription:
        return description

    async def logs(self, worker: str, tail: int | None) -> dict[str, dict[str, str]]:
        return {}


@pytest.fixture(params=["fake", "processes"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    gateway = SessionGateway(timeout=30)
    await gateway.start()
    url = f"{gateway.url}/api/v1/clusters/{CLUSTER}/session"
    near: Schedd
    if request.param == "fake":
        near = Behind(gateway.schedd)
        behind = far(near)
    else:
        near, behind = gateway.schedd, ProcessSchedd(slots=4, kill_after=1)
    async with aiohttp.ClientSession() as http:

        async def post(body: dict[str, Any]) -> object:
            async with http.post(url, json=body) as answer:
                told: object = await answer.json()
                return told

        talk = Conversation(post, partial(carry_out, place=Place(behind)), {})
        talking = asyncio.ensure_future(talk.run())
        await until(lambda: talk.role, "the session is attached")
        it = Subject("session", near, lambda *_, **__: near, None)
        yield it
        talk.leave()
        await asyncio.wait_for(talking, 10)
    await behind.close()
    await gateway.stop()
    for sandbox in it.sandboxes:
        shutil.rmtree(sandbox)


# The query of a session is for one cluster: it has a test of its own below.
globals().update(
    {
        test.__name__: test
        for test in (
            suite.test_ids_come_in_the_order_of_the_names,
            suite.test_name_is_known_after_a_submit,
            suite.test_held_job_has_a_reason_and_a_code,
            suite.test_hold_and_release,
            suite.test_removes_exactly_these,
            suite.test_running_jobs_are_removed,
            suite.test_absent_jobs,
            suite.test_no_job_id,
            suite.test_how_jobs_ended,
            suite.test_refusal_has_words_and_leaves_no_job,
        )
    }
)


async def test_query_finds_only_the_jobs_of_the_gateway_and_the_cluster(subject: Subject) -> None:
    mine = await subject.schedd.submit(subject.description("w1", "w2"))
    await subject.schedd.submit(subject.description("w1", gateway=subject.gateway.upper()))
    await subject.schedd.submit(subject.description("w1", cluster_name="c2"))
    assert sorted(job.job_id for job in await subject.schedd.query(subject.gateway)) == mine
    assert sorted(job.job_id for job in await subject.schedd.query(subject.gateway, CLUSTER)) == mine
    assert await subject.schedd.query(subject.gateway, "c2") == []
    assert await subject.schedd.query("no such gateway (&| =?= ") == []


async def test_calls_at_the_same_time(subject: Subject) -> None:
    first, second, jobs, absent = await asyncio.gather(
        subject.schedd.submit(subject.description("w1", "w2")),
        subject.schedd.submit(subject.description("w3")),
        subject.schedd.query("nobody"),
        subject.schedd.act(Action.REMOVE, ["99999999.0"]),
    )
    assert (len(first), len(second), jobs, absent) == (2, 1, [], 0)
    assert {job.job_id for job in await subject.schedd.query(subject.gateway)} == {*first, *second}


@pytest.mark.parametrize("subject", ["fake"], indirect=True)
async def test_spooled_output_is_fetched(subject: Subject) -> None:
    schedd = subject.schedd
    assert isinstance(schedd, FakeSchedd)
    ids = await schedd.submit(subject.description("exit-0", "w1", spool=True))
    schedd.end(ids[0])
    jobs = {job.worker_name: job for job in await schedd.query(subject.gateway)}
    assert (jobs["exit-0"].fetchable, jobs["exit-0"].status) == (True, JobStatus.COMPLETED)
    assert await schedd.fetch(ids, "/the/gateways/own") == [ids[0]]
    assert await schedd.fetch(ids, "/the/gateways/own") == []
    assert schedd.fetches == [(ids, "/nowhere")] * 2  # the session's own


@pytest.mark.parametrize("subject", ["fake"], indirect=True)
async def test_unavailable_and_silent(subject: Subject) -> None:
    schedd = subject.schedd
    assert isinstance(schedd, FakeSchedd)
    await schedd.query(subject.gateway)
    schedd.unavailable = "Failed to connect"
    for call in (
        lambda: schedd.submit(subject.description("w1")),
        lambda: schedd.query(subject.gateway),
        lambda: schedd.act(Action.REMOVE, ["1.0"]),
        lambda: schedd.ended(["1.0"]),
    ):
        with pytest.raises(ScheddUnavailableError, match="Failed to connect"):
            await call()
    schedd.unavailable, schedd.silent = "", "acted"
    with pytest.raises(ScheddSilentError):
        await schedd.submit(subject.description("w1"))
    schedd.silent = ""
    assert [job.job_id for job in await schedd.query(subject.gateway)] == ["1.0"]
    assert len(schedd.submits) == 1
