"""The loop over the queue, with a schedd in memory whose faults can be switched on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from dask_gateway_server.backends.db_base import Cluster, JobStatus, Worker
from tests.doubles import FakeSchedd
from tests.unit.server.conftest import records

from htcdaskgateway.condor.jobs import JobRequest, worker_jobs
from htcdaskgateway.condor.schedd import Action, ObservedJob, SubmitDescription
from htcdaskgateway.errors import (
    SandboxError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)
from htcdaskgateway.records import WorkerState
from htcdaskgateway.server.keeper import Keeper
from htcdaskgateway.server.report import record, report
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.verdicts import Limits, Link

GATEWAY = "gateway-1"


class Scene:
    """One gateway without its processes: records, keeper, schedd."""

    def __init__(self, url: str = "sqlite:///:memory:", schedd: FakeSchedd | None = None) -> None:
        self.db = records(url)
        self.store = WorkerStore(self.db, failure_limit=3)
        self.schedd = schedd or FakeSchedd()
        self.sandbox_broken = self.spool = False
        self.keeper = Keeper(
            self.schedd,
            GATEWAY,
            self.store,
            describe=self.describe,
            last_words=self.last_words,
            limits=Limits(start=600, lost=30, idle=0, period=5, grace=0),
            log=logging.getLogger("test"),
            sandbox=lambda cluster: f"/sandboxes/{cluster}",
        )

    async def last_words(self, cluster: Cluster, worker: str) -> str:
        return "last words"

    def describe(self, cluster: Cluster, names: Sequence[str]) -> SubmitDescription:
        if self.sandbox_broken:
            raise SandboxError("/sandbox", "No space left on device")
        return worker_jobs(
            JobRequest(
                GATEWAY, cluster.name, cluster.username, 1, 2**30, "/sandbox", tuple(names), spool=self.spool
            )
        )

    def cluster(self, user: str = "analyst") -> Cluster:
        made = self.db.create_cluster(user, {}, {})
        self.db.update_cluster(made, status=JobStatus.RUNNING)
        return made

    def scale(self, cluster: Cluster, count: int) -> None:
        self.db.update_cluster(cluster, count=count)
        self.store.match_count(cluster)

    def wanted(self, cluster: Cluster) -> list[Worker]:
        return list(self.store.wanted(cluster))

    def states(self, cluster: Cluster) -> list[str]:
        return sorted(str(one.state) for one in report(self.store, cluster))

    def reasons(self, cluster: Cluster) -> set[str]:
        return {one.reason for one in report(self.store, cluster)}

    def close(self) -> None:
        self.db.db.dispose()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


async def test_a_scale_request_is_one_transaction_and_one_query_serves_all_clusters(scene: Scene) -> None:
    first, second = scene.cluster(), scene.cluster("analyst2")
    scene.scale(first, 1000)
    scene.scale(second, 3)
    await scene.keeper.round()
    assert [len(description.worker_names) for description in scene.schedd.submits] == [1000, 3]
    assert scene.schedd.queries == 1
    assert scene.states(second) == ["starting"] * 3
    await scene.keeper.round()
    assert len(scene.schedd.submits) == 2


async def test_a_removal_is_one_act_over_all_clusters(scene: Scene) -> None:
    clusters = [scene.cluster(), scene.cluster()]
    for cluster in clusters:
        scene.scale(cluster, 50)
    await scene.keeper.round()
    scene.scale(clusters[0], 0)
    scene.db.update_cluster(clusters[1], target=JobStatus.STOPPED)
    await scene.keeper.round()
    assert [(action, len(ids)) for action, ids in scene.schedd.acts] == [(Action.REMOVE, 100)]


async def test_a_schedd_that_is_silent_decides_nothing(scene: Scene) -> None:
    cluster = scene.cluster()
    scene.scale(cluster, 3)
    await scene.keeper.round()
    before = report(scene.store, cluster)
    scene.schedd.silent = "not acted"
    for _ in range(3):
        with pytest.raises(ScheddSilentError):
            await scene.keeper.round()
    assert report(scene.store, cluster) == before
    assert scene.keeper.trouble == "The schedd fake@ did not answer a query in 30 s."
    scene.schedd.silent = ""
    await scene.keeper.round()
    assert scene.keeper.trouble == ""
    assert (len(scene.schedd.submits), scene.schedd.acts) == (1, [])


@pytest.mark.parametrize("outcome", ["acted", "not acted"])
async def test_a_submit_whose_answer_is_lost(scene: Scene, outcome: str) -> None:
    cluster = scene.cluster()
    scene.scale(cluster, 3)
    scene.schedd.silent = outcome
    with pytest.raises(ScheddSilentError):
        await scene.keeper.submit(cluster)
    with pytest.raises(ScheddSilentError):
        await scene.keeper.round()
    assert set(scene.states(cluster)) == {"wanted"}
    scene.schedd.silent = ""
    for _ in range(3):
        await scene.keeper.round()
    assert len(scene.schedd.submits) == 1
    assert len(scene.schedd.jobs) == 3
    assert scene.states(cluster) == ["starting"] * 3
    assert {job.observed.worker_name for job in scene.schedd.jobs.values()} == {
        worker.name for worker in scene.wanted(cluster)
    }


@pytest.mark.parametrize("outcome", ["acted", "not acted"])
async def test_a_gateway_that_ends_during_a_submit(tmp_path: Path, outcome: str) -> None:
    url = f"sqlite:///{tmp_path}/db"
    first = Scene(url)
    cluster = first.cluster()
    first.scale(cluster, 3)
    first.schedd.silent = outcome  # what this gateway would have heard does not matter
    with pytest.raises(ScheddSilentError):
        await first.keeper.submit(cluster)
    first.close()
    first.schedd.silent = ""
    second = Scene(url, first.schedd)
    for _ in range(3):
        await second.keeper.round()
    assert len(second.schedd.jobs) == 3
    assert second.states(second.db.get_cluster(cluster.name)) == ["starting"] * 3
    second.close()


class Choosing(FakeSchedd):
    """Its name is found out late: when there are to be jobs, or when lost ones are looked for."""

    def __init__(self, found: str) -> None:
        super().__init__()
        self.known, self.found = "", found
        self.settled: list[Sequence[str]] = []

    @property
    def name(self) -> str:
        return self.known

    async def settle(self, gateway: str, lost: Sequence[str]) -> None:
        assert gateway == GATEWAY
        self.settled.append(lost)
        if self.found == "first" or (lost and self.found == "later"):
            self.known = "chosen@"
        elif lost and self.found == "fails":
            raise ScheddUnavailableError("", "No schedd shows the jobs")

    async def query(self, gateway: str, cluster: str = "") -> list[ObservedJob]:
        """Of the right schedd, if it is known; else of this host's."""
        found = await super().query(gateway, cluster)
        return found if self.known else []


