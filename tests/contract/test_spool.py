"""Jobs whose schedd does not see our files: input is sent to it, output fetched from it, in the end."""

from __future__ import annotations

import pytest
from tests.contract.conftest import REAL, Subject
from tests.doubles import FakeSchedd

from htcdaskgateway.condor.errors import OutputError
from htcdaskgateway.condor.fetching import Tries
from htcdaskgateway.condor.schedd import Action, EndedJob, JobStatus, ObservedJob
from htcdaskgateway.errors import SubmitRefusedError

only_real = pytest.mark.parametrize("subject", REAL, indirect=True)
which_spool = pytest.mark.parametrize("subject", [*REAL, "fake"], indirect=True)
COMPLETED = JobStatus.COMPLETED


async def completed(subject: Subject, *names: str) -> dict[str, ObservedJob]:
    """Wait until these jobs wait for somebody to fetch their output; nothing is wrong with any before."""
    seen: set[JobStatus] = set()

    def condition(jobs: dict[str, ObservedJob]) -> bool:
        seen.update(job.status for job in jobs.values())
        return all(name in jobs and jobs[name].fetchable for name in names)

    jobs = await subject.until(condition, f"completed: {names}")
    assert JobStatus.HELD not in seen
    return jobs


@which_spool
async def test_output_is_fetched_once_and_the_jobs_leave(subject: Subject) -> None:
    # Not readable for the jobs' owner: neither the schedd nor the job has any other way to it.
    sandbox = subject.sandbox(mine=True)
    elsewhere = subject.sandbox("-it's $(x) \\back, ünicode", mine=True)
    schedd = subject.schedd
    ids = await schedd.submit(subject.description("exit-0", "exit-66", "w1", sandbox=sandbox, spool=True))
    if isinstance(schedd, FakeSchedd):
        schedd.end(ids[0])
        schedd.end(ids[1], 66)
    jobs = await completed(subject, "exit-0", "exit-66")
    ended = [(jobs[name].status, jobs[name].exit_code) for name in ("exit-0", "exit-66")]
    assert ended == [(COMPLETED, 0), (COMPLETED, 66)]
    assert not jobs["w1"].fetchable

    assert await schedd.fetch([ids[2], "99999999.0"], str(sandbox)) == []
    assert await schedd.fetch([ids[0], ids[2]], str(sandbox)) == [ids[0]]
    assert await schedd.fetch(ids, str(elsewhere)) == [ids[1]]  # a session on another machine took over
    assert await schedd.fetch(ids, str(sandbox)) == []

    if not isinstance(schedd, FakeSchedd):
        for directory, name in ((sandbox, "exit-0"), (elsewhere, "exit-66")):
            new = {path.name: path for path in directory.iterdir() if path.name.startswith("worker-")}
            assert set(new) == {f"worker-{name}.{kind}" for kind in ("out", "err", "log")}
            assert new[f"worker-{name}.out"].read_text().startswith(f"I am {name}\n")
            assert "Job terminated" in new[f"worker-{name}.log"].read_text()
    await schedd.act(Action.REMOVE, [ids[2]])
    await subject.until_gone()
    assert sorted(await schedd.ended(ids[:2]), key=lambda job: job.job_id) == [
        EndedJob(ids[0], COMPLETED, exit_code=0),
        EndedJob(ids[1], COMPLETED, exit_code=66),
    ]


@only_real
async def test_output_that_cannot_be_brought_back(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox, schedd = subject.sandbox(mine=True), subject.schedd
    monkeypatch.setattr(schedd, "_tries", Tries(limit=2, pause=0))
    ids = await schedd.submit(subject.description("exit-0", sandbox=sandbox, spool=True))
    await completed(subject, "exit-0")
    (sandbox / "worker-exit-0.out").mkdir()  # not writable, even for root
    with pytest.raises(OutputError) as caught:
        await schedd.fetch(ids, str(sandbox))
    assert caught.value.job_ids == tuple(ids)
    assert "worker-exit-0.out" in caught.value.words
    # It waits on: a way may be found yet. Then it is given up.
    assert (await schedd.query(subject.gateway))[0].fetchable
    with pytest.raises(OutputError) as caught:
        await schedd.fetch(ids, "/no/such/directory")
    assert caught.value.words == "No such directory: /no/such/directory"
    await subject.until_gone()
    assert await schedd.fetch(ids, str(sandbox)) == []


@only_real
async def test_input_that_cannot_be_sent_leaves_no_job(subject: Subject) -> None:
    sandbox = subject.sandbox(mine=True)
    (sandbox / "dask.pem").unlink()
    with pytest.raises(SubmitRefusedError) as caught:
        await subject.schedd.submit(subject.description("w1", "w2", sandbox=sandbox, spool=True))
    assert f"{sandbox}/dask.pem" in caught.value.words
    await subject.until_gone()
