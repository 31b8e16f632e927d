from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.credentials.grid import HOUR, NOW, example_token, token

from htcdaskgateway.credentials import tokens
from htcdaskgateway.credentials.errors import (
    CredentialForeignError,
    CredentialGarbledError,
    CredentialMissingError,
    CredentialNotPrivateError,
)
from htcdaskgateway.credentials.tokens import parse_token, read_token, token_files

UID = os.getuid()


def test_the_claims() -> None:
    found = parse_token(b" \n" + example_token() + b"\n", "/x")
    assert (found.subject, found.issuer) == ("analyst", "https://issuer.test")
    assert found.scopes == ("storage.read:/", "storage.create:/store")
    assert (found.not_before, found.time_left(NOW)) == (NOW - HOUR, HOUR)
    assert found.identity == "analyst of https://issuer.test"
    assert found.fingerprint == parse_token(example_token(), "/x").fingerprint


def test_scopes_may_be_a_list_and_most_claims_missing() -> None:
    found = parse_token(token({"exp": NOW, "scope": ["a", "b"]}), "/x")
    assert (found.scopes, found.subject, found.not_before) == (("a", "b"), "", 0)


NO_JWT = "it is no JWT (three parts, with dots between them)"
NO_CLAIMS = "its claims cannot be read"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", NO_JWT),
        (b"opaque", NO_JWT),
        (b"a.b", NO_JWT),
        (b"a.b.c.d.e", NO_JWT),
        (example_token() + b"\nmore", NO_JWT),
        (b"Bearer " + example_token(), NO_JWT),
        (token({"exp": NOW}, signature=""), NO_JWT),
        (example_token(x="y" * tokens.MOST_CHARACTERS), NO_JWT),
        (b"a.b.c", NO_CLAIMS),
        (token(b"[1]"), NO_CLAIMS),
        (token(b"{"), NO_CLAIMS),
        (token(b"\xff\xfe"), NO_CLAIMS),
        (token(b"[" * 40000), NO_CLAIMS),
        (token(b'{"exp": ' + b"9" * 5000 + b"}"), NO_CLAIMS),
        (token({}), "it has no time 'exp'"),
        (token({"exp": "tomorrow"}), "it has no time 'exp'"),
        (token({"exp": True}), "it has no time 'exp'"),
        (token({"exp": None}), "it has no time 'exp'"),
        (token(b'{"exp": NaN}'), "its time 'exp' is no number of seconds"),
        (token(b'{"exp": 1e999}'), "its time 'exp' is no number of seconds"),
        (token(b'{"exp": ' + b"9" * 1000 + b"}"), "its time 'exp' is no number of seconds"),
        (token({"exp": NOW, "nbf": "x"}), "it has no time 'nbf'"),
    ],
)
def test_what_is_no_token_says_why(content: bytes, why: str) -> None:
    with pytest.raises(CredentialGarbledError) as caught:
        parse_token(content, "/run/bt_u1", "htgettoken -a vault.test -i cms")
    assert caught.value.why == why
    assert str(caught.value) == (
        f"What /run/bt_u1 holds cannot be used as bearer token: {why}.\n"
        "Make a new one: htgettoken -a vault.test -i cms; `htdecodetoken` shows what one says"
    )


@pytest.mark.parametrize(
    ("environ", "files"),
    [
        ({}, ["/tmp/bt_u501"]),
        ({"XDG_RUNTIME_DIR": "/run/user/501"}, ["/run/user/501/bt_u501", "/tmp/bt_u501"]),
        ({"BEARER_TOKEN_FILE": "/t", "XDG_RUNTIME_DIR": "/r"}, ["/t", "/r/bt_u501", "/tmp/bt_u501"]),
        ({"BEARER_TOKEN_FILE": "", "XDG_RUNTIME_DIR": ""}, ["/tmp/bt_u501"]),
    ],
)
def test_where_it_is_looked_for(environ: dict[str, str], files: list[str]) -> None:
    assert list(token_files(environ, 501)) == files


@pytest.fixture
def places(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Put tokens of these subjects where they are looked for."""

    def put(**subjects: str) -> dict[str, str]:
        environ = {"BEARER_TOKEN_FILE": f"{tmp_path}/named", "XDG_RUNTIME_DIR": str(tmp_path)}
        for place, subject in subjects.items():
            content = example_token(sub=subject) if subject.strip() else subject.encode()
            if place == "environment":
                environ["BEARER_TOKEN"] = content.decode()
            else:
                path = tmp_path / {"named": "named", "runtime": f"bt_u{UID}"}[place]
                path.write_bytes(content)
                path.chmod(0o600)
        return environ

    return put


@pytest.mark.parametrize(
    ("subjects", "subject"),
    [
        ({"environment": "a", "named": "b", "runtime": "c"}, "a"),
        ({"environment": " \t", "named": "b", "runtime": "c"}, "b"),
        ({"named": "b", "runtime": "c"}, "b"),
        ({"named": " \n\v\f", "runtime": "c"}, "c"),
        ({"runtime": "c"}, "c"),
    ],
)
def test_the_first_that_is_not_empty_is_taken(
    places: Callable[..., dict[str, str]], subjects: dict[str, str], subject: str
) -> None:
    assert read_token(places(**subjects), UID).subject == subject


def test_the_file_is_remembered(places: Callable[..., dict[str, str]]) -> None:
    environ = places(named="b")
    found = read_token(environ, UID)
    assert found.path == environ["BEARER_TOKEN_FILE"]
    assert found.file is not None
    assert found.about.place == found.path
    assert read_token(places(environment="a"), UID).about.place == "$BEARER_TOKEN"


def test_a_bad_one_ends_the_search(places: Callable[..., dict[str, str]]) -> None:
    environ = places(named="b", runtime="c")
    named = Path(environ["BEARER_TOKEN_FILE"])
    named.write_bytes(b"opaque")
    with pytest.raises(CredentialGarbledError):
        read_token(environ, UID)
    named.chmod(0o644)
    with pytest.raises(CredentialNotPrivateError):
        read_token(environ, UID)
    with pytest.raises(CredentialForeignError):
        read_token(environ, UID + 1)


def test_none_says_where_it_was_looked_for(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    with pytest.raises(CredentialMissingError) as caught:
        read_token(environ, 4294967294)
    assert str(caught.value) == (
        "There is no bearer token in any of the usual places.\n"
        "  looked for: $BEARER_TOKEN\n"
        f"              {tmp_path}/bt_u4294967294\n"
        "              /tmp/bt_u4294967294\n"
        "Make a new one: htgettoken; `htdecodetoken` shows what one says"
    )
