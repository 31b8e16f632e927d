"""What is removed of clusters that ended without a session, and above all what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.doubles import FakeSchedd

from htcdaskgateway.client import leftovers as module
from htcdaskgateway.client.leftovers import Leftovers, Mine, left_over
from htcdaskgateway.client.session_sandbox import SessionSandbox
from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.jobs import JobRequest, worker_jobs
from htcdaskgateway.condor.schedd import Action, JobStatus, ObservedJob, Schedd
from htcdaskgateway.errors import GatewayUnreachableError

ANSWER = {"gateway": "g1", "user": "alice", "clusters": ["alive"]}
MINE = Mine("g1", "alice", frozenset(["alive"]))


def job(status: JobStatus = JobStatus.IDLE, cluster: str = "ended", user: str = "alice") -> ObservedJob:
    return ObservedJob("1.0", cluster, "w", status, user=user)


@pytest.mark.parametrize(
    ("one", "first", "second"),
    [
        (job(), True, True),
        (job(JobStatus.HELD), True, True),
        (job(JobStatus.RUNNING), False, True),  # it ends by itself, with its logs
        (job(JobStatus.TRANSFERRING_OUTPUT), False, True),
        (job(JobStatus.SUSPENDED), False, True),
        (job(JobStatus.COMPLETED), False, False),
        (job(JobStatus.REMOVED), False, False),
        (job(cluster="alive"), False, False),
        (job(user="bob"), False, False),
        (job(user=""), False, False),
        (job(cluster=""), False, False),
    ],
)
def test_which_jobs(one: ObservedJob, first: bool, second: bool) -> None:
    assert left_over([one], MINE, frozenset()) == ["1.0"] * first
    assert left_over([one], MINE, frozenset(["1.0"])) == ["1.0"] * second


@pytest.mark.parametrize(
    "answer",
    [
        None, [], "x", {}, {**ANSWER, "clusters": None}, {**ANSWER, "clusters": {"alive": 1}},
        {**ANSWER, "clusters": [1]}, {**ANSWER, "user": ""}, {**ANSWER, "user": None},
        {**ANSWER, "gateway": ""}, {**ANSWER, "gateway": 1},
    ],
)  # fmt: skip
def test_no_answer(answer: object) -> None:
    assert Mine.from_json(ANSWER) == MINE
    with pytest.raises(ValueError, match="not what a gateway says"):
        Mine.from_json(answer)


@dataclass(frozen=True)
class DoubleAccess(Access):
    schedds: dict[str, FakeSchedd] = field(default_factory=lambda: {"": FakeSchedd()})

    def schedd(self, name: str = "") -> Schedd:
        return self.schedds[name]


async def filled(gateway: str = "g1") -> FakeSchedd:
    """One job each of three clusters."""
    schedd = FakeSchedd()
    schedd.never_start = True
    for cluster, user in (("ended", "alice"), ("alive", "alice"), ("bobs", "bob")):
        await schedd.submit(
            worker_jobs(JobRequest(gateway, cluster, user, 1, 2**30, "/s", worker_names=("w",)))
        )
    return schedd


def clusters(schedd: FakeSchedd) -> set[str]:
    return {job.observed.cluster_name for job in schedd.jobs.values()}


Says = Callable[..., Leftovers]


@pytest.fixture
def says(tmp_path: Path) -> Says:
    """Makes one whose gateway gives these answers, one after the other."""

    def make(schedds: dict[str, FakeSchedd], *answers: Any, **options: Any) -> Leftovers:
        left = list(answers)

        async def ask() -> object:
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return Leftovers(DoubleAccess(schedds=schedds, **options), tmp_path, ask)

    return make


async def test_jobs_of_clusters_that_have_ended(says: Says) -> None:
    schedd = await filled()
    await says({"": schedd}, ANSWER).clean()
    assert clusters(schedd) == {"alive", "bobs"}
    assert schedd.acts == [(Action.REMOVE, ["1.0"])]
    assert schedd.closed


async def test_running_ones_at_the_second_look(says: Says) -> None:
    schedd = await filled()
    schedd.never_start = False
    leftovers = says({"": schedd}, ANSWER)
    await leftovers.clean()
    assert clusters(schedd) == {"ended", "alive", "bobs"}
    await leftovers.clean()
    assert clusters(schedd) == {"alive", "bobs"}


async def spooled(cluster: str = "ended", user: str = "alice") -> FakeSchedd:
    """Two jobs that have ended and wait for somebody to fetch their output."""
    schedd = FakeSchedd()
    request = JobRequest("g1", cluster, user, 1, 2**30, "/s", worker_names=("w1", "w2"), spool=True)
    for job_id in await schedd.submit(worker_jobs(request)):
        schedd.end(job_id)
    return schedd


async def test_output_and_secrets_in_the_spool(says: Says, tmp_path: Path) -> None:
    sandbox, schedd = with_secrets(tmp_path, "ended"), await spooled()
    await says({"": schedd}, ANSWER).clean()
    assert schedd.fetches == [(["1.0", "1.1"], str(sandbox))]
    assert schedd.jobs == {}
    assert [ids for _, ids in schedd.acts if ids] == []  # fetched jobs leave by themselves


async def test_output_that_nobody_can_fetch(says: Says, tmp_path: Path) -> None:
    """The sandbox has gone, or it is full: what is in the spool goes all the same."""
    schedd = await spooled()
    await says({"": schedd}, ANSWER).clean()
    assert (schedd.fetches, schedd.jobs) == ([], {})
    with_secrets(tmp_path, "ended")
    schedd = await spooled()
    schedd.refuse_output = "No space left on device"
    await says({"": schedd}, ANSWER).clean()
    assert (len(schedd.fetches), schedd.jobs) == (1, {})


@pytest.mark.parametrize(("cluster", "user"), [("alive", "alice"), ("bobs", "bob")])
async def test_output_that_others_fetch(says: Says, tmp_path: Path, cluster: str, user: str) -> None:
    with_secrets(tmp_path, cluster)
    schedd = await spooled(cluster, user)
    await says({"": schedd}, ANSWER).clean()
    assert (schedd.fetches, len(schedd.jobs)) == ([], 2)


async def test_of_another_gateway_nothing(says: Says) -> None:
    schedd = await filled("g2")
    await says({"": schedd}, ANSWER).clean()
    assert schedd.acts == []


@pytest.mark.parametrize(
    "second",
    [
        GatewayUnreachableError("http://x", "refused"),
        asyncio.TimeoutError(),
        {},
        {**ANSWER, "gateway": "g9"},
        {**ANSWER, "clusters": ["alive", "ended"]},  # it began after the first answer
    ],
)
async def test_nothing_without_the_gateways_word(says: Says, second: Any, tmp_path: Path) -> None:
    sandbox = with_secrets(tmp_path, "ended")
    schedd = await filled()
    await says({"": schedd}, ANSWER, second).clean()
    await says({"": schedd}, second if not isinstance(second, dict) else {}).clean()
    assert [ids for _, ids in schedd.acts if ids] == []
    assert (sandbox / "dask.pem").exists()


async def test_each_schedd_by_itself(says: Says) -> None:
    first, second = FakeSchedd(), await filled()
    first.unavailable = "it sleeps"
    await says({"a@": first, "b@": second}, ANSWER, schedd_names=("a@", "b@")).clean()
    assert clusters(second) == {"alive", "bobs"}
    assert first.closed


async def test_jobs_that_the_schedd_does_not_let_us_remove(says: Says) -> None:
    schedd = await filled()
    schedd.refuse_action = "Permission denied"
    await says({"": schedd}, ANSWER).clean()


def with_secrets(root: Path, cluster: str) -> Path:
    sandbox = SessionSandbox(root / cluster, cluster)
    sandbox.prepare({"dask.pem": "key"})
    sandbox.write("workers.sub", '+HTCDaskGateway = "g1"\n+HTCDaskUser = "alice"\n')
    return sandbox.path


async def test_secrets(says: Says, tmp_path: Path) -> None:
    ended, alive = with_secrets(tmp_path, "ended"), with_secrets(tmp_path, "alive")
    no_schedd = FakeSchedd()
    no_schedd.unavailable = "it sleeps"
    await says({"": no_schedd}, ANSWER).clean()
    assert not (ended / "dask.pem").exists()
    assert (ended / "workers.sub").exists()
    assert (alive / "dask.pem").exists()


async def test_all_schedds_of_the_pool_where_one_is_chosen(
    says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Collector:
        async def schedds(self, constraint: str = "") -> list[Any]:
            return [type("Load", (), {"name": name})() for name in ("a@", "b@", "c@")]

        async def close(self) -> None: ...

    monkeypatch.setattr(DoubleAccess, "_collector", lambda self: Collector())
    monkeypatch.setattr(module, "MOST_SCHEDDS", 2)
    for options in (
        {"schedd_constraint": "true"},
        {"interface": "tools", "programs": {"condor_submit": "/site/condor_submit"}},
    ):
        schedds = {"a@": await filled(), "b@": await filled()}
        await says(schedds, ANSWER, **options).clean()
        assert [clusters(schedd) for schedd in schedds.values()] == [{"alive", "bobs"}] * 2
