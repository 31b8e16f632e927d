"""What every implementation of `Schedd` does, the test double included."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.conftest import REAL, Subject
from tests.doubles import FakeSchedd
from tests.support.pool import Pool

from htcdaskgateway.condor.schedd import Action, EndedJob, JobStatus
from htcdaskgateway.errors import (
    InvalidRequestError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)

only_real = pytest.mark.parametrize("subject", REAL, indirect=True)
which_run_jobs = pytest.mark.parametrize("subject", [*REAL, "processes"], indirect=True)
which_can_fail = pytest.mark.parametrize("subject", [*REAL, "fake"], indirect=True)


async def test_ids_come_in_the_order_of_the_names(subject: Subject) -> None:
    names = tuple(f"w{(index * 7) % 300:03}" for index in range(300))
    ids = await subject.schedd.submit(subject.description(*names))
    assert len(ids) == 300
    assert len({job_id.partition(".")[0] for job_id in ids}) == 1  # one HTCondor cluster: one transaction
    assert all(re.fullmatch(r"\d+\.\d+", job_id) for job_id in ids)
    jobs = await subject.schedd.query(subject.gateway)
    assert {job.worker_name: job.job_id for job in jobs} == dict(zip(names, ids, strict=True))
    assert {job.cluster_name for job in jobs} == {"c1"}
    assert all(time.time() - 60 < job.since <= time.time() + 5 for job in jobs)
    assert await subject.schedd.act(Action.REMOVE, ids) == 300
    await subject.until_gone()


async def test_name_is_known_after_a_submit(subject: Subject) -> None:
    await subject.schedd.submit(subject.description("w1"))
    assert subject.schedd.name


async def test_query_finds_only_the_jobs_of_the_gateway(subject: Subject) -> None:
    mine = await subject.schedd.submit(subject.description("w1", "w2"))
    other = subject.gateway.upper()
    theirs = await subject.schedd.submit(subject.description("w1", gateway=other))
    assert [job.job_id for job in await subject.schedd.query(other)] == theirs
    assert sorted(job.job_id for job in await subject.schedd.query(subject.gateway)) == mine
    assert await subject.schedd.query("no such gateway (&| =?= ") == []
    (second,) = await subject.schedd.submit(subject.description("w1", cluster_name="c2"))
    assert [job.job_id for job in await subject.schedd.query(subject.gateway, "c2")] == [second]
    assert sorted(job.job_id for job in await subject.schedd.query(subject.gateway, "c1")) == mine
    assert await subject.schedd.query(other, "c2") == []
    assert len(await subject.schedd.query(subject.gateway)) == 3
    await subject.schedd.act(Action.REMOVE, theirs)


@which_run_jobs
async def test_a_job_runs_and_its_output_comes_back(subject: Subject) -> None:
    sandbox = subject.sandbox()
    await subject.schedd.submit(subject.description("exit-0", "w1", sandbox=sandbox))
    jobs = await subject.until(
        lambda jobs: set(jobs) == {"w1"} and jobs["w1"].status is JobStatus.RUNNING, "w1 alone runs"
    )
    assert jobs["w1"].host
    output = (sandbox / "worker-exit-0.out").read_text()
    assert output.splitlines()[0] == "I am exit-0"
    assert re.search(r"^-rw-------.* dask\.pem$", output, re.MULTILINE)
    # Not sent back, and not left: only our own files and what the jobs wrote.
    left = {path.name for path in sandbox.iterdir()}
    assert left <= {
        "start_worker.sh", "dask.crt", "dask.pem", "worker.env", "events.log",
        "worker-exit-0.out", "worker-exit-0.err", "worker-w1.out", "worker-w1.err",
    }  # fmt: skip


@which_run_jobs
@pytest.mark.parametrize(
    "suffix", [" with, comma and space", "-it's-$(x)-%d-;&|<>*?[a]{b}~#\\back", "-ünicode-😀"]
)
async def test_sandbox_path_may_hold(subject: Subject, suffix: str) -> None:
    sandbox = subject.sandbox(suffix)
    ids = await subject.schedd.submit(subject.description("exit-0", sandbox=sandbox))
    await subject.until(
        lambda jobs: all(job.status is JobStatus.HELD for job in jobs.values()), "ended or held"
    )
    assert [job.hold_reason for job in await subject.schedd.query(subject.gateway)] == []
    assert (sandbox / "worker-exit-0.out").read_text().startswith("I am exit-0\n")
    assert await subject.schedd.ended(ids) == [EndedJob(ids[0], JobStatus.COMPLETED, exit_code=0)]


async def test_held_job_has_a_reason_and_a_code(subject: Subject) -> None:
    sandbox = subject.sandbox()
    description = subject.description("w1", "w2", sandbox=sandbox)
    (sandbox / "worker.env").unlink()
    ids = await subject.schedd.submit(description)
    if isinstance(subject.schedd, FakeSchedd):
        for job_id in ids:
            subject.schedd.hold(job_id, f"Transfer input files failure: {sandbox}/worker.env", 13, 2)
    jobs = await subject.until_all(JobStatus.HELD, 2)
    for job in jobs.values():
        assert (job.hold_code, job.hold_subcode) == (13, 2)
        assert "worker.env" in job.hold_reason


async def test_hold_and_release(subject: Subject) -> None:
    ids = await subject.schedd.submit(subject.description("w1"))
    await subject.until_all(JobStatus.RUNNING, 1)
    assert await subject.schedd.act(Action.RELEASE, ids) == 0
    assert await subject.schedd.act(Action.HOLD, ids) == 1
    jobs = await subject.until_all(JobStatus.HELD, 1)
    assert jobs["w1"].hold_code == 1
    assert await subject.schedd.act(Action.RELEASE, ids) == 1
    jobs = await subject.until_all(JobStatus.RUNNING, 1)
    assert (jobs["w1"].hold_code, jobs["w1"].hold_reason) == (0, "")


async def test_removes_exactly_these(subject: Subject) -> None:
    ids = await subject.schedd.submit(subject.description("w0", "w1", "w2", "w3"))
    assert await subject.schedd.act(Action.REMOVE, [ids[1], ids[3], ids[1]]) == 2
    jobs = await subject.until(lambda jobs: set(jobs) == {"w0", "w2"}, "two are left")
    assert {job.job_id for job in jobs.values()} == {ids[0], ids[2]}
    assert await subject.schedd.act(Action.REMOVE, [ids[1], ids[0]]) == 1


async def test_running_jobs_are_removed(subject: Subject) -> None:
    ids = await subject.schedd.submit(subject.description("w0", "w1"))
    await subject.until_all(JobStatus.RUNNING, 2)
    assert await subject.schedd.act(Action.REMOVE, ids) == 2
    await subject.until_gone()
    ended = await subject.schedd.ended(ids)
    assert sorted(job.job_id for job in ended) == ids
    assert {job.status for job in ended} == {JobStatus.REMOVED}
    assert all(job.removed_because and job.exit_code is None for job in ended)


async def test_absent_jobs(subject: Subject) -> None:
    assert await subject.schedd.act(Action.REMOVE, ["99999999.0", "99999999.1"]) == 0
    assert await subject.schedd.ended(["99999999.0"]) == []
    assert await subject.schedd.act(Action.REMOVE, []) == 0
    assert await subject.schedd.ended([]) == []


@pytest.mark.parametrize("bad", ["1", "1.0; 2.0", "-all", "1.0 || true", "", "1.-1", "１.0"])  # noqa: RUF001 - a wide 1
async def test_no_job_id(subject: Subject, bad: str) -> None:
    if subject.kind == "processes":
        assert await subject.schedd.act(Action.REMOVE, [bad]) == 0  # a look-up in a dictionary
        return
    with pytest.raises(InvalidRequestError) as caught:
        await subject.schedd.act(Action.REMOVE, [bad])
    assert repr(bad) in str(caught.value)


async def test_how_jobs_ended(subject: Subject) -> None:
    names = ("exit-0", "exit-66", "signal-9")
    ids = await subject.schedd.submit(subject.description(*names))
    if isinstance(subject.schedd, FakeSchedd):
        subject.schedd.end(ids[0])
        subject.schedd.end(ids[1], 66)
        subject.schedd.end(ids[2], exit_signal=9)
    await subject.until_gone()
    ended = await subject.schedd.ended([*ids, "99999999.0"])
    assert sorted(ended, key=lambda job: job.job_id) == [
        EndedJob(ids[0], JobStatus.COMPLETED, exit_code=0),
        EndedJob(ids[1], JobStatus.COMPLETED, exit_code=66),
        EndedJob(ids[2], JobStatus.COMPLETED, exit_signal=9),
    ]


async def test_refusal_has_words_and_leaves_no_job(subject: Subject, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    if isinstance(subject.schedd, FakeSchedd):
        subject.schedd.refuse = f"No such directory: {nowhere}"
    with pytest.raises(SubmitRefusedError) as caught:
        await subject.schedd.submit(subject.description("w1", "w2", sandbox=nowhere))
    assert str(nowhere) in caught.value.words
    assert caught.value.words in str(caught.value).replace("\n                 ", "\n")
    assert await subject.schedd.query(subject.gateway) == []


@pytest.fixture
def requirement(pool: Pool) -> Iterator[str]:
    """A rule of the schedd that refuses the jobs of one user; its words."""
    words = "Jobs of the unwanted are not wanted"
    file = pool.home / "config.d" / "90-contract"
    file.write_text(
        "SUBMIT_REQUIREMENT_NAMES = Contract\n"
        'SUBMIT_REQUIREMENT_Contract = HTCDaskUser =!= "unwanted"\n'
        f'SUBMIT_REQUIREMENT_Contract_REASON = "{words}"\n'
    )
    file.chmod(0o644)
    pool.command("condor_reconfig", "-daemon", "schedd")
    time.sleep(1)
    yield words
    file.unlink()
    pool.command("condor_reconfig", "-daemon", "schedd")


@only_real
async def test_refused_by_the_schedds_own_rules(subject: Subject, requirement: str) -> None:
    with pytest.raises(SubmitRefusedError) as caught:
        await subject.schedd.submit(subject.description("w1", "w2", user="unwanted"))
    assert requirement in caught.value.words
    assert await subject.schedd.query(subject.gateway) == []


@only_real
async def test_site_commands_reach_the_job(subject: Subject, pool: Pool) -> None:
    site = {"+Experiment": '"cms"', "requirements": "TARGET.HasFileTransfer", "rank": "Memory"}
    description = subject.description("w1", submit_commands=site, lease=77, worker_lifetime=3600)
    await subject.schedd.submit(description)
    (ad,) = pool.queue(f'HTCDaskGateway == "{subject.gateway}"')
    assert ad["Experiment"] == "cms"
    assert ad["isDaskJob"] is True
    assert (ad["RequestCpus"], ad["RequestMemory"], ad["RequestDisk"]) == (1, 32, 1024)
    assert ad["JobLeaseDuration"] == 77
    assert ad["Owner"] == subject.owner


@only_real
async def test_hostile_names_arrive_unchanged(subject: Subject, pool: Pool) -> None:
    users = [
        'a" queue 5 $(x) ; rm -rf', "DOMAIN\\user", "ends with\\", '\\"', '"; Owner = "root',
        "$(worker_name)", "$ENV(HOME) $(x) $F(x)", "`id` $(id) %s {} 'x'", "名前", " blank ", "",
    ]  # fmt: skip
    for user in users:
        await subject.schedd.submit(subject.description("w1", user=user, batch_name=user or "b"))
    jobs = pool.queue(f'HTCDaskGateway == "{subject.gateway}"')
    assert {job["HTCDaskUser"] for job in jobs} == set(users)
    assert {job["JobBatchName"] for job in jobs} == {user or "b" for user in users}
    assert len(jobs) == len(users)
    assert {job["Owner"] for job in jobs} == {subject.owner}


@which_can_fail
async def test_unavailable(subject: Subject, closed_address: dict[str, str]) -> None:
    schedd = subject.schedd
    if isinstance(schedd, FakeSchedd):
        schedd.unavailable = "Failed to connect"
    else:
        schedd = subject.make(timeout=20, **closed_address)
    for call in (
        lambda: schedd.submit(subject.description("w1")),
        lambda: schedd.query(subject.gateway),
        lambda: schedd.act(Action.REMOVE, ["1.0"]),
    ):
        with pytest.raises(ScheddUnavailableError) as caught:
            await call()
        assert "onnect" in caught.value.words


@only_real
async def test_no_schedd_of_that_name(subject: Subject) -> None:
    schedd = subject.make("nobody@")
    for call in (
        lambda: schedd.submit(subject.description("w1")),
        lambda: schedd.query(subject.gateway),
        lambda: schedd.act(Action.REMOVE, ["1.0"]),
        lambda: schedd.ended(["1.0"]),
    ):
        with pytest.raises(ScheddUnavailableError) as caught:
            await call()
        assert str(caught.value).startswith("The schedd nobody@ cannot be reached.")
        assert caught.value.words


@only_real
async def test_schedd_by_its_name(subject: Subject) -> None:
    await subject.schedd.submit(subject.description("w1"))
    named = subject.make(subject.schedd.name)
    (job,) = await named.query(subject.gateway)
    assert await named.act(Action.REMOVE, [job.job_id]) == 1


@only_real
async def test_silent(subject: Subject, silent_address: dict[str, str]) -> None:
    schedd = subject.make(timeout=1, **silent_address)
    for call, what in (
        (lambda: schedd.submit(subject.description("w1")), "the submit of 1 jobs"),
        (lambda: schedd.query(subject.gateway), "a query"),
        (lambda: schedd.act(Action.REMOVE, ["1.0", "1.1"]), "the order to remove 2 jobs"),
    ):
        ticker = asyncio.create_task(longest_pause())
        started = time.monotonic()
        with pytest.raises(ScheddSilentError) as caught:
            await call()
        assert 0.9 < time.monotonic() - started < 4
        assert str(caught.value).splitlines()[0].endswith(f"did not answer {what} in 1 s.")
        ticker.cancel()
        # Nothing else in this process stands still meanwhile.
        assert await ticker < 0.5


async def longest_pause() -> float:
    longest, last = 0.0, time.monotonic()
    try:
        while True:
            await asyncio.sleep(0.02)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
    except asyncio.CancelledError:
        return max(longest, time.monotonic() - last)


@only_real
async def test_answers_again_after_a_silence(
    subject: Subject, silent_address: dict[str, str], pool: Pool
) -> None:
    schedd = subject.make(timeout=2, **silent_address)
    with pytest.raises(ScheddSilentError):
        await schedd.query(subject.gateway)
    real = pool.command("condor_config_val", "SCHEDD_ADDRESS_FILE").strip()
    Path(silent_address["_CONDOR_SCHEDD_ADDRESS_FILE"]).write_text(Path(real).read_text())
    ids = await schedd.submit(subject.description("w1"))
    assert [job.job_id for job in await schedd.query(subject.gateway)] == ids


@only_real
async def test_calls_at_the_same_time(subject: Subject) -> None:
    first, second, jobs, absent = await asyncio.gather(
        subject.schedd.submit(subject.description("w1", "w2")),
        subject.schedd.submit(subject.description("w3")),
        subject.schedd.query("nobody"),
        subject.schedd.act(Action.REMOVE, ["99999999.0"]),
    )
    assert (len(first), len(second), jobs, absent) == (2, 1, [], 0)
    assert {job.job_id for job in await subject.schedd.query(subject.gateway)} == {*first, *second}


@only_real
async def test_many_waiting_calls_end_with_their_own_deadline(
    subject: Subject, silent_address: dict[str, str]
) -> None:
    schedd = subject.make(timeout=1, **silent_address)
    started = time.monotonic()
    results = await asyncio.gather(*(schedd.query("g") for _ in range(10)), return_exceptions=True)
    assert time.monotonic() - started < 4
    assert {type(result) for result in results} <= {ScheddSilentError, ScheddUnavailableError}


PARENT = """
import asyncio, json, os
from htcdaskgateway.condor.bindings import BindingsSchedd

