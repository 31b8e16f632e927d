"""Local processes: slots, endings, and what a job may see. The contract tests have the rest."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from htcdaskgateway.condor.jobs import INPUT_FILES, JobRequest, worker_jobs
from htcdaskgateway.condor.processes import ProcessSchedd
from htcdaskgateway.condor.schedd import Action, JobStatus, ObservedJob, SubmitDescription
from htcdaskgateway.errors import ConfigurationError, SubmitRefusedError

GATEWAY = "g1"


@pytest.fixture
async def schedd() -> AsyncIterator[ProcessSchedd]:
    schedd = ProcessSchedd(slots=2, kill_after=0.3)
    yield schedd
    await schedd.close()


@pytest.fixture
def describe(tmp_path: Path) -> Callable[..., SubmitDescription]:
    sandbox = tmp_path / "sand box"

    def make(script: str, *names: str) -> SubmitDescription:
        sandbox.mkdir(exist_ok=True)
        for name in INPUT_FILES:
            (sandbox / name).write_text(name)
        (sandbox / "start_worker.sh").write_text(f"#!/bin/sh\n{script}\n")
        (sandbox / "start_worker.sh").chmod(0o700)
        request = JobRequest(GATEWAY, "c1", "alice", 1, 2**30, str(sandbox), names or ("w1",))
        return worker_jobs(request)

    return make


async def until(schedd: ProcessSchedd, condition: Callable[[list[ObservedJob]], bool]) -> list[ObservedJob]:
    for _ in range(500):
        jobs = await schedd.query(GATEWAY)
        if condition(jobs):
            return jobs
        await asyncio.sleep(0.02)
    raise TimeoutError(f"not within 10 s, in the queue: {jobs}")


def running(jobs: list[ObservedJob]) -> list[str]:
    return [job.worker_name for job in jobs if job.status is JobStatus.RUNNING]


def written(sandbox: Path, worker: str, suffix: str = "out") -> str:
    return (sandbox / f"worker-{worker}.{suffix}").read_text()


async def text_of(sandbox: Path, worker: str) -> str:
    for _ in range(500):
        file = sandbox / f"worker-{worker}.out"
        if file.exists() and file.read_text().endswith("\n"):
            return file.read_text()
        await asyncio.sleep(0.02)
    raise TimeoutError(f"{worker} has written nothing")


async def test_slots_bound_what_runs(
    schedd: ProcessSchedd, describe: Callable[..., SubmitDescription]
) -> None:
    ids = await schedd.submit(describe("sleep 60", "w1", "w2", "w3", "w4"))
    jobs = await until(schedd, lambda jobs: len(running(jobs)) == 2)
    assert running(jobs) == ["w1", "w2"]
    assert await schedd.act(Action.REMOVE, ids[:1]) == 1
    await until(schedd, lambda jobs: running(jobs) == ["w2", "w3"])


async def test_job_that_ignores_sigterm_is_killed(
    schedd: ProcessSchedd, describe: Callable[..., SubmitDescription], tmp_path: Path
) -> None:
    # and so is its child, which is in the same process group
    ids = await schedd.submit(describe("trap '' TERM; sleep 61 & echo $! $$; while :; do sleep 1; done"))
    pids = [int(word) for word in (await text_of(tmp_path / "sand box", "w1")).split()]
    assert await schedd.act(Action.REMOVE, ids) == 1
    assert [job.status for job in await schedd.query(GATEWAY)] == [JobStatus.REMOVED]
    await until(schedd, lambda jobs: not jobs)
    (ended,) = await schedd.ended(ids)
    assert (ended.status, ended.exit_code, ended.exit_signal) == (JobStatus.REMOVED, None, None)
    for pid in pids:
        await gone(pid)


async def gone(pid: int) -> None:
    for _ in range(250):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":  # killed; its new parent has yet to notice
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"process {pid} is still there")


async def test_child_of_a_job_that_ended_does_not_stay(
    schedd: ProcessSchedd, describe: Callable[..., SubmitDescription], tmp_path: Path
) -> None:
    await schedd.submit(describe("sleep 62 & echo $!"))
    await until(schedd, lambda jobs: not jobs)
    await gone(int(written(tmp_path / "sand box", "w1")))


async def test_close_ends_all_jobs(describe: Callable[..., SubmitDescription], tmp_path: Path) -> None:
    schedd = ProcessSchedd(slots=1, kill_after=0.3)
    await schedd.submit(describe("echo $$; exec sleep 63", "w1", "w2"))
    pid = int(await text_of(tmp_path / "sand box", "w1"))
    await schedd.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert await schedd.query(GATEWAY) == []
    assert not (tmp_path / "sand box" / "worker-w2.out").exists()
    with pytest.raises(SubmitRefusedError):
        await schedd.submit(describe("true"))


async def test_scratch_is_private_and_goes_with_the_job(
    schedd: ProcessSchedd, describe: Callable[..., SubmitDescription], tmp_path: Path
) -> None:
    await schedd.submit(describe("pwd; stat -c '%a %n' . dask.crt dask.pem worker.env; env | sort"))
    await until(schedd, lambda jobs: not jobs)
    sandbox = tmp_path / "sand box"
    scratch, *lines = written(sandbox, "w1").splitlines()
    assert lines[:4] == ["700 .", "600 dask.crt", "600 dask.pem", "600 worker.env"]
    assert f"TMPDIR={scratch}" in lines
    assert not Path(scratch).exists()
    assert (sandbox / "worker-w1.out").stat().st_mode & 0o777 == 0o600


async def test_gateways_environment_is_not_the_jobs(
    describe: Callable[..., SubmitDescription], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_GATEWAY_PASSWORD", "secret")
    schedd = ProcessSchedd()
    await schedd.submit(describe("env"))
    await until(schedd, lambda jobs: not jobs)
    await schedd.close()
    text = written(tmp_path / "sand box", "w1")
    assert "secret" not in text
    assert f"PATH={os.environ['PATH']}" in text.splitlines()


async def test_program_that_cannot_start_is_held(
    schedd: ProcessSchedd, describe: Callable[..., SubmitDescription], tmp_path: Path
) -> None:
    description = describe("true")
    (tmp_path / "sand box" / "start_worker.sh").chmod(0o600)
    ids = await schedd.submit(description)
    (job,) = await until(schedd, lambda jobs: [job.status for job in jobs] == [JobStatus.HELD])
    assert (job.hold_code, job.hold_subcode) == (6, 13)
    assert "Permission denied" in job.hold_reason
    (tmp_path / "sand box" / "start_worker.sh").chmod(0o700)
    assert await schedd.act(Action.RELEASE, ids) == 1
    await until(schedd, lambda jobs: not jobs)


async def test_hold_then_release_at_once_is_not_killed_later(
    schedd: ProcessSchedd, describe: Callable[..., SubmitDescription]
) -> None:
    """The SIGKILL that was meant for the first process does not reach the second."""
    ids = await schedd.submit(describe("exec sleep 64"))
    await until(schedd, lambda jobs: bool(running(jobs)))
    await asyncio.sleep(0.2)
    await schedd.act(Action.HOLD, ids)
    await until(schedd, lambda jobs: [job.status for job in jobs] == [JobStatus.HELD])
    await schedd.act(Action.RELEASE, ids)
    await until(schedd, lambda jobs: bool(running(jobs)))
    await asyncio.sleep(0.6)
    assert running(await schedd.query(GATEWAY)) == ["w1"]


async def test_remove_at_once_after_submit(
    schedd: ProcessSchedd, describe: Callable[..., SubmitDescription]
) -> None:
    ids = await schedd.submit(describe("exec sleep 65"))
    assert await schedd.act(Action.REMOVE, ids) == 1
    await until(schedd, lambda jobs: not jobs)
    assert [job.status for job in await schedd.ended(ids)] == [JobStatus.REMOVED]


async def test_worker_killed_from_outside(
    schedd: ProcessSchedd, describe: Callable[..., SubmitDescription], tmp_path: Path
) -> None:
    ids = await schedd.submit(describe("echo $$; exec sleep 66"))
    os.kill(int(await text_of(tmp_path / "sand box", "w1")), signal.SIGKILL)
    await until(schedd, lambda jobs: not jobs)
    (ended,) = await schedd.ended(ids)
    assert (ended.status, ended.exit_signal) == (JobStatus.COMPLETED, signal.SIGKILL)


def test_no_slots() -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        ProcessSchedd(slots=0)
    assert ProcessSchedd().name == "local processes"


async def test_description_without_a_program(schedd: ProcessSchedd, tmp_path: Path) -> None:
    with pytest.raises(SubmitRefusedError, match="executable"):
        await schedd.submit(SubmitDescription({"initialdir": str(tmp_path)}, ("w1",)))


async def test_a_job_hears_its_own_id(tmp_path: Path, describe: Callable[..., SubmitDescription]) -> None:
    schedd = ProcessSchedd(slots=2)
    ids = await schedd.submit(describe('echo "$2"', "w1", "w2"))
    await until(schedd, lambda jobs: not jobs)
    assert [written(tmp_path / "sand box", name).strip() for name in ("w1", "w2")] == ids
    await schedd.close()
