from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.credentials import grid
from tests.unit.credentials.grid import DAY, HOUR, NOW

from htcdaskgateway.credentials.errors import (
    CredentialEndsSoonError,
    CredentialError,
    CredentialExpiredError,
    CredentialGarbledError,
    CredentialMissingError,
    CredentialNotYetValidError,
    OtherIdentityError,
    VOMissingError,
)
from htcdaskgateway.credentials.files import FileIdentity
from htcdaskgateway.credentials.policy import Rule
from htcdaskgateway.credentials.tokens import parse_token
from htcdaskgateway.credentials.watch import Act, Decision, Watch, has_changed, look, start
from htcdaskgateway.credentials.words import X509
from htcdaskgateway.credentials.x509 import parse_x509

FILE, FILE2, FILE3 = (FileIdentity(1, inode, 5000, 0) for inode in (1, 2, 3))
OLD = replace(parse_x509(grid.example(), "/tmp/x509up_u501"), file=FILE, not_after=NOW + 5 * HOUR)
NEW = replace(OLD, file=FILE2, fingerprint="new", not_after=NOW + DAY)
GARBLED = CredentialGarbledError(X509, "/tmp/x509up_u501", "it is cut short", "make")
GONE = CredentialMissingError(X509, ("/tmp/x509up_u501",), "", "make")
RULE = Rule(minimum=2 * DAY)


def decide(
    watch: Watch,
    file: FileIdentity | None,
    found: object,
    now: float = NOW,
) -> Decision:
    return look(watch, file, found, RULE, HOUR, now)  # type: ignore[arg-type]  # any of the table's


@pytest.mark.parametrize(
    ("new", "act", "warning"),
    [
        (NEW, Act.RENEW, None),
        (replace(OLD, file=FILE2), Act.KEEP, None),  # touched, or written once more
        (replace(NEW, not_after=NOW + 6 * HOUR), Act.RENEW, None),  # shorter than for submitting
        (replace(NEW, not_after=OLD.not_after), Act.KEEP, None),
        (replace(NEW, not_after=NOW + 4 * HOUR), Act.KEEP, None),
        (replace(NEW, not_after=NOW - 1), Act.WARN, CredentialExpiredError),
        (replace(NEW, not_before=NOW + HOUR), Act.WARN, CredentialNotYetValidError),
        (replace(NEW, identity="/CN=Else"), Act.WARN, OtherIdentityError),
        (replace(NEW, voms=()), Act.WARN, VOMissingError),
    ],
)
def test_a_changed_file(new: object, act: Act, warning: type[CredentialError] | None) -> None:
    assert has_changed(start(OLD), FILE2)
    decision = decide(start(OLD), FILE2, new)
    assert decision.act is act
    assert isinstance(decision.warning, warning or type(None))
    assert decision.watch.credential is (new if act is Act.RENEW else OLD)
    # It is dealt with, whatever it was.
    assert not has_changed(decision.watch, FILE2)
    assert decide(decision.watch, FILE2, None) == Decision(Act.KEEP, decision.watch)


def test_nothing_happens_while_the_file_stays() -> None:
    watch = start(OLD)
    assert not has_changed(watch, FILE)
    assert decide(watch, FILE, None) == Decision(Act.KEEP, watch)


@pytest.mark.parametrize(("file", "error"), [(FILE2, GARBLED), (None, GONE)])
def test_what_cannot_be_used_may_be_in_the_middle_of_being_written(
    file: FileIdentity | None, error: CredentialError
) -> None:
    first = decide(start(OLD), file, error)
    assert (first.act, first.watch.credential) == (Act.KEEP, OLD)
    assert has_changed(first.watch, file)  # so it is read again
    second = decide(first.watch, file, error)
    assert (second.act, second.warning) == (Act.WARN, error)
    assert not has_changed(second.watch, file)  # and said once
    assert decide(second.watch, file, None).act is Act.KEEP
    # and when it is whole
    assert decide(first.watch, FILE3, replace(NEW, file=FILE3)).act is Act.RENEW
    assert decide(second.watch, FILE3, replace(NEW, file=FILE3)).act is Act.RENEW


def test_a_doubt_that_was_none_is_forgotten() -> None:
    doubted = decide(start(OLD), FILE2, GARBLED).watch
    assert decide(doubted, FILE2, replace(OLD, file=FILE2)).watch == replace(start(OLD), seen=FILE2)


def test_the_end_is_said_an_hour_before_and_when_it_comes_once_each() -> None:
    watch, acts, now = start(OLD), [], NOW
    while now < NOW + 7 * HOUR:
        decision = decide(watch, FILE, None, now)
        watch = decision.watch
        if decision.warning:
            acts.append(((now - NOW) / HOUR, type(decision.warning)))
        now += 0.25 * HOUR
    assert acts == [(4, CredentialEndsSoonError), (5, CredentialExpiredError)]
    # and a new one is taken as ever
    assert decide(watch, FILE2, NEW, now).watch == start(NEW)


def test_tokens_are_renewed_too() -> None:
    old = replace(parse_token(grid.example_token(), "/tmp/bt_u501"), file=FILE)
    new = replace(old, not_after=NOW + 2 * HOUR, fingerprint="new", file=FILE2, scopes=())
    assert decide(start(old), FILE2, new).act is Act.RENEW
    other = decide(start(old), FILE2, replace(new, subject="else"))
    assert isinstance(other.warning, OtherIdentityError)
    # one that the environment holds has no file
    assert not has_changed(start(replace(old, path="", file=None)), None)


def test_what_is_said_of_another_identity_and_of_the_end() -> None:
    assert str(decide(start(OLD), FILE2, replace(NEW, identity="/CN=Else")).warning) == (
        "The new X.509 proxy /tmp/x509up_u501 is of another identity: running workers keep theirs.\n"
        "  path:         /tmp/x509up_u501\n"
        "  subject:      /CN=Else\n"
        "  VO:           cms\n"
        "  valid until:  2027-01-16 08:00:00 UTC\n"
        "  workers have: /DC=test/DC=pool/CN=Analyst\n"
        "Make a new cluster to use it."
    )
    assert str(decide(start(OLD), FILE, None, NOW + 4.5 * HOUR).warning) == (
        "The X.509 proxy that the workers have, /tmp/x509up_u501, ends in 30 min.\n"
        "  path:        /tmp/x509up_u501\n"
        "  subject:     /DC=test/DC=pool/CN=Analyst\n"
        "  VO:          cms\n"
        "  valid until: 2027-01-15 13:00:00 UTC\n"
        "Make a new one: voms-proxy-init -voms cms -valid 192:00. Running workers get it by themselves."
    )