async def main():
    schedd = BindingsSchedd(timeout=1, environment=json.loads(os.environ["MORE"]))
    call = asyncio.create_task(schedd.query("g"))
    while schedd._calls.pid is None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    print(schedd._calls.pid, flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@pytest.mark.condor
async def test_blocked_child_does_not_outlive_a_killed_parent(
    as_owner: dict[str, str], silent_address: dict[str, str]
) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "MORE": json.dumps({**as_owner, **silent_address})},
    )  # fmt: skip
    out, _ = await asyncio.wait_for(parent.communicate(), 30)
    pid = int(out)
    for _ in range(100):  # the call's deadline and 5 s
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        await asyncio.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the child still waits for the schedd")


async def test_silent_double() -> None:
    schedd = FakeSchedd()
    subject = Subject("fake", schedd, FakeSchedd, None)
    description = subject.description("w1", sandbox=Path("/nowhere"))
    schedd.silent = "not acted"
    with pytest.raises(ScheddSilentError):
        await schedd.submit(description)
    schedd.silent = "acted"
    with pytest.raises(ScheddSilentError):
        await schedd.submit(description)
    schedd.silent = ""
    assert [job.job_id for job in await schedd.query(subject.gateway)] == ["1.0"]
    assert len(schedd.submits) == 1
