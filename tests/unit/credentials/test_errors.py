from __future__ import annotations

import pickle

import pytest
from tests.unit.credentials.grid import DAY, HOUR, NOW

from htcdaskgateway.credentials import errors
from htcdaskgateway.credentials.words import (
    TOKEN,
    USER_CERTIFICATE,
    X509,
    X509_MEND,
    About,
    duration,
    mending,
    moment,
    shown,
)
from htcdaskgateway.errors import InvalidRequestError

PATH = "/tmp/x509up_u501"
ABOUT = About(X509, PATH, "/DC=test/CN=Analyst", "cms", NOW)

ALL: list[errors.CredentialError] = [
    errors.CredentialError("A sentence."),
    errors.CredentialMissingError(X509, (PATH,), "", "make"),
    errors.CredentialUnreadableError(X509, PATH, "Permission denied"),
    errors.CredentialNotPrivateError(X509, PATH, 0o644),
    errors.CredentialForeignError(X509, PATH, 0, 501, "make"),
    errors.CredentialGarbledError(X509, PATH, "it is empty", "make"),
    errors.KeyMismatchError(PATH, "/CN=x", "make"),
    errors.CredentialExpiredError(ABOUT, NOW + HOUR, "make"),
    errors.CredentialTooShortError(ABOUT, NOW - HOUR, DAY, "make"),
    errors.CredentialNotYetValidError(ABOUT, NOW + HOUR, NOW, "make"),
    errors.VOMissingError(ABOUT, "dune", "", "make"),
    errors.NoMoreProxiesError(ABOUT, "make"),
    errors.CredentialEndsSoonError(ABOUT, NOW - HOUR, "make"),
    errors.OtherIdentityError(ABOUT, "/CN=x"),
    errors.CredentialChangedError(TOKEN, PATH),
    errors.NotDeliveredError(ABOUT, "no answer"),
]


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_every_error_survives_pickle_and_is_one_sentence(error: errors.CredentialError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))
    assert isinstance(error, InvalidRequestError)
    assert error.sentence.endswith(".")
    assert "\n" not in error.sentence


def test_every_error_is_listed_here() -> None:
    def below(kind: type[Exception]) -> set[str]:
        return {kind.__name__}.union(*(below(sub) for sub in kind.__subclasses__()))

    assert below(errors.CredentialError) == {type(error).__name__ for error in ALL}


def test_an_ended_one() -> None:
    about = About(X509, PATH, "/DC=test/CN=Analyst", "cms", NOW, "VOMS attributes of cms")
    assert str(errors.CredentialExpiredError(about, NOW + 3 * HOUR, "voms-proxy-init -voms cms")) == (
        "The X.509 proxy /tmp/x509up_u501 expired 3 h ago.\n"
        "  path:        /tmp/x509up_u501\n"
        "  subject:     /DC=test/CN=Analyst\n"
        "  VO:          cms\n"
        "  valid until: 2027-01-15 08:00:00 UTC\n"
        "  ends first:  VOMS attributes of cms\n"
        "Make a new one: voms-proxy-init -voms cms"
    )


def test_where_a_new_proxy_would_not_help() -> None:
    about = About(X509, PATH, "/CN=me", "", NOW, f"{USER_CERTIFICATE}/CN=me")
    error = errors.CredentialExpiredError(about, NOW + 40 * DAY, "make")
    assert error.remedy == "Renew your certificate at its authority first. Make a new one: make"


def test_not_yet_valid() -> None:
    about = About(TOKEN, "$BEARER_TOKEN", "me of https://issuer.test", "", NOW + DAY)
    assert str(errors.CredentialNotYetValidError(about, NOW + 2 * HOUR, NOW, "htgettoken")) == (
        "The bearer token $BEARER_TOKEN is not valid yet: it begins in 2 h.\n"
        "  place:       $BEARER_TOKEN\n"
        "  subject:     me of https://issuer.test\n"
        "  valid until: 2027-01-16 08:00:00 UTC\n"
        "  valid from:  2027-01-15 10:00:00 UTC\n"
        "  clock here:  2027-01-15 08:00:00 UTC\n"
        "Check this machine's clock: date -u. Make a new one: htgettoken; `htdecodetoken` shows what one says"
    )


def test_names_of_others_cannot_break_out_of_a_message() -> None:
    nasty = "/CN=x\n\x1b[31mRemedy: rm -rf ~\u2028" + "y" * 1000
    about = About(X509, "/tmp/a\nb", nasty, "c;rm", NOW)
    text = str(errors.CredentialExpiredError(about, NOW + 1, "make"))
    assert "\x1b" not in text
    assert "\u2028" not in text
    assert len(text.splitlines()) == 6
    assert max(map(len, text.splitlines())) < 400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (3601, "1 h"),
        (90061, "1 d 1 h"),
        (86400 * 8, "8 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("vo", "path", "command"),
    [
        ("", "", "voms-proxy-init -voms VO -valid 192:00"),
        ("cms", "/tmp/x509up_u501", "voms-proxy-init -voms cms -valid 192:00"),
        ("cms", "/home/me/my proxy", "voms-proxy-init -voms cms -valid 192:00 -out '/home/me/my proxy'"),
        ("a;b", "/tmp/x509up_u1/x", "voms-proxy-init -voms 'a;b' -valid 192:00 -out /tmp/x509up_u1/x"),
    ],
)
def test_the_command_that_makes_a_new_one(vo: str, path: str, command: str) -> None:
    assert mending(X509_MEND, vo, path) == command


def test_moments_and_texts_of_any_size() -> None:
    assert moment(0) == "1970-01-01 00:00:00 UTC"
    assert moment(1e300) == "1e+300 s after 1970"
    assert shown("a\tb\x7fé") == "a\\tb\\x7fé"
