"""An X.509 proxy that its user renews, in jobs that wait and jobs that run, spooled or not."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contract.conftest import OWNER, REAL, Subject
from tests.support.pool import Pool

from htcdaskgateway.condor.errors import NotRenewedError
from htcdaskgateway.condor.renewing import with_x509
from htcdaskgateway.condor.schedd import Action, JobStatus, RenewsX509, SubmitDescription
from htcdaskgateway.credentials.x509 import parse_x509

only_real = pytest.mark.parametrize("subject", REAL, indirect=True)
HOUR = 3600.0
# Ends as soon as it finds another X.509 proxy than the one that it began with.
PROGRAM = """#!/bin/sh
first=$(cat "$X509_USER_PROXY") || exit 2
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
  [ "$(cat "$X509_USER_PROXY")" = "$first" ] || exit 0
  sleep 1
done
exit 1
"""


def make(pool: Pool, sandbox: Path, seconds: float, *, mine: bool) -> float:
    """Put a new X.509 proxy into the sandbox; when it ends."""
    directory = sandbox / "made"
    directory.mkdir(exist_ok=True)
    account = pwd.getpwuid(os.geteuid()) if mine else pwd.getpwnam(OWNER)
    os.chown(directory, account.pw_uid, account.pw_gid)
    pool.recipe("x509", str(directory), str(seconds / HOUR))
    until = parse_x509((directory / "proxy.pem").read_bytes(), "").not_after
    (directory / "proxy.pem").replace(sandbox / "x509.pem")
    shutil.rmtree(directory)
    return until


def jobs(subject: Subject, sandbox: Path, until: float, *names: str, spool: bool) -> SubmitDescription:
    description = subject.description(*names, sandbox=sandbox, spool=spool)
    commands = with_x509(description.commands, str(sandbox / "x509.pem"), until)
    return replace(description, commands=commands)


async def renew(subject: Subject, sandbox: Path, until: float, cluster: str = "c1") -> None:
    """As a session does it: again and again for what has just started."""
    assert isinstance(subject.schedd, RenewsX509)
    for _ in range(10):
        if await subject.schedd.renew_x509(cluster, str(sandbox / "x509.pem"), until) == 0:
            return
        await asyncio.sleep(1)
    raise TimeoutError("there are always some left")


@only_real
@pytest.mark.parametrize("spool", [False, True])
async def test_a_job_that_waits_does_not_start_with_an_ended_one(
    subject: Subject, pool: Pool, spool: bool
) -> None:
    sandbox = subject.sandbox(mine=spool)
    until = make(pool, sandbox, HOUR, mine=spool)
    # HTCondor itself would take it: by the job's own word it ends in a minute.
    waits = jobs(subject, sandbox, time.time() + 59, "w1", spool=spool)
    await subject.schedd.submit(waits)
    await subject.schedd.submit(jobs(subject, sandbox, until, "w2", spool=spool))
    seen = await subject.until(
        lambda jobs: jobs["w2"].status is JobStatus.RUNNING, "the one whose own is good runs"
    )
    assert (seen["w1"].status, seen["w2"].x509_until) == (JobStatus.IDLE, until)

    until = make(pool, sandbox, 2 * HOUR, mine=spool)
    if spool and subject.kind == "tools":
        with pytest.raises(NotRenewedError, match="has no program that") as caught:
            await renew(subject, sandbox, until)
        assert "scale(0), then scale(n)" in caught.value.remedy
        return
    await renew(subject, sandbox, until)
    seen = await subject.until_all(JobStatus.RUNNING, 2)
    assert {job.x509_until for job in seen.values()} == {until}


@pytest.mark.parametrize("subject", REAL[:1], indirect=True)  # the tools cannot
async def test_a_spooled_job_that_runs_is_given_it(subject: Subject, pool: Pool) -> None:
    sandbox = subject.sandbox(mine=True)
    (sandbox / "start_worker.sh").write_text(PROGRAM)
    until = make(pool, sandbox, HOUR, mine=True)
    ids = await subject.schedd.submit(jobs(subject, sandbox, until, "w1", "w2", spool=True))
    await subject.until_all(JobStatus.RUNNING, 2)
    await subject.schedd.act(Action.REMOVE, ids[1:])
    until = make(pool, sandbox, 2 * HOUR, mine=True)
    await renew(subject, sandbox, until)
    seen = await subject.until(lambda jobs: jobs["w1"].status is JobStatus.COMPLETED, "the job has ended")
    assert seen["w1"].exit_code == 0


@only_real
async def test_jobs_of_others_are_left_alone(subject: Subject, pool: Pool) -> None:
    """Of another cluster, and of another session on another machine, whose file is not renewed."""
    sandbox, other = subject.sandbox(), subject.sandbox()
    until = make(pool, sandbox, HOUR, mine=False)
    make(pool, other, HOUR, mine=False)
    later = until + HOUR
    await subject.schedd.submit(jobs(subject, other, until, "w1", spool=False))
    await subject.until_all(JobStatus.RUNNING, 1)
    await renew(subject, other, later, "c2")
    with pytest.raises(NotRenewedError, match="of a session that submitted before"):
        await renew(subject, sandbox, later)
    [job] = await subject.schedd.query(subject.gateway)
    assert job.x509_until == until
