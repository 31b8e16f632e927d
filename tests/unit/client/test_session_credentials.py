"""What jobs get of the user's credentials: real files and certificates, no HTCondor."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import Any

import dask.config
import pytest
from tests.unit.client.conftest import Answers
from tests.unit.credentials import grid
from tests.unit.credentials.grid import DAY, HOUR, NOW

from htcdaskgateway import HTCGateway
from htcdaskgateway.client.session_credentials import (
    CredentialWarning,
    NoCredentialError,
    SessionCredentials,
    with_credentials,
)
from htcdaskgateway.credentials.errors import (
    CredentialExpiredError,
    CredentialMissingError,
    CredentialNotPrivateError,
    CredentialTooShortError,
    OtherIdentityError,
)
from htcdaskgateway.credentials.files import write_private
from htcdaskgateway.credentials.policy import Policy, Rule, Use
from htcdaskgateway.errors import InvalidRequestError

COMMANDS = {
    "requirements": "isDaskNode",
    "arguments": "$(worker_name)",
    "transfer_input_files": "dask.crt, dask.pem",
    "encrypt_input_files": "dask.crt, dask.pem",
}
IF_PRESENT = Policy(Rule(Use.IF_PRESENT), Rule(Use.IF_PRESENT))
REQUIRED = Policy(Rule(Use.REQUIRED, 600), Rule(Use.REQUIRED))
PERSON = grid.user()
VOMS = grid.voms(grid.attribute_certificate(end=NOW + 9 * DAY))


class Somebody:
    """A user with credentials and a cluster's sandbox, at a time of their own."""

    def __init__(self, directory: Path) -> None:
        self.home, self.sandbox = directory / "home", directory / "c1"
        for path in (self.home, self.sandbox):
            path.mkdir(mode=0o700)
        self.environ = {
            "X509_USER_PROXY": str(self.home / "proxy"),
            "BEARER_TOKEN_FILE": str(self.home / "token"),
        }
        self.now = NOW
        self.has_proxy()
        self.has_token()

    def has_proxy(self, end: float = NOW + DAY, person: grid.Holder = PERSON) -> bytes:
        content = grid.proxy_file(grid.proxy_of(person, grid.proxy_info(), VOMS, end=end), person)
        write_private(content, self.home, "proxy")
        return content

    def has_token(self, **claims: Any) -> bytes:
        content = grid.example_token(**claims)
        write_private(content, self.home, "token")
        return content

    def credentials(self, policy: Policy = REQUIRED) -> SessionCredentials:
        return SessionCredentials(policy, self.environ, os.geteuid(), lambda: self.now)

    def copy(self, name: str = "x509.pem") -> bytes:
        return (self.sandbox / name).read_bytes()


@pytest.fixture
def user(tmp_path: Path) -> Somebody:
    return Somebody(tmp_path)


@pytest.mark.parametrize(
    ("x509", "token", "added"),
    [
        (None, False, {}),
        (
            NOW + 0.5,
            False,
            {
                "x509userproxy": "/s $(DOLLAR)x/x509.pem",
                "+HTCDaskX509Until": str(int(NOW)),
                "requirements": "(isDaskNode) && (time() < HTCDaskX509Until - 60)",
            },
        ),
        (
            None,
            True,
            {
                "transfer_input_files": "dask.crt, dask.pem, bearer.token",
                "encrypt_input_files": "dask.crt, dask.pem, bearer.token",
            },
        ),
    ],
)
def test_submit_commands(x509: float | None, token: bool, added: dict[str, str]) -> None:
    told = with_credentials(COMMANDS, Path("/s $x"), x509=x509, token=token)
    assert told == {**COMMANDS, **added}
    bare = with_credentials({}, Path("/s"), x509=NOW, token=False)
    assert bare["requirements"] == "(time() < HTCDaskX509Until - 60)"
    assert "encrypt_input_files" not in bare


