"""``htcdask demo`` as a person runs it: its numbers, its picture, and that nothing of it is left."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import uproot
from tests.support import processes
from tests.support.accounts import Accounts
from tests.support.pool import Pool
from tests.support.waiting import eventually

from htcdaskgateway.demo import sample

SEED, MUON_MASS = 11, 0.1056584
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Person:
    """An account with a temporary directory of its own, in which a demo puts everything."""

    name: str
    scratch: Path
    env: dict[str, str]
    run_on: str
    pool: Pool | None

    @property
    def output(self) -> Path:
        return self.scratch / "output"

    @property
    def temporary(self) -> Path:
        return self.scratch / "tmp"

    def start(self, *arguments: object) -> Demo:
        command = [
            sys.executable,
            "-m",
            "htcdaskgateway",
            "demo",
            "--run-on",
            self.run_on,
            "--seed",
            str(SEED),
        ]
        command += ["--output", str(self.output), "--workers", "2", *map(str, arguments)]
        log = self.scratch / f"log-{time.monotonic_ns()}"
        return Demo(processes.spawn(command, self.name, self.env, self.output, log), log)

    def left(self) -> list[str]:
        """What of a demo is still there: files, processes, jobs."""
        found = [str(path) for path in self.temporary.iterdir()]
        found += [f"process {one.pid} {one.name()}" for one in processes.mentioning(str(self.temporary))]
        if self.pool is not None:
            jobs = self.pool.queue('regexp("^htcdask-demo-", HTCDaskGateway)')
            found += [f"job {ad['ClusterId']}.{ad['ProcId']}" for ad in jobs if ad["Owner"] == self.name]
        return found


@dataclass
class Demo:
    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, deadline: float = 90) -> None:
        def seen() -> bool:
            assert self.process.poll() is None or text in self.said(), self.said()
            return text in self.said()

        eventually(f"the demo says {text!r}", seen, deadline)

    def end(self, code: int, deadline: float = 150) -> str:
        """Wait for its end with this exit code; what it said."""
        assert self.process.wait(deadline) == code, self.said()
        return self.said()


def new_person(name: str, run_on: str, pool: Pool | None) -> Person:
    # Jobs of the pool have a /tmp of their own, but see its home. Not a name that a demo would give: other
    # processes run such tests too, and look for what is left.
    scratch = Path(tempfile.mkdtemp(prefix="htcdask-person-", dir=pool.home if pool else None))
    scratch.chmod(0o755)
    person = Person(name, scratch, {}, run_on, pool)
    for path in (person.output, person.temporary):
        path.mkdir()
        shutil.chown(path, name)
    person.env = {**processes.environment(name, TMPDIR=str(person.temporary)), **(pool.env if pool else {})}
    return person


@pytest.fixture
def local_person() -> Iterator[Person]:
    """The account that runs the tests, with plain processes: needs no HTCondor and no root."""
    person = new_person(pwd.getpwuid(os.geteuid()).pw_name, "processes", None)
    yield person
    clear(person)


@pytest.fixture
def analyst(pool: Pool, accounts: Accounts) -> Iterator[Person]:
    """A person of the pool, with HTCondor."""
    person = new_person(accounts.analyst, "htcondor", pool)
    yield person
    clear(person)


def clear(person: Person) -> None:
    processes.end(processes.mentioning(str(person.scratch)))
    shutil.rmtree(person.scratch)


def truth(files: list[Path]) -> dict[str, int]:
    """The numbers without Dask and without the demo's analysis, event by event from the columns."""
    numbers = {"all": 0, "two": 0, "candidates": 0, "J/psi": 0, "Z": 0}
    for path in files:
        with uproot.open(path) as file:
            events = file["Events"].arrays(["Muon_pt", "Muon_eta", "Muon_phi", "Muon_charge"]).to_list()
        for muons in events:
            numbers["all"] += 1
            if len(muons["Muon_pt"]) < 2:
                continue
            numbers["two"] += 1
            if muons["Muon_charge"][0] == muons["Muon_charge"][1]:
                continue
            numbers["candidates"] += 1
            mass = pair_mass(muons)
            numbers["J/psi"] += abs(mass - 3.097) <= 0.15
            numbers["Z"] += abs(mass - 91.2) <= 10
    return numbers


