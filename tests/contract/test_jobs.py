"""HTCondor itself reads hostile submit descriptions, and finds in them what was meant."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from tests.hostile import HOSTILE
from tests.support.pool import Pool

from htcdaskgateway.condor.jobs import INPUT_FILES, JobRequest, worker_jobs
from htcdaskgateway.condor.quoting import classad_text
from htcdaskgateway.condor.schedd import SubmitDescription
from htcdaskgateway.errors import InvalidRequestError


def request(sandbox: Path, user: str = "alice", cluster: str = "c1", batch: str = "b") -> JobRequest:
    return JobRequest("g-1", cluster, user, 2, 2**30, str(sandbox), ("w1", "w2"), batch)


def dry_run(pool: Pool, description: SubmitDescription, directory: Path) -> list[dict[str, str]]:
    """Let HTCondor itself read it; the job ads that would come of it, values as text."""
    file = directory / "jobs.sub"
    file.write_text(str(description))
    done = subprocess.run(
        [str(pool.home / "bin" / "condor_submit"), "-verbose", "-dry-run", os.devnull, str(file)],
        env=pool.env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"{file.read_text()}\n{done.stdout}{done.stderr}"
    attribute = re.compile(r"^([A-Za-z_]\w*) = (.*)$", re.MULTILINE)
    return [
        dict(attribute.findall(ad)) for ad in re.split(r"^\*\* Proc", done.stdout, flags=re.MULTILINE)[1:]
    ]


@pytest.fixture(scope="session")
def known(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    directory = tmp_path_factory.mktemp("known")
    sandbox = prepare(directory / "sandbox")
    return set().union(*dry_run(pool, worker_jobs(request(sandbox)), directory))


def prepare(sandbox: Path) -> Path:
    sandbox.mkdir(exist_ok=True)
    for name in ("start_worker.sh", *INPUT_FILES):
        (sandbox / name).write_text("#!/bin/sh\n")
    return sandbox


@pytest.mark.condor
@given(user=HOSTILE, cluster=HOSTILE, batch=HOSTILE)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_htcondor_reads_what_was_meant(
    pool: Pool, known: set[str], tmp_path: Path, user: str, cluster: str, batch: str
) -> None:
    sandbox = prepare(tmp_path / "a b, $(x) 'c'")
    try:
        description = worker_jobs(request(sandbox, user, cluster, batch or "b"))
    except InvalidRequestError:
        return
    ads = dry_run(pool, description, tmp_path)
    assert [ad["HTCDaskWorker"] for ad in ads] == ['"w1"', '"w2"']
    for ad in ads:
        assert set(ad) == known
        assert classad_text(ad["Args"]).split()[1] == f"{ad['ClusterId']}.{ad['ProcId']}"
        assert classad_text(ad["HTCDaskUser"]) == user
        assert classad_text(ad["HTCDaskCluster"]) == cluster
        assert classad_text(ad["JobBatchName"]) == (batch or "b")
        assert classad_text(ad["Cmd"]) == f"{sandbox}/start_worker.sh"
        assert classad_text(ad["Iwd"]) == str(sandbox)
