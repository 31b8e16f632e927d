"""Jobs belong to whom the token says, whoever runs us; and who that is not, gets nothing of ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contract.conftest import HAS_LANDLOCK, REAL, Subject
from tests.contract.test_spool import completed
from tests.support.pool import Pool

from htcdaskgateway.condor.errors import IdentityRefusedError, OutputError
from htcdaskgateway.condor.schedd import Action
from htcdaskgateway.errors import SubmitRefusedError

# The account is root, which FS would let in, which could sign tokens, and whose environment names another
# user's token.
pytestmark = pytest.mark.parametrize("subject", REAL, indirect=True)
USER = "analyst2"
Write = Callable[[str], Path]


@pytest.fixture
def token(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "token of a user"
        path.touch(0o600)
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("kind", ["file", "directory"])
async def test_jobs_are_the_users_and_so_is_their_output(
    subject: Subject, token: Write, pool: Pool, kind: str
) -> None:
    file = token(pool.token(USER))
    if kind == "directory":
        file.parent.chmod(0o700)
    schedd = subject.make(token=str(file if kind == "file" else file.parent))
    sandbox = subject.sandbox(mine=True)
    ids = await schedd.submit(
        subject.description(
            "exit-0", sandbox=sandbox, spool=True, user=USER, accounting_group_user=f"{USER}.of-the-hub"
        )
    )
    (ad,) = pool.queue(f'HTCDaskGateway == "{subject.gateway}"')
    assert (ad["Owner"], ad["AcctGroupUser"]) == (USER, f"{USER}.of-the-hub")
    if kind == "file":
        await completed(subject, "exit-0")
        if not HAS_LANDLOCK:
            with pytest.raises(OutputError, match="cannot be confined"):
                await schedd.fetch(ids, str(sandbox))
            return
        assert await schedd.fetch(ids, str(sandbox)) == ids
        assert (sandbox / "worker-exit-0.out").read_text().startswith("I am exit-0\n")
    else:
        assert await schedd.act(Action.REMOVE, ids) == 1


async def test_output_goes_where_we_say_whatever_the_jobs_owner_says(
    subject: Subject, token: Write, pool: Pool, tmp_path: Path
) -> None:
    schedd, sandbox = subject.make(token=str(token(pool.token(USER)))), subject.sandbox(mine=True)
    ids = await schedd.submit(subject.description("exit-0", sandbox=sandbox, spool=True))
    await completed(subject, "exit-0")
    # So HTCondor is told to write the event log, whose content and name are the owner's, here.
    target = tmp_path / "target"
    target.mkdir()
    pool.command("condor_qedit", ids[0], "SUBMIT_UserLog", f'"{target}/worker-exit-0.log"', user=USER)
    with pytest.raises(OutputError, match=r"Permission denied|cannot be confined"):
        await schedd.fetch(ids, str(sandbox))
    assert list(target.iterdir()) == []


async def test_others_jobs_are_not_theirs(subject: Subject, token: Write, pool: Pool) -> None:
    ids = await subject.schedd.submit(subject.description("w1"))
    theirs = subject.make(token=str(token(pool.token(USER))))
    assert [job.job_id for job in await theirs.query(subject.gateway)] == ids
    with pytest.raises(Exception, match="Permission denied"):
        await theirs.act(Action.REMOVE, ids)


def expired(pool: Pool) -> str:
    made = pool.command("condor_token_create", "-identity", f"{USER}@pool.test", "-lifetime", "1").strip()
    time.sleep(2)
    return made


def of_another_pool(pool: Pool) -> str:
    """As the pool's own, but for the key that signs it."""
    head, claims, _ = pool.token(USER).split(".")
    made = hmac.new(b"another key" * 4, f"{head}.{claims}".encode(), hashlib.sha256).digest()
    return f"{head}.{claims}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"


def garbled(pool: Pool) -> str:
    return "eyJhno.token-at.all-of-it"


@pytest.mark.parametrize("bad", [expired, of_another_pool, garbled])
async def test_bad_token(subject: Subject, token: Write, pool: Pool, bad: Callable[[Pool], str]) -> None:
    secret = bad(pool)
    file = token(secret)
    schedd = subject.make(token=str(file))
    for call in (
        lambda: schedd.submit(subject.description("w1")),
        lambda: schedd.query(subject.gateway),
        lambda: schedd.act(Action.REMOVE, ["1.0"]),
    ):
        with pytest.raises(IdentityRefusedError) as caught:
            await call()
        text = str(caught.value)
        assert text.startswith("The schedd ")
        assert "does not know who we are." in text
        assert str(file) in text
        assert caught.value.words in text.replace("\n" + " " * 17, "\n")
        assert f"{USER}@pool.test" in text or bad is garbled
        for part in secret.split("."):
            assert part not in text
    assert pool.queue(f'HTCDaskGateway == "{subject.gateway}"') == []


@pytest.fixture
def rule(pool: Pool) -> Iterator[str]:
    """A rule of the pool: who accounts to somebody else is one of these."""
    words = "Nobody but the gateway accounts to others"
    file = pool.home / "config.d" / "92-accounting"
    file.write_text(
        "SUBMIT_REQUIREMENT_NAMES = Accounting\n"
        'SUBMIT_REQUIREMENT_Accounting = (AcctGroupUser ?: Owner) == Owner || Owner == "analyst"\n'
        f'SUBMIT_REQUIREMENT_Accounting_REASON = "{words}"\n'
    )
    file.chmod(0o644)
    pool.command("condor_reconfig", "-daemon", "schedd")
    time.sleep(1)
    yield words
    file.unlink()
    pool.command("condor_reconfig", "-daemon", "schedd")


async def test_accounting_is_the_pools_to_permit(
    subject: Subject, rule: str, token: Write, pool: Pool
) -> None:
    await subject.schedd.submit(subject.description("exit-0", accounting_group_user="alice"))
    theirs = subject.make(token=str(token(pool.token(USER))))
    with pytest.raises(SubmitRefusedError) as caught:
        await theirs.submit(subject.description("w1", spool=True, accounting_group_user="alice"))
    assert rule in caught.value.words
    await subject.until_gone()
    assert "alice@pool.test" in pool.command("condor_userprio", "-allusers", "-af", "Name").split()