def pair_mass(muons: dict[str, Any]) -> float:
    """Another formula than the demo's: m² = 2 mμ² + 2 (E1 E2 - p1·p2)."""
    (pt1, pt2), (eta1, eta2), (phi1, phi2) = (muons[f"Muon_{name}"][:2] for name in ("pt", "eta", "phi"))
    energy = [np.sqrt(MUON_MASS**2 + (pt * np.cosh(eta)) ** 2) for pt, eta in ((pt1, eta1), (pt2, eta2))]
    product = pt1 * pt2 * (np.cos(phi1 - phi2) + np.sinh(eta1) * np.sinh(eta2))
    return float(np.sqrt(2 * MUON_MASS**2 + 2 * (energy[0] * energy[1] - product)))


def numbers_in(said: str) -> dict[str, int]:
    """The numbers of the tables that the demo printed."""
    patterns = {
        "all": r"^ *all +([\d,]+) *$",
        "two": r"^ *two muons or more +([\d,]+) *$",
        "candidates": r"^ *dimuon candidates.* ([\d,]+) *$",
        "J/psi": r"^ *J/ψ +2.95 to 3.25 +([\d,]+) ",
        "Z": r"^ *Z +81.20 to 101.20 +([\d,]+) ",
    }
    found = {name: re.search(pattern, said, re.MULTILINE) for name, pattern in patterns.items()}
    missing = [name for name, match in found.items() if match is None]
    assert not missing, f"no {missing} in:\n{said}"
    return {name: int(match[1].replace(",", "")) for name, match in found.items() if match}


def nothing_left(person: Person) -> None:
    try:
        eventually("nothing left", lambda: not person.left(), 5)
    except TimeoutError:
        assert person.left() == []


def owned_in_tmp(person: Person) -> set[str]:
    uid = pwd.getpwnam(person.name).pw_uid
    paths = [path for path in Path("/tmp").iterdir() if path.name.startswith(("dask-", "htcdask-demo"))]
    return {path.name for path in paths if path.lstat().st_uid == uid}


@pytest.fixture
def written(tmp_path: Path) -> list[Path]:
    """What the demo generates of this seed."""
    return sample.write_files(tmp_path, SEED)


def test_the_demo_on_the_pool(analyst: Person, written: list[Path]) -> None:
    before = owned_in_tmp(analyst)
    said = analyst.start().end(0)
    assert "Workers run as HTCondor jobs of the schedd " in said
    assert re.search(r"running +\d+\.\d+ +slot", said), said  # workers with their jobs and slots
    assert numbers_in(said) == truth(written)
    assert (analyst.output / "dimuon_mass.png").read_bytes().startswith(PNG)
    assert re.search(r"dashboard http://127\.0\.0\.1:\d+/clusters/\w+/status", said)
    for step in (
        "Sample",
        "Gateway",
        "Scheduler",
        "Workers",
        "Analysis",
        "Picture",
        "Shutdown",
        "Clean-up",
        "total",
    ):
        assert re.search(rf"^ *{step} +\d+\.\d *$", said, re.MULTILINE), f"no time of {step} in:\n{said}"
    nothing_left(analyst)
    assert owned_in_tmp(analyst) - before == set()


def test_the_demo_with_processes_and_files_of_ones_own(local_person: Person) -> None:
    rng = np.random.default_rng(1)
    own = [local_person.scratch / f"own {number}:x.root" for number in range(3)]
    for path in own:
        sample.write(sample.generate(rng, 4000), path)
    before = owned_in_tmp(local_person)
    said = local_person.start("--input", own[0], "--input", own[1], own[2]).end(0)
    assert "3 input files" in said
    assert numbers_in(said) == truth(own)
    assert (local_person.output / "dimuon_mass.png").read_bytes().startswith(PNG)
    nothing_left(local_person)
    assert owned_in_tmp(local_person) - before == set()