@pytest.mark.parametrize("found", ["first", "later"])
async def test_the_schedd_of_a_lost_submit_is_found_again(tmp_path: Path, found: str) -> None:
    url = f"sqlite:///{tmp_path}/db"
    schedd = Choosing(found)
    first = Scene(url, schedd)
    cluster = first.cluster()
    first.scale(cluster, 3)
    schedd.silent = "acted"
    with pytest.raises(ScheddSilentError):
        await first.keeper.submit(cluster)
    saved = {worker.state["schedd"] for worker in first.wanted(cluster)}
    first.close()
    assert saved == ({"chosen@"} if found == "first" else {""})
    schedd.silent, schedd.settled = "", []
    # What keepers are made with is the name in the records.
    schedd.known = saved.pop()
    second = Scene(url, schedd)
    for _ in range(3):
        await second.keeper.round()
    assert len(schedd.submits) == 1
    again = second.db.get_cluster(cluster.name)
    assert second.states(again) == ["starting"] * 3
    assert {worker.state["schedd"] for worker in second.wanted(again)} == {"chosen@"}
    assert schedd.settled == ([] if found == "first" else [[cluster.name]])
    second.close()


async def test_nothing_is_submitted_before_lost_jobs_are_found() -> None:
    schedd = Choosing("fails")
    scene = Scene(schedd=schedd)
    cluster = scene.cluster()
    scene.scale(cluster, 1)
    schedd.silent = "acted"
    with pytest.raises(ScheddSilentError):
        await scene.keeper.submit(cluster)
    schedd.silent = ""
    scene.scale(cluster, 3)
    for _ in range(3):
        with pytest.raises(ScheddUnavailableError):
            await scene.keeper.round()
    assert len(schedd.submits) == 1
    assert "No schedd shows the jobs" in scene.keeper.trouble
    schedd.found = "later"
    await scene.keeper.round()
    await scene.keeper.round()
    assert [len(one.worker_names) for one in schedd.submits] == [1, 2]
    assert scene.states(cluster) == ["starting"] * 3
    scene.close()


