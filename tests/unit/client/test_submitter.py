"""A session's thread and the gateway's orders, over a real connection; only the schedd is a double."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.doubles import FakeSchedd
from tests.support.session_gateway import CLUSTER, SessionGateway, until

from htcdaskgateway import HTCGateway
from htcdaskgateway.client import submitter as module
from htcdaskgateway.client import upkeep
from htcdaskgateway.client.conversation import ENDED_SECONDS
from htcdaskgateway.client.session_credentials import Credential, SessionCredentials
from htcdaskgateway.client.session_sandbox import MARKER, SessionSandbox
from htcdaskgateway.client.submitter import Submitter
from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.jobs import JobRequest, worker_jobs
from htcdaskgateway.condor.schedd import Action, EndedJob, JobStatus, Schedd, SubmitDescription
from htcdaskgateway.credentials.errors import CredentialMissingError
from htcdaskgateway.credentials.policy import Policy, Rule, Use
from htcdaskgateway.errors import ScheddSilentError, ScheddUnavailableError, SubmitRefusedError
from htcdaskgateway.server.session_schedd import NoSessionAttachedError

SECRETS = {"dask.crt": "certificate", "dask.pem": "-- the private key --"}


@dataclass(frozen=True)
class DoubleAccess(Access):
    interface: str = "processes"
    double: FakeSchedd = field(default_factory=FakeSchedd)

    def schedd(self, name: str = "") -> Schedd:
        return self.double


def jobs(*names: str) -> SubmitDescription:
    return worker_jobs(
        JobRequest(
            gateway="g", cluster_name=CLUSTER, user="alice", cores=1, memory=2**30,
            sandbox="/placeholder", worker_names=names,
        )
    )  # fmt: skip


@pytest.fixture
async def server() -> AsyncIterator[SessionGateway]:
    gateway = SessionGateway()
    await gateway.start()
    yield gateway
    await gateway.stop()


Attach = Callable[..., Submitter]


@pytest.fixture
async def attach(server: SessionGateway, tmp_path: Path) -> AsyncIterator[Attach]:
    """Starts sessions: ``attach(schedd)``."""
    client = HTCGateway(server.url, asynchronous=True)
    started: list[Submitter] = []

    def start(schedd: FakeSchedd | None = None, **options: Any) -> Submitter:
        sandbox = SessionSandbox(tmp_path / f"s{len(started)}" / CLUSTER, CLUSTER)
        access = DoubleAccess(double=schedd or FakeSchedd())
        submitter = Submitter(client, CLUSTER, SECRETS, access=access, sandbox=sandbox, **options)
        started.append(submitter)
        submitter.start()
        return submitter

    yield start
    for submitter in started:
        submitter.end()
    await until(lambda: not any(submitter.alive for submitter in started), "the end of all sessions")
    await client.close()


async def attached(submitter: Submitter) -> Submitter:
    await until(lambda: submitter.role == "submitter", "the session is attached")
    return submitter


async def test_one_can_wait_until_it_is_attached(server: SessionGateway, attach: Attach) -> None:
    server.status = 503
    submitter = attach()
    assert not await submitter.attached(0.1)
    server.status = 0
    assert await submitter.attached(5)
    submitter.end()
    await until(lambda: not submitter.alive, "the session ends")
    assert not await submitter.attached(5)


async def test_all_calls_go_round(server: SessionGateway, attach: Attach) -> None:
    fake = FakeSchedd()
    submitter = await attached(attach(fake))
    ids = await server.schedd.submit(jobs("w1", "w2"))
    assert ids == ["1.0", "1.1"]
    assert server.schedd.name == "fake@"
    found = await server.schedd.query("g")
    assert {job.worker_name: job.status for job in found} == dict.fromkeys(("w1", "w2"), JobStatus.RUNNING)
    assert await server.schedd.act(Action.REMOVE, ids[:1]) == 1
    fake.end(ids[1], 66)
    ended = await server.schedd.ended(ids)
    assert ended[1:] == [EndedJob("1.1", JobStatus.COMPLETED, 66)]
    assert ended[0].status is JobStatus.REMOVED
    about = server.orders.about
    assert about["sandbox"] == str(submitter.sandbox.path)
    assert set(about) == {"host", "user", "interface", "schedd", "sandbox", "version", "process"}


async def test_jobs_run_in_the_sessions_own_sandbox(server: SessionGateway, attach: Attach) -> None:
    fake = FakeSchedd()
    submitter = await attached(attach(fake))
    await server.schedd.submit(jobs("w1"))
    path = submitter.sandbox.path
    assert fake.submits[0].commands["initialdir"] == str(path)
    assert fake.submits[0].commands["executable"] == f"{path}/start_worker.sh"
    assert {file.name for file in path.iterdir()} == {
        "dask.crt", "dask.pem", "start_worker.sh", "workers.sub", MARKER,
    }  # fmt: skip
    assert (path / "workers.sub").read_text() == str(fake.submits[0])
    assert "private key" not in str(server.heard) + str(fake.submits) + repr(submitter)


class NotedCredentials(SessionCredentials):
    """Counts the looks at the user's files."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy, {"X509_USER_PROXY": "/nowhere/proxy"})
        self.looks = 0

    def renew(self, sandbox: Path) -> dict[str, Credential]:
        self.looks += 1
        return super().renew(sandbox)