def test_a_task_that_fails_says_which_file(local_person: Person) -> None:
    whole = local_person.scratch / "whole.root"
    sample.write(sample.generate(np.random.default_rng(1), 4000), whole)
    with uproot.open(whole) as file:
        (seek,) = {file["Events"]["Muon_pt"].basket_key(0).fSeekKey}
    content = bytearray(whole.read_bytes())
    content[seek + 200 : seek + 600] = bytes(400)
    whole.write_bytes(content)
    said = local_person.start("--input", whole).end(1)
    assert f"Error: Working on {whole} failed." in said
    assert "Traceback" not in said
    nothing_left(local_person)


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [
        ("Sample ", signal.SIGINT, 130),
        ("Gateway ", signal.SIGINT, 130),
        ("Scheduler ", signal.SIGINT, 130),
        ("Workers ", signal.SIGINT, 130),
        ("Scheduler ", signal.SIGTERM, 143),
        ("Gateway ", signal.SIGHUP, 129),
    ],
)
def test_ended_by_a_signal_at_any_moment(local_person: Person, moment: str, number: int, code: int) -> None:
    demo = local_person.start()
    demo.wait_for(f"✓ {moment}")
    time.sleep(0.3)
    demo.process.send_signal(number)
    time.sleep(0.2)
    demo.process.send_signal(number)  # impatience does not interrupt the clean-up
    assert "Ended, and cleared away." in demo.end(code, 90)
    nothing_left(local_person)
    assert list(local_person.output.iterdir()) == []


def test_ended_by_a_signal_on_the_pool(analyst: Person) -> None:
    demo = analyst.start("--workers", 4)
    demo.wait_for("✓ Scheduler")
    assert analyst.pool is not None
    pool = analyst.pool
    eventually("jobs", lambda: pool.queue('regexp("^htcdask-demo-", HTCDaskGateway)'), 30)
    demo.process.send_signal(signal.SIGINT)
    demo.end(130, 90)
    nothing_left(analyst)


def gateway_of(person: Person) -> psutil.Process:
    (found,) = [
        one for one in processes.mentioning(str(person.temporary)) if "dask_gateway_server" in one.cmdline()
    ]
    return found


@pytest.mark.parametrize("who", ["local_person", "analyst"])
def test_a_gateway_that_is_killed(who: str, request: pytest.FixtureRequest) -> None:
    person: Person = request.getfixturevalue(who)
    demo = person.start()
    demo.wait_for("✓ Workers")
    gateway_of(person).kill()
    demo.end(1)
    nothing_left(person)


def test_a_demo_that_is_killed_takes_its_gateway_along(local_person: Person) -> None:
    demo = local_person.start()
    demo.wait_for("✓ Workers")
    demo.process.kill()
    demo.process.wait(10)
    temporary = str(local_person.temporary)
    eventually("processes gone", lambda: not processes.mentioning(temporary), 60)


PASTED = """
import urllib.request
{lines}
client = cluster.get_client()
assert client.submit(sum, [1, 2]).result(timeout=60) == 3
assert len(cluster.workers()) == 2
with urllib.request.urlopen(cluster.dashboard_link, timeout=30) as page:
    assert b"Dask" in page.read()
client.close()
cluster.close()
gateway.close()
print("pasted and run")
"""


@pytest.mark.parametrize("who", ["local_person", "analyst"])
def test_kept_connected_to_and_stopped(who: str, request: pytest.FixtureRequest) -> None:
    person: Person = request.getfixturevalue(who)
    said = person.start("--keep").end(0)
    lines = said.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("from dask_gateway import"))
    three = lines[first : first + 3]
    assert three[2].startswith("cluster = gateway.connect(")
    (directory,) = person.temporary.iterdir()
    password = (directory / "password").read_text()
    assert password not in said
    assert not [one for one in processes.mentioning(password) if password in " ".join(one.cmdline())]
    program = PASTED.format(lines="\n".join(three))
    ran = processes.run(
        [sys.executable, "-c", program], person.name, person.env, deadline=90, cwd=str(person.output)
    )
    assert "pasted and run" in ran
    stop = lines[-1].split()
    assert stop == ["htcdask", "demo", "--stop", str(directory)]
    ended = processes.run(
        [sys.executable, "-m", "htcdaskgateway", *stop[1:]], person.name, person.env, deadline=120
    )
    assert ended.strip() == "Stopped."
    nothing_left(person)