@pytest.mark.parametrize("found", ["later", "never"])
async def test_lost_jobs_that_nobody_wants_any_more_are_sought_once(found: str) -> None:
    schedd = Choosing(found)
    scene = Scene(schedd=schedd)
    cluster = scene.cluster()
    scene.scale(cluster, 3)
    schedd.silent = "acted" if found == "later" else "not acted"
    with pytest.raises(ScheddSilentError):
        await scene.keeper.submit(cluster)
    schedd.silent, schedd.settled = "", []
    scene.scale(cluster, 0)
    scene.db.update_cluster(cluster, target=JobStatus.STOPPED, status=JobStatus.STOPPED)
    for _ in range(3):
        await scene.keeper.look()
    assert schedd.settled == [[cluster.name]]
    assert schedd.jobs == {}
    scene.close()


async def test_what_was_refused_is_not_sought() -> None:
    schedd = Choosing("fails")
    schedd.refuse = "over quota"
    scene = Scene(schedd=schedd)
    scene.scale(scene.cluster(), 2)
    await scene.keeper.round()
    assert schedd.settled == [[]]
    scene.close()


async def test_two_jobs_of_one_worker(scene: Scene) -> None:
    cluster = scene.cluster()
    scene.scale(cluster, 1)
    await scene.keeper.round()
    [worker] = scene.wanted(cluster)
    await scene.schedd.submit(scene.describe(cluster, [worker.name]))
    await scene.keeper.round()
    assert list(scene.schedd.jobs) == [worker.state["job_id"]]


async def test_jobs_that_nobody_knows_are_removed_and_those_of_another_gateway_are_not(scene: Scene) -> None:
    request = JobRequest(GATEWAY, "gone", "analyst", 1, 2**30, "/sandbox", ("w1", "w2"))
    await scene.schedd.submit(worker_jobs(request))
    other = JobRequest("gateway-2", "theirs", "analyst", 1, 2**30, "/sandbox", ("w3",))
    theirs = await scene.schedd.submit(worker_jobs(other))
    await scene.keeper.round()
    assert list(scene.schedd.jobs) == theirs


async def test_a_schedd_that_cannot_be_reached_is_waited_for(scene: Scene) -> None:
    cluster = scene.cluster()
    scene.scale(cluster, 2)
    scene.schedd.unavailable = "no route to host"
    with pytest.raises(ScheddUnavailableError):
        await scene.keeper.round()
    assert scene.states(cluster) == ["wanted"] * 2
    assert scene.reasons(cluster) == {"The schedd fake@ cannot be reached. no route to host"}
    scene.schedd.unavailable = ""
    await scene.keeper.round()
    assert scene.states(cluster) == ["starting"] * 2
    assert scene.reasons(cluster) == {""}