def test_jobs_get_copies(user: Somebody) -> None:
    told = user.credentials().give(user.sandbox, COMMANDS)
    assert told["x509userproxy"] == f"{user.sandbox}/x509.pem"
    assert told["encrypt_input_files"].endswith(", bearer.token")
    assert user.copy() == (user.home / "proxy").read_bytes()
    assert user.copy("bearer.token") == (user.home / "token").read_bytes()
    assert {stat.S_IMODE(path.stat().st_mode) for path in user.sandbox.iterdir()} == {0o600}


def test_nothing_is_given_that_the_site_does_not_want(user: Somebody) -> None:
    never = Policy(Rule(Use.NEVER), Rule(Use.NEVER))
    credentials = user.credentials(never)
    credentials.check()
    assert credentials.give(user.sandbox, COMMANDS) == COMMANDS
    assert list(user.sandbox.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda user: (user.home / "proxy").unlink(), CredentialMissingError),
        (lambda user: (user.home / "proxy").chmod(0o644), CredentialNotPrivateError),
        (lambda user: user.has_proxy(NOW - HOUR), CredentialExpiredError),
        (lambda user: user.has_proxy(NOW + 599), CredentialTooShortError),
    ],
)
def test_what_will_not_do(user: Somebody, spoil: Any, error: type[InvalidRequestError]) -> None:
    spoil(user)
    credentials = user.credentials()
    with pytest.raises(error) as caught:
        credentials.check()
    with pytest.raises(NoCredentialError) as waits:
        credentials.give(user.sandbox, COMMANDS)
    assert (waits.value.sentence, waits.value.remedy) == (caught.value.sentence, caught.value.remedy)
    assert list(user.sandbox.iterdir()) == []