async def test_jobs_wait_for_a_credential(
    server: SessionGateway, attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "LOOK_PERIOD", 0.05)
    fake, credentials = FakeSchedd(), NotedCredentials(Policy(x509=Rule(Use.REQUIRED)))
    submitter = await attached(attach(fake, credentials=credentials))
    with pytest.raises(CredentialMissingError):
        await submitter.check_credentials()
    with pytest.raises(ScheddUnavailableError, match=r"no X\.509 proxy at /nowhere/proxy") as caught:
        await server.schedd.submit(jobs("w1"))
    assert "voms-proxy-init" in caught.value.words
    assert fake.submits == []
    await until(lambda: credentials.looks > 1, "it looks again and again")
    watcher = attach(fake, credentials=NotedCredentials(Policy(x509=Rule(Use.REQUIRED))))
    await until(lambda: watcher.role == "watcher", "the second one watches")
    await watcher.check_credentials()  # they are not what the jobs get


async def test_the_sandbox_is_said_to_be_in_use(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or another session of the user's takes it for one of the past, after the days that they are kept."""
    monkeypatch.setattr(upkeep, "KEEP_PERIOD", 0.05)
    kept: list[Path] = []
    monkeypatch.setattr(SessionSandbox, "keep", lambda sandbox: kept.append(sandbox.path))
    submitter = await attached(attach())
    await until(lambda: len(kept) > 1, "it is said again and again")
    assert set(kept) == {submitter.sandbox.path}


@pytest.mark.filterwarnings("ignore::aiohttp.web.NotAppKeyWarning")
@pytest.mark.parametrize("body", ["[" * 100_000, '{"about": ' * 100_000, "{", "[]"])
async def test_what_is_no_poll_is_refused(server: SessionGateway, body: str) -> None:
    async with aiohttp.ClientSession() as http:
        url = f"{server.url}/api/v1/clusters/{CLUSTER}/session"
        async with http.post(url, data=body) as answer:
            assert answer.status == 422
            assert "This is no poll of a session" in await answer.text()


async def test_the_sandbox_is_deleted_behind_our_back(server: SessionGateway, attach: Attach) -> None:
    submitter = await attached(attach())
    await server.schedd.submit(jobs("w1"))
    for file in submitter.sandbox.path.iterdir():
        file.unlink()
    submitter.sandbox.path.rmdir()
    await server.schedd.submit(jobs("w2"))
    assert (submitter.sandbox.path / "dask.pem").read_text() == SECRETS["dask.pem"]


async def test_errors_keep_their_words(server: SessionGateway, attach: Attach) -> None:
    fake = FakeSchedd()
    submitter = await attached(attach(fake))
    fake.refuse = "Your experiment is over"
    with pytest.raises(SubmitRefusedError, match="Your experiment is over"):
        await server.schedd.submit(jobs("w1"))
    fake.unavailable = "Failed to connect"
    with pytest.raises(ScheddUnavailableError, match="Failed to connect"):
        await server.schedd.query("g")
    fake.unavailable = fake.refuse = ""
    submitter.sandbox.path.chmod(0o755)
    with pytest.raises(ScheddUnavailableError) as caught:  # its owner can mend it: workers wait
        await server.schedd.submit(jobs("w1"))
    assert caught.value.sentence == f"The sandbox {submitter.sandbox.path} cannot be written."
    assert "open to them" in caught.value.words
    assert submitter.trouble == ""


async def test_a_session_whose_process_has_ended_is_not_waited_for(
    server: SessionGateway, attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = {"process": "of a kernel that was killed"}
    monkeypatch.setattr(module, "has_ended", dead["process"].__eq__)
    server.orders.poll("b" * 32, dead, time.monotonic())
    started = time.monotonic()
    submitter = attach()
    assert await submitter.attached(5)
    await attached(submitter)
    assert ENDED_SECONDS <= time.monotonic() - started < server.lease / 2
    # One that lives, or that cannot be seen, has its lease.
    late = attach()
    assert await late.attached(5)
    await asyncio.sleep(ENDED_SECONDS + 1)
    assert (submitter.role, late.role) == ("submitter", "watcher")


async def test_who_is_said_to_have_ended_and_is_not_the_one_stays(server: SessionGateway) -> None:
    now = time.monotonic()
    server.orders.poll("b" * 32, {"process": "mine"}, now)
    async with aiohttp.ClientSession() as http:
        url = f"{server.url}/api/v1/clusters/{CLUSTER}/session"
        for ended, role in (("", "watcher"), ("another", "watcher"), (1, "watcher"), ("mine", "submitter")):
            body = {"session": "a" * 32, "wait": 0, "ended": ended}
            async with http.post(url, json=body) as answer:
                assert (await answer.json())["role"] == role


@pytest.mark.parametrize("stopped", [True, False])
async def test_the_jobs_of_a_stopped_cluster_go_without_a_gateway_too(
    server: SessionGateway, attach: Attach, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    monkeypatch.setattr(module, "FINISH_SECONDS", 0.2)
    fake = FakeSchedd()
    submitter = await attached(attach(fake))
    ids = await server.schedd.submit(jobs("w1", "w2"))
    assert len(await server.schedd.query("g")) == 2
    await server.stop()
    submitter.end(stopped=stopped)
    await until(lambda: not submitter.alive, "the session ends")
    ended = await fake.ended(ids)
    assert [job.status for job in ended] == ([JobStatus.REMOVED] * 2 if stopped else [])


class SlowSchedd(FakeSchedd):
    """Every submit, or every query, takes a while."""

    def __init__(self, submit: float = 0.0, query: float = 0.0) -> None:
        super().__init__()
        self.seconds = submit, query
        self.begun = threading.Event()

    async def submit(self, description: SubmitDescription) -> list[str]:
        self.begun.set()
        await asyncio.sleep(self.seconds[0])
        return await super().submit(description)

    async def query(self, gateway: str, cluster: str = "") -> Any:
        self.begun.set()
        await asyncio.sleep(self.seconds[1])
        return await super().query(gateway, cluster)


async def test_an_answer_does_not_wait_for_the_next_order(server: SessionGateway, attach: Attach) -> None:
    fake = SlowSchedd(query=1.0)
    await attached(attach(fake))
    calls = [asyncio.ensure_future(server.schedd.query("g")) for _ in range(3)]
    started, times = time.monotonic(), []
    for call in calls:
        await call
        times.append(time.monotonic() - started)
    assert 0.9 < times[0] < 1.8
    assert 1.9 < times[1] < 2.8  # one after the other
    assert 2.9 < times[2] < 3.8


async def test_the_lease_is_kept_during_a_long_order(server: SessionGateway, attach: Attach) -> None:
    server.orders.lease = 1.0
    fake = SlowSchedd(submit=2.5)
    await attached(attach(fake))
    submit = asyncio.ensure_future(server.schedd.submit(jobs("w1")))
    other = attach()
    await until(lambda: other.role == "watcher", "the other one watches")
    assert await submit == ["1.0"]
    assert other.role == "watcher"


async def test_an_order_that_was_lost_on_the_way_comes_again(server: SessionGateway, attach: Attach) -> None:
    fake = FakeSchedd()
    await attached(attach(fake))
    server.lose = 2
    assert await server.schedd.submit(jobs("w1")) == ["1.0"]
    assert server.lose == 0
    assert len(fake.submits) == 1


async def test_another_session_takes_over_from_one_that_leaves(
    server: SessionGateway, attach: Attach
) -> None:
    fake = FakeSchedd()
    first = await attached(attach(fake))
    second = attach(fake)
    await until(lambda: second.role == "watcher", "the second one watches")
    await server.schedd.submit(jobs("w1"))
    started = time.monotonic()
    first.end()
    assert time.monotonic() - started < 0.1  # it does not wait
    theirs = str(second.sandbox.path)
    await until(lambda: server.orders.about["sandbox"] == theirs, "the second one takes over", 3)
    assert first.join(1)
    # Jobs of an earlier session are found in the queue, by their ads.
    (job,) = await server.schedd.query("g")
    assert await server.schedd.act(Action.REMOVE, [job.job_id]) == 1


async def test_another_session_takes_over_from_one_that_died(server: SessionGateway, attach: Attach) -> None:
    server.orders.lease = 1.0
    dead = "d" * 32
    assert server.orders.poll(dead, {}, time.monotonic())
    second = attach()
    await until(lambda: second.role == "watcher", "the second one watches")
    lost = asyncio.ensure_future(server.schedd.query("g"))
    await asyncio.sleep(0)
    assert server.orders.take(dead)
    await attached(second)
    with pytest.raises(ScheddSilentError):
        await lost
    assert await server.schedd.query("g") == []


class SleepingSchedd(FakeSchedd):
    """The whole session stands still in the first submit, as if its machine slept."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds  # once

    async def submit(self, description: SubmitDescription) -> list[str]:
        seconds, self.seconds = self.seconds, 0
        time.sleep(seconds)  # noqa: ASYNC251 - it hangs
        return await super().submit(description)


async def test_asleep_for_longer_than_the_lease(server: SessionGateway, attach: Attach) -> None:
    server.orders.lease = 1.0
    fake = SleepingSchedd(2.5)
    sleeper = await attached(attach(fake))
    submit = asyncio.ensure_future(server.schedd.submit(jobs("w1")))
    # It will be in the sleeper's hand, too, when that wakes up.
    await until(lambda: bool(fake.queries), "the schedd is chosen")
    later = asyncio.ensure_future(server.schedd.submit(jobs("w2")))
    second = attach(fake)
    await attached(second)
    results = await asyncio.gather(submit, later, return_exceptions=True)
    assert isinstance(results[0], ScheddSilentError)
    await until(lambda: sleeper.role == "watcher", "the sleeper watches")
    await asyncio.sleep(0.2)
    # What it had begun is in the queue, where the new one finds it; what it had not begun never will be.
    names = [names for description in fake.submits for names in description.worker_names]
    assert names.count("w1") == 1
    assert names.count("w2") == (0 if isinstance(results[1], Exception) else 1)
    assert {job.worker_name for job in await server.schedd.query("g")} == set(names)


async def test_two_sessions_fight(server: SessionGateway, attach: Attach) -> None:
    """However often the lease changes hands: whatever was answered was done, once."""
    server.orders.lease = 0.5
    fake = SlowSchedd(submit=0.02)
    sessions = [attach(fake), attach(fake)]
    await until(lambda: {s.role for s in sessions} == {"submitter", "watcher"}, "one of them submits")
    outcomes: dict[str, list[str] | Exception] = {}
    for number in range(40):
        if number % 7 == 3:  # takes the lease from whoever has it
            server.orders.leave(server.orders.holder)
            await until(lambda: server.orders.attached(time.monotonic()), "one of them takes it")
        if number % 7 == 5:  # and in the middle of an order
            asyncio.get_running_loop().call_later(0.03, server.orders.leave, server.orders.holder)
        try:
            outcomes[f"w{number}"] = await server.schedd.submit(jobs(f"w{number}"))
        except (ScheddSilentError, ScheddUnavailableError) as error:
            outcomes[f"w{number}"] = error
            await until(lambda: server.orders.attached(time.monotonic()), "one of them takes it")
    submitted = [name for description in fake.submits for name in description.worker_names]
    assert len(submitted) == len(set(submitted))
    for name, outcome in outcomes.items():
        if isinstance(outcome, list):
            assert fake.id_of(name) == outcome[0]
        elif isinstance(outcome, ScheddUnavailableError):
            assert name not in submitted
    assert sum(isinstance(outcome, list) for outcome in outcomes.values()) > 20


async def test_a_late_answer_is_ignored(server: SessionGateway, attach: Attach) -> None:
    server.schedd.timeout = 0.3
    fake = SlowSchedd(query=0.6)
    submitter = await attached(attach(fake))
    with pytest.raises(ScheddSilentError):
        await server.schedd.query("g")
    await until(lambda: [told for told in server.heard if isinstance(told, tuple)], "the late answer")
    server.schedd.timeout = 5
    fake.seconds = 0, 0
    assert await server.schedd.query("g") == []
    assert submitter.trouble == ""


async def test_the_gateway_is_restarted(server: SessionGateway, attach: Attach) -> None:
    fake = SlowSchedd(submit=1.0)
    submitter = await attached(attach(fake))
    submit = asyncio.ensure_future(server.schedd.submit(jobs("w1")))
    await until(fake.begun.is_set, "the order is being carried out")
    await server.stop()
    submit.cancel()
    await until(lambda: submitter.trouble, "the session notices")
    assert "No gateway answers at http://127.0.0.1" in submitter.trouble
    await asyncio.sleep(1.5)
    await server.start()
    await until(lambda: server.orders.attached(time.monotonic()), "it is attached again")
    (job,) = await server.schedd.query("g")  # nothing is lost
    assert job.worker_name == "w1"
    assert len(fake.submits) == 1
    assert submitter.trouble == ""


NOT_OURS = (404, "Not Found\n"), (404, "404 page not found\n"), (404, "404: Not Found"), (422, "<html>")


@pytest.mark.parametrize(
    ("status", "page"), [*((status, "") for status in (500, 502, 503, 400, 429, 404)), *NOT_OURS]
)
async def test_troubles_that_pass(server: SessionGateway, attach: Attach, status: int, page: str) -> None:
    server.status, server.page = status, page
    submitter = attach()
    await until(lambda: submitter.trouble, "the session notices")
    assert "\n" not in submitter.trouble
    server.status = 0
    await attached(submitter)
    assert submitter.trouble == ""


@pytest.mark.parametrize(
    ("status", "says"), [(403, "no"), (404, f"Cluster {CLUSTER} not found"), (422, "no"), (409, "no")]
)
async def test_refusals_that_do_not(server: SessionGateway, attach: Attach, status: int, says: str) -> None:
    server.status, server.says = status, says
    submitter = attach()
    await until(lambda: not submitter.alive, "the session ends")
    assert says in submitter.trouble or submitter.trouble.startswith("The gateway at")
    assert submitter.role == "done"


@pytest.mark.parametrize("first", [True, False])
async def test_a_shutdown_after_a_refusal_leaves_nothing(
    server: SessionGateway, attach: Attach, first: bool
) -> None:
    """The thread has ended, or is about to: jobs and secrets go all the same."""
    fake = FakeSchedd()
    submitter = await attached(attach(fake))
    ids = await server.schedd.submit(jobs("w1", "w2"))
    await server.schedd.query("g")
    server.status = 403
    if first:
        submitter.end(stopped=True)
    server.orders.close()  # answers the poll
    if not first:
        await until(lambda: not submitter.alive, "the session ends")
        assert (submitter.sandbox.path / "dask.pem").exists()
        submitter.end(stopped=True)
    await until(lambda: not submitter.alive, "it has cleared up")
    assert [job.status for job in await fake.ended(ids)] == [JobStatus.REMOVED] * 2
    assert not (submitter.sandbox.path / "dask.pem").exists()
    submitter.end(stopped=True)  # as the end of Python does
    assert not submitter.alive


async def test_who_relies_on_it_lets_the_gateway_hear_of_it_now(
    server: SessionGateway, attach: Attach
) -> None:
    submitter = await attached(attach())
    await server.stop()
    await until(lambda: submitter.trouble, "the session notices")
    await asyncio.sleep(3)  # pauses have grown to seconds
    await server.start()
    started = time.monotonic()
    await submitter.attach_again(10)
    assert time.monotonic() - started < 0.5
    assert server.orders.attached(time.monotonic())
    assert submitter.trouble == ""
    # It waits for no longer than it may, and not for one that has ended.
    server.status = 503
    server.orders.close()
    await submitter.attach_again(0.2)
    submitter.end()
    await until(lambda: not submitter.alive, "the session ends")
    await submitter.attach_again(60)
    assert time.monotonic() - started < 10


async def test_an_answer_that_is_too_large(server: SessionGateway, attach: Attach) -> None:
    class Talkative(FakeSchedd):
        async def query(self, gateway: str, cluster: str = "") -> Any:
            server.status = 413
            return []

    await attached(attach(Talkative()))
    call = asyncio.ensure_future(server.schedd.query("g"))
    await until(lambda: server.refused, "the answer")
    server.status = 0
    with pytest.raises(ScheddSilentError, match="too large"):
        await call


async def test_after_shutdown_it_goes_on_until_the_gateway_is_done(
    server: SessionGateway, attach: Attach
) -> None:
    fake = FakeSchedd()
    submitter = await attached(attach(fake))
    ids = await server.schedd.submit(jobs("w1", "w2"))
    submitter.end(stopped=True)
    assert await server.schedd.act(Action.REMOVE, ids) == 2
    assert submitter.alive
    assert (submitter.sandbox.path / "dask.pem").exists()
    server.done = True
    with contextlib.suppress(ScheddUnavailableError):
        await server.schedd.query("g")
    await until(lambda: not submitter.alive, "the session ends")
    assert not server.orders.holder  # who asks for logs now does not wait for it
    left = {file.name for file in submitter.sandbox.path.iterdir()}
    assert left == {"start_worker.sh", "workers.sub", MARKER}


async def test_after_shutdown_it_does_not_go_on_for_ever(
    server: SessionGateway, attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FINISH_SECONDS", 0.5)
    submitter = await attached(attach())
    await server.schedd.submit(jobs("w1"))
    submitter.end(stopped=True)
    await until(lambda: not submitter.alive, "the session ends", 3)
    assert not (submitter.sandbox.path / "dask.pem").exists()
    assert server.orders.holder == ""


async def test_without_shutdown_the_jobs_keep_their_files(server: SessionGateway, attach: Attach) -> None:
    submitter = await attached(attach())
    await server.schedd.submit(jobs("w1"))
    submitter.end()
    await until(lambda: not submitter.alive, "the session ends", 3)
    assert (submitter.sandbox.path / "dask.pem").exists()
    with pytest.raises(NoSessionAttachedError):
        await server.schedd.query("g")


async def test_what_was_begun_is_finished_and_told(server: SessionGateway, attach: Attach) -> None:
    fake = SlowSchedd(submit=1.0)
    submitter = await attached(attach(fake))
    submit = asyncio.ensure_future(server.schedd.submit(jobs("w1")))
    await until(lambda: fake.begun.is_set() and fake.queries, "the submit has begun")
    await asyncio.sleep(0.2)
    submitter.end()
    assert await submit == ["1.0"]
    await until(lambda: not submitter.alive, "the session ends")


async def test_it_ends_while_no_gateway_answers(server: SessionGateway, attach: Attach) -> None:
    await server.stop()
    submitter = attach()
    await until(lambda: submitter.trouble, "the session notices")
    submitter.end()
    await until(lambda: not submitter.alive, "the session ends", 3)


async def test_it_ends_before_it_has_begun(server: SessionGateway, tmp_path: Path) -> None:
    client = HTCGateway(server.url, asynchronous=True)
    sandbox = SessionSandbox(tmp_path / CLUSTER, CLUSTER)
    submitter = Submitter(client, CLUSTER, SECRETS, access=DoubleAccess(), sandbox=sandbox)
    assert submitter.join(0)
    submitter.end()
    submitter.start()
    await until(lambda: not submitter.alive, "the session ends", 3)
    await client.close()


async def test_a_failure_of_our_own_is_told_and_not_printed(
    server: SessionGateway, attach: Attach, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(module, "Conversation", broken)
    submitter = attach()
    await until(lambda: not submitter.alive, "the session ends")
    assert submitter.trouble == "The submitter of this session ended: RuntimeError: a bug"
    assert capfd.readouterr() == ("", "")


SCRIPT = """
import sys
from pathlib import Path
from htcdaskgateway import HTCGateway
from htcdaskgateway.client.session_sandbox import SessionSandbox
from htcdaskgateway.client.submitter import Submitter
from htcdaskgateway.condor.access import Access
import time
gateway = HTCGateway(sys.argv[1])
root = Path(sys.argv[2])
access = Access("tools", programs={"condor_rm": str(root / "condor_rm")})
submitter = Submitter(gateway, "c1", {"dask.pem": "key"}, access=access,
                      sandbox=SessionSandbox(root / "c1", "c1"))
submitter.start()
while not submitter.role and not submitter.trouble:
    time.sleep(0.01)
print(submitter.role or submitter.trouble)
"""
SHUTDOWN = """
submitter.sandbox.prepare({"dask.pem": "key"})
submitter.end(stopped=True)
import atexit
atexit.register(lambda: (root / "ending").touch())
"""


@pytest.mark.parametrize("there", [True, False])
async def test_the_end_of_python(server: SessionGateway, tmp_path: Path, there: bool) -> None:
    """Nobody has closed anything: the lease is given back, and nothing printed."""
    if not there:
        await server.stop()
    started = time.monotonic()
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", SCRIPT, server.url, str(tmp_path)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip() == "submitter" or ran.stdout.startswith("No gateway answers")
    assert time.monotonic() - started < 20
    assert server.orders.holder == ""
    assert bool(server.heard) is there


async def test_the_end_of_python_after_a_shutdown(server: SessionGateway, tmp_path: Path) -> None:
    """Jobs are removed by the site's program, in a Python that starts no threads any more."""
    program = tmp_path / "condor_rm"
    program.write_text("#!/bin/sh\necho Job $1 marked for removal\n")
    program.chmod(0o755)
    running = asyncio.ensure_future(
        asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", SCRIPT + SHUTDOWN, server.url, str(tmp_path)],
            capture_output=True, text=True, timeout=60,
        )
    )  # fmt: skip
    await until((tmp_path / "ending").exists, "the end of Python", 30)
    await asyncio.sleep(0.3)
    assert not running.done()
    assert await server.schedd.act(Action.REMOVE, ["1.0"]) == 1
    server.done = True
    with contextlib.suppress(ScheddUnavailableError, ScheddSilentError):
        await server.schedd.query("g")  # so that it polls again
    ran = await asyncio.wait_for(running, 20)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "submitter\n", "")
    assert not (tmp_path / "c1" / "dask.pem").exists()