async def test_refused_submits_end_after_a_few_attempts(scene: Scene) -> None:
    cluster = scene.cluster()
    scene.scale(cluster, 5)
    scene.schedd.refuse = "over quota"
    for _ in range(6):
        await scene.keeper.round()
    assert len(scene.schedd.submits) == 3
    assert scene.wanted(cluster) == []
    assert scene.reasons(cluster) == {"The schedd fake@ refused the jobs. over quota"}
    assert "over quota" in scene.store.watch(cluster).problem
    scene.store.try_again(cluster)
    scene.store.match_count(cluster)
    with pytest.raises(SubmitRefusedError):
        await scene.keeper.submit(cluster)


async def test_a_sandbox_that_cannot_be_written_is_waited_for(scene: Scene) -> None:
    cluster = scene.cluster()
    scene.scale(cluster, 1)
    scene.sandbox_broken = True
    for _ in range(6):
        await scene.keeper.round()
    assert scene.reasons(cluster) == {"The sandbox /sandbox cannot be written. No space left on device"}
    assert scene.schedd.submits == []
    assert scene.states(cluster) == ["wanted"]
    scene.sandbox_broken = False
    await scene.keeper.round()
    assert len(scene.schedd.submits) == 1
    assert scene.reasons(cluster) == {""}


async def test_one_cluster_that_is_refused_does_not_keep_the_others_waiting(scene: Scene) -> None:
    broken, fine = scene.cluster(), scene.cluster()
    scene.scale(broken, 1)
    scene.scale(fine, 1)
    scene.schedd.refuse = "over quota"
    await scene.keeper.round()
    scene.schedd.refuse = ""
    await scene.keeper.round()
    assert scene.states(fine)[-1] == "starting"


async def test_a_held_job_fails_its_worker_and_is_removed(scene: Scene) -> None:
    cluster = scene.cluster()
    scene.scale(cluster, 2)
    await scene.keeper.round()
    victim, other = scene.wanted(cluster)
    scene.schedd.hold(victim.state["job_id"], "no such file", 13, 2)
    await scene.keeper.round()
    told = record(scene.store, victim)
    assert (told.state, told.reason) == (WorkerState.FAILED, "held: [13/2] no such file")
    await scene.keeper.round()
    assert victim.state["job_id"] not in scene.schedd.jobs
    assert other in scene.wanted(cluster)
    assert len(scene.wanted(cluster)) == 2


async def test_a_job_that_ended_is_replaced_and_its_record_says_how(scene: Scene) -> None:
    cluster = scene.cluster()
    scene.scale(cluster, 1)
    await scene.keeper.round()
    [worker] = scene.wanted(cluster)
    scene.schedd.end(worker.state["job_id"], exit_code=66)
    await scene.keeper.round()
    assert record(scene.store, worker).reason == "its job ended with exit code 66; last words: last words"
    assert scene.schedd.searches == 1
    await scene.keeper.round()
    assert scene.states(cluster) == ["failed", "starting"]


async def test_a_job_that_was_retired_has_finished(scene: Scene) -> None:
    cluster = scene.cluster()
    scene.scale(cluster, 1)
    await scene.keeper.round()
    [worker] = scene.wanted(cluster)
    scene.store.watch(cluster).links[worker.name] = (Link.RETIRING, 0.0)
    scene.store.save([(worker, {"close_expected": True})])
    scene.db.update_cluster(cluster, count=0)
    scene.schedd.end(worker.state["job_id"], exit_code=0)
    await scene.keeper.round()
    assert scene.states(cluster) == ["finished"]
    assert scene.schedd.searches == 0


async def test_a_worker_that_is_stopped_while_the_history_is_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = scene.cluster()
    scene.scale(cluster, 1)
    await scene.keeper.round()
    [worker] = scene.wanted(cluster)
    scene.schedd.end(worker.state["job_id"], exit_code=1)
    search = scene.schedd.ended

    async def stop_meanwhile(job_ids: Sequence[str]) -> object:
        scene.store.finish([worker])
        return await search(job_ids)

    monkeypatch.setattr(scene.schedd, "ended", stop_meanwhile)
    await scene.keeper.round()
    assert record(scene.store, worker).state is WorkerState.FINISHED


