"""A pool with two schedds: the choice between them, and wrappers that choose by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contract.conftest import REAL, Subject
from tests.support.pool import Pool
from tests.support.second import FIRST, SECOND, Schedds

from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.errors import CollectorUnavailableError, NoScheddError
from htcdaskgateway.condor.schedd import Action


@pytest.fixture(scope="module")
def second(pool: Pool) -> Iterator[str]:
    """A second schedd in the pool."""
    with Schedds(pool).running():
        yield SECOND


def access(subject: Subject, home: Pool, as_owner: dict[str, str], **more: object) -> Access:
    programs = {"condor_status": f"{home.home}/bin/condor_status"} if subject.kind == "tools" else {}
    return Access(interface=subject.kind, programs=programs, environment=as_owner, **more)  # type: ignore[arg-type]  # its fields


@pytest.mark.parametrize("subject", REAL, indirect=True)
async def test_choice(subject: Subject, second: str, pool: Pool, as_owner: dict[str, str]) -> None:
    def of(**more: object) -> Access:
        return access(subject, pool, as_owner, **more)

    assert await of().choose_schedd(lambda: 0.1) == FIRST
    assert await of().choose_schedd(lambda: 0.9) == SECOND
    assert await of(schedd_constraint="SiteOpen =?= true").choose_schedd(lambda: 0.1) == SECOND
    assert await of(schedd_names=(FIRST.upper(),)).choose_schedd(lambda: 0.9) == FIRST
    with pytest.raises(NoScheddError) as caught:
        await of(schedd_constraint='Site =?= "none"', pool="").choose_schedd(lambda: 0.5)
    assert caught.value.why == dict.fromkeys((FIRST, SECOND), "the constraint is not true for it")
    with pytest.raises(CollectorUnavailableError) as unavailable:
        await of(schedd_constraint="Site (").choose_schedd(lambda: 0.5)
    assert unavailable.value.words
    with pytest.raises(CollectorUnavailableError, match=r"The collector 127\.0\.0\.1:1 cannot be asked"):
        await of(pool="127.0.0.1:1").choose_schedd(lambda: 0.5)


@pytest.mark.parametrize("subject", REAL, indirect=True)
async def test_loads(subject: Subject, second: str, pool: Pool, as_owner: dict[str, str]) -> None:
    collector = access(subject, pool, as_owner)._collector()
    loads = {load.name: load for load in await collector.schedds()}
    await collector.close()
    assert set(loads) == {FIRST, SECOND}
    assert loads[SECOND].max_running == 7
    assert all(0 <= load.duty_cycle < 1 and not load.curbed for load in loads.values())


@pytest.fixture
def wrappers(pool: Pool, tmp_path: Path) -> Callable[[str, str], str]:
    def write(name: str, script: str) -> str:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\nPATH={pool.home}/bin:$PATH\n{script}")
        path.chmod(0o755)
        return str(path)

    return write


@pytest.mark.parametrize("subject", [REAL[1]], indirect=True)
async def test_wrapper_that_talks_and_chooses(
    subject: Subject, second: str, pool: Pool, wrappers: Callable[[str, str], str]
) -> None:
    submit = wrappers(
        "condor_submit",
        "echo 'Querying the pool for a free schedd...'\n"
        "echo 'WARNING: your quota is nearly used up' >&2\n"
        'case " $* " in *" -name "*) ;; *) set -- -name second@ "$@" ;; esac\n'
        "for file; do :; done\n"  # the last argument
        '{ echo "+SiteAdded = \\"yes\\""; cat "$file"; } > "$file.wrapped"\n'
        'cat "$file.wrapped" > "$file"; rm "$file.wrapped"\n'
        'echo "Attempting to submit jobs to $2"\n'
        'condor_submit "$@"\n'
        "code=$?\n"
        "echo 'Have a look at https://site.example/jobs [new]'\n"
        "echo '[1] WARNING: condor_submit will be replaced' >&2\n"
        "exit $code\n",
    )
    talks = "echo '[INFO] welcome to our pool'; condor_q \"$@\"; echo; echo '[bye]'"
    schedd = subject.make(programs={"condor_submit": submit, "condor_q": wrappers("condor_q", talks)})
    ids = await schedd.submit(subject.description("w1", "w2"))
    assert schedd.name == SECOND
    ids += await schedd.submit(subject.description("w3"))
    assert sorted(job.job_id for job in await schedd.query(subject.gateway)) == sorted(ids)
    mine = ["-name", SECOND, "-af", "SiteAdded", "-constraint", f'HTCDaskGateway == "{subject.gateway}"']
    assert pool.command("condor_q", "-allusers", *mine).split() == ["yes"] * 3
    # On another schedd the same numbers would be other jobs, or none.
    first = await subject.schedd.submit(subject.description("w1", "w2"))
    assert await schedd.act(Action.REMOVE, ids) == 3
    assert sorted(job.job_id for job in await subject.schedd.query(subject.gateway)) == sorted(first)