def test_what_is_not_required_is_a_warning_once(user: Somebody) -> None:
    user.has_proxy(NOW - HOUR)
    credentials = user.credentials(IF_PRESENT)
    with pytest.warns(CredentialWarning) as seen:
        credentials.check()
    assert "expired 1 h ago" in str(seen[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        user.now += 60
        credentials.check()
        told = credentials.give(user.sandbox, COMMANDS)
    assert "x509userproxy" not in told
    assert len(seen) == 1


def test_a_user_without_any_is_not_warned(user: Somebody) -> None:
    user.environ.clear()
    user.environ["X509_USER_PROXY"] = ""
    credentials = SessionCredentials(IF_PRESENT, user.environ, 4_000_000)  # has nothing in /tmp
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        credentials.check()
    assert credentials.give(user.sandbox, COMMANDS) == COMMANDS


def test_a_renewed_one_replaces_the_copy(user: Somebody) -> None:
    credentials = user.credentials()
    credentials.give(user.sandbox, COMMANDS)
    first = (user.sandbox / "x509.pem").stat().st_ino
    assert credentials.renew(user.sandbox) == {}
    assert (user.sandbox / "x509.pem").stat().st_ino == first
    new, new_token = user.has_proxy(NOW + 2 * DAY), user.has_token(exp=NOW + 2 * HOUR)
    renewed = credentials.renew(user.sandbox)
    assert (user.copy(), user.copy("bearer.token")) == (new, new_token)
    assert {name: one.not_after for name, one in renewed.items()} == {
        "x509.pem": NOW + 2 * DAY,
        "bearer.token": NOW + 2 * HOUR,
    }
    assert credentials.renew(user.sandbox) == renewed  # for jobs that do not have it yet
    assert sorted(path.name for path in user.sandbox.iterdir()) == ["bearer.token", "x509.pem"]


def test_a_renewed_one_in_another_place(user: Somebody) -> None:
    credentials = user.credentials()
    credentials.give(user.sandbox, COMMANDS)
    (user.home / "proxy").rename(user.home / "elsewhere")
    user.environ["X509_USER_PROXY"] = str(user.home / "another")
    new = user.has_proxy(NOW + 2 * DAY)
    (user.home / "proxy").rename(user.home / "another")
    credentials.renew(user.sandbox)
    assert user.copy() == new


def test_a_new_session_renews_what_jobs_of_an_earlier_one_have(user: Somebody) -> None:
    user.credentials().give(user.sandbox, COMMANDS)
    new = user.has_proxy(NOW + 2 * DAY)
    later = user.credentials()
    assert set(later.renew(user.sandbox)) == {
        "x509.pem",
        "bearer.token",
    }  # it may not have come to it
    assert user.copy() == new


def test_what_new_jobs_are_given_is_for_the_others_too(user: Somebody) -> None:
    credentials = user.credentials()
    credentials.give(user.sandbox, COMMANDS)
    user.has_proxy(NOW + 2 * DAY)
    credentials.give(user.sandbox, COMMANDS)
    assert set(credentials.renew(user.sandbox)) == {"x509.pem"}


def test_where_no_job_has_one_nothing_is_copied(user: Somebody) -> None:
    user.credentials().renew(user.sandbox)
    assert list(user.sandbox.iterdir()) == []


def test_after_the_end_nothing_is_copied(user: Somebody) -> None:
    credentials = user.credentials()
    credentials.give(user.sandbox, COMMANDS)
    old = user.copy()
    user.has_proxy(NOW + 2 * DAY)
    credentials.close()
    credentials.renew(user.sandbox)
    assert user.copy() == old


def test_jobs_of_one_cluster_are_of_one_identity(user: Somebody) -> None:
    credentials = user.credentials()
    credentials.give(user.sandbox, COMMANDS)
    old = user.copy()
    other = grid.issue(grid.name("/DC=test", "/DC=pool", "/CN=Other"), grid.authority())
    user.has_proxy(NOW + 2 * DAY, other)
    with pytest.warns(CredentialWarning, match="is of another identity: running workers keep theirs"):
        credentials.renew(user.sandbox)
    with pytest.raises(OtherIdentityError):
        credentials.check()
    with pytest.raises(NoCredentialError, match="another identity"):
        user.credentials().give(user.sandbox, COMMANDS)  # of another session
    assert user.copy() == old


def test_the_user_is_told_before_it_ends(user: Somebody) -> None:
    credentials = user.credentials(Policy(Rule(Use.REQUIRED), Rule(Use.NEVER)))
    credentials.give(user.sandbox, COMMANDS)
    user.now = NOW + DAY - 1000
    with pytest.warns(CredentialWarning, match=r"ends in 16 min 40 s(.|\n)*Running workers get it by"):
        credentials.renew(user.sandbox)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        credentials.renew(user.sandbox)


def test_a_sandbox_that_cannot_be_written(user: Somebody) -> None:
    credentials = user.credentials()
    credentials.give(user.sandbox, COMMANDS)
    new = user.has_proxy(NOW + 2 * DAY)
    user.sandbox.chmod(0o755)  # it is not private
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        credentials.renew(user.sandbox)
        credentials.renew(user.sandbox)
    assert ["is not private" in str(warning.message) for warning in seen] == [True]
    user.sandbox.chmod(0o700)
    credentials.renew(user.sandbox)
    assert user.copy() == new


def test_nothing_secret_is_shown(user: Somebody) -> None:
    credentials = user.credentials()
    told = credentials.give(user.sandbox, COMMANDS)
    secrets = grid.secrets_of(user.copy()) + grid.secrets_of(user.copy("bearer.token"))
    assert len(secrets) > 2
    everything = f"{told}{credentials!r}{vars(credentials)}"
    assert not [secret for secret in secrets if secret in everything]


def test_what_is_required_is_asked_for_before_there_is_a_cluster(
    answers: Answers, client: HTCGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "none"))
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "none"))
    rules = {"x509": {"use": "if-present"}, "token": {"use": "required"}}
    answers.site = {"runtime": "none", "submitter": "session", "credentials": rules}
    with dask.config.set({"htcdaskgateway.condor.interface": "processes"}):
        with pytest.raises(CredentialMissingError, match="There is no bearer token in any"):
            client.submit()
        assert answers.submitted == []
        rules["token"]["use"] = "if-present"
        client.submit()  # of what is not required nothing is said yet: scale() does
        answers.site["submitter"], rules["token"]["use"] = "gateway", "required"
        client.submit()
    assert len(answers.submitted) == 2