async def test_the_loop_ends_although_it_is_kicked_at_the_same_moment(scene: Scene) -> None:
    for _ in range(5):
        working = asyncio.ensure_future(scene.keeper.run())
        while not scene.schedd.queries:  # noqa: ASYNC110 - a double has no event
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # it waits for the next round now
        scene.keeper.kick()
        await asyncio.sleep(0)
        scene.keeper.stop()
        working.cancel()
        done, _pending = await asyncio.wait([working], timeout=5)
        assert done
        scene.schedd.queries = 0
        scene.keeper.stopped = False


async def test_clear_waits_until_the_queue_is_empty(scene: Scene) -> None:
    import time

    cluster = scene.cluster()
    scene.scale(cluster, 3)
    await scene.keeper.round()
    scene.db.update_cluster(cluster, target=JobStatus.STOPPED)
    await scene.keeper.clear(time.time() + 10)
    assert scene.schedd.jobs == {}


async def test_output_of_a_spooled_job_is_fetched_before_it_is_judged(scene: Scene) -> None:
    scene.spool = True
    cluster = scene.cluster()
    scene.scale(cluster, 1)
    await scene.keeper.round()
    [worker] = scene.wanted(cluster)
    scene.schedd.end(worker.state["job_id"], exit_code=68)
    assert not scene.keeper.clean
    await scene.keeper.look()
    assert scene.schedd.fetches == [([worker.state["job_id"]], f"/sandboxes/{cluster.name}")]
    assert "its job ended with exit code 68; last words: last words" in scene.reasons(cluster)
    assert scene.schedd.searches == 0  # the queue has said it


async def test_output_that_cannot_be_fetched_holds_nothing_up(scene: Scene) -> None:
    scene.spool, scene.schedd.refuse_output = True, "no space left"
    cluster = scene.cluster()
    scene.scale(cluster, 1)
    await scene.keeper.round()
    [worker] = scene.wanted(cluster)
    scene.schedd.end(worker.state["job_id"], exit_code=1)
    await scene.keeper.round()
    assert "its job ended with exit code 1; last words: last words" in scene.reasons(cluster)
    await scene.keeper.round()
    assert scene.states(cluster) == ["failed", "starting"]


async def test_a_keeper_leaves_jobs_of_others_alone(scene: Scene) -> None:
    mine, other = scene.cluster(), scene.cluster("analyst2")
    for cluster in (mine, other):
        scene.scale(cluster, 1)
    await scene.keeper.round()
    keeper = scene.keeper
    keeper.clusters, keeper.is_mine = lambda: [], lambda name: name == mine.name
    await keeper.look()
    assert [len(ids) for _, ids in scene.schedd.acts] == [1]
    [kept] = scene.wanted(other)
    assert scene.schedd.status(kept.state["job_id"]) is not None


async def test_jobs_that_waited_too_long_are_submitted_again_and_are_no_failed_starts(scene: Scene) -> None:
    scene.schedd.never_start = True
    cluster = scene.cluster()
    scene.scale(cluster, 2)
    for _ in range(5):  # the limit of failures is 3
        await scene.keeper.round()
        first = {worker.name for worker in scene.wanted(cluster)}
        assert len(first) == 2
        for job_id in list(scene.schedd.jobs):
            why = "The job attribute PeriodicRemove expression '(JobStatus =?= 1)' evaluated to TRUE"
            scene.schedd.remove(job_id, why)
        await scene.keeper.look()
    assert len(scene.schedd.submits) == 5
    assert not scene.store.given_up(cluster)
    assert any(f"its job was removed: {why}" in reason for reason in scene.reasons(cluster))
    await scene.keeper.round()
    assert len(scene.wanted(cluster)) == 2
