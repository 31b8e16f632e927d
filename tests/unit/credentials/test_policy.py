from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.credentials import grid
from tests.unit.credentials.grid import DAY, HOUR, NOW

from htcdaskgateway.credentials.errors import (
    CredentialError,
    CredentialExpiredError,
    CredentialMissingError,
    CredentialNotPrivateError,
    CredentialNotYetValidError,
    CredentialTooShortError,
    NoMoreProxiesError,
    VOMissingError,
)
from htcdaskgateway.credentials.policy import Choice, Policy, Rule, Use, choose
from htcdaskgateway.credentials.tokens import BearerToken, parse_token
from htcdaskgateway.credentials.words import TOKEN, X509
from htcdaskgateway.credentials.x509 import X509Proxy, parse_x509

PROXY = parse_x509(grid.example(), "/tmp/x509up_u501")  # of cms, ends in a day
TOKEN_ = parse_token(grid.example_token(), "/tmp/bt_u501")  # ends in an hour
ENDED = replace(PROXY, not_after=NOW)
LATE = replace(PROXY, not_before=NOW + 301)
SOON = replace(PROXY, not_before=NOW + 300)
LAST = replace(PROXY, path_length=0)
PLAIN = replace(PROXY, voms=(), note="its VOMS attributes cannot be read: x")
ABSENT = CredentialMissingError(X509, ("/tmp/x509up_u501",), "", "make")
NAMED = CredentialMissingError(X509, ("/x",), "X509_USER_PROXY", "make")
OPEN = CredentialNotPrivateError(X509, "/tmp/x509up_u501", 0o644)

R, P, N = Use.REQUIRED, Use.IF_PRESENT, Use.NEVER


# use, minimum in seconds, VO; what was found; what comes of it: given, nothing, an error if required
@pytest.mark.parametrize("use", [R, P, N], ids=str)
@pytest.mark.parametrize(
    ("minimum", "vo", "found", "problem"),
    [
        (0, "", PROXY, None),
        (0, "cms", PROXY, None),
        (DAY, "", PROXY, None),
        (DAY + 1, "", PROXY, CredentialTooShortError),
        (0, "dune", PROXY, VOMissingError),
        (0, "cms", PLAIN, VOMissingError),
        (0, "", PLAIN, None),
        (0, "", LAST, NoMoreProxiesError),
        (0, "", replace(PROXY, path_length=-1), NoMoreProxiesError),
        (0, "", replace(PROXY, path_length=1), None),
        (0, "", ENDED, CredentialExpiredError),
        (DAY, "dune", ENDED, CredentialExpiredError),
        (0, "", LATE, CredentialNotYetValidError),
        (0, "", SOON, None),
        (0, "", OPEN, CredentialNotPrivateError),
        (0, "", NAMED, CredentialMissingError),
    ],
)
def test_x509(
    use: Use,
    minimum: float,
    vo: str,
    found: X509Proxy | CredentialError,
    problem: type[CredentialError] | None,
) -> None:
    policy = Policy(x509=Rule(use, minimum, vo), token=Rule(N))
    if use is R and problem:
        with pytest.raises(problem):
            choose(policy, found, None, NOW)
        return
    choice = choose(policy, found, None, NOW)
    assert choice.x509 is (found if use is not N and problem is None else None)
    assert [type(warning) for warning in choice.warnings] == ([problem] if use is P and problem else [])


def test_nobody_need_have_what_is_used_if_present() -> None:
    assert choose(Policy(), ABSENT, ABSENT, NOW) == Choice()
    with pytest.raises(CredentialMissingError):
        choose(Policy(x509=Rule(R)), ABSENT, ABSENT, NOW)


@pytest.mark.parametrize("x509", [R, P, N], ids=str)
@pytest.mark.parametrize("token", [R, P, N], ids=str)
def test_both_kinds_are_chosen_by_their_own_rules(x509: Use, token: Use) -> None:
    choice = choose(Policy(Rule(x509), Rule(token)), PROXY, TOKEN_, NOW)
    assert choice == Choice(PROXY if x509 is not N else None, TOKEN_ if token is not N else None)


def test_a_token_may_be_too_short() -> None:
    with pytest.raises(CredentialTooShortError) as caught:
        choose(Policy(Rule(N), Rule(R, 2 * HOUR, command="htgettoken -i cms")), None, TOKEN_, NOW)
    assert str(caught.value) == (
        "The bearer token /tmp/bt_u501 is valid for 1 h more, this site asks for at least 2 h.\n"
        "  path:        /tmp/bt_u501\n"
        "  subject:     analyst of https://issuer.test\n"
        "  valid until: 2027-01-15 09:00:00 UTC\n"
        "Make a new one: htgettoken -i cms; `htdecodetoken` shows what one says"
    )


def test_what_is_wanted_must_have_been_looked_for() -> None:
    with pytest.raises(TypeError):
        choose(Policy(), None, ABSENT, NOW)


def test_the_sites_command_and_vo_are_in_the_remedy() -> None:
    rule = Rule(R, vo="dune", command="get-proxy --vo {vo}")
    with pytest.raises(VOMissingError) as caught:
        choose(Policy(rule, Rule(N)), PLAIN, None, NOW)
    assert str(caught.value) == (
        "The X.509 proxy /tmp/x509up_u501 has no VOMS attributes of dune.\n"
        "  path:        /tmp/x509up_u501\n"
        "  subject:     /DC=test/DC=pool/CN=Analyst\n"
        "  valid until: 2027-01-16 08:00:00 UTC\n"
        "  note:        its VOMS attributes cannot be read: x\n"
        "Make a new one: get-proxy --vo dune"
    )


def test_the_kind_of_a_token() -> None:
    assert isinstance(TOKEN_, BearerToken)
    assert (TOKEN_.about.kind, PROXY.about.kind) == (TOKEN, X509)
