"""No key and no token in what is returned, raised or printed; and only our own errors, whatever is read."""

from __future__ import annotations

import base64
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.credentials import grid
from tests.unit.credentials.grid import NOW

from htcdaskgateway.credentials.errors import CredentialError
from htcdaskgateway.credentials.files import write_private
from htcdaskgateway.credentials.find import copy_credential, find_credentials
from htcdaskgateway.credentials.policy import Policy, Rule, Use
from htcdaskgateway.credentials.tokens import parse_token, read_token
from htcdaskgateway.credentials.watch import start
from htcdaskgateway.credentials.x509 import X509Proxy, parse_x509, read_x509
from htcdaskgateway.errors import HTCDaskError, SandboxError

UID = os.getuid()
PROXY, TOKEN = grid.example(), grid.example_token()
OTHER = grid.user()


def visible(value: object) -> str:
    """Give everything that anybody could print of a value, an error with the frames of its traceback."""
    texts = [repr(value), str(value), repr(pickle.dumps(value)), repr(getattr(value, "__dict__", ""))]
    if isinstance(value, BaseException):
        texts += [visible(other) for other in (value.__cause__, value.__context__) if other]
        frame = value.__traceback__
        while frame:
            if "htcdaskgateway" in frame.tb_frame.f_code.co_filename:
                texts.append(repr(frame.tb_frame.f_locals))
            frame = frame.tb_next
    return "\n".join(texts)


def assert_silent(value: object, content: bytes) -> None:
    text = visible(value)
    for secret in grid.secrets_of(content):
        assert secret
        assert secret not in text


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except HTCDaskError as error:
        return error


BROKEN = {
    "whole": PROXY,
    "cut": PROXY[:-30],
    "cut after the key": PROXY[: PROXY.index(b"PRIVATE KEY-----\n", PROXY.index(b"-----END EC")) + 17],
    "another certificate": PROXY + OTHER.pem,
    "garbled certificate": PROXY.replace(b"MII", b"M%I"),
    "garbled key": PROXY.replace(b"EC PRIVATE KEY", b"PRIVATE KEY"),
    "twice": PROXY + PROXY,
    "wrong key": grid.proxy_file(grid.proxy_of(OTHER, grid.proxy_info()), OTHER, key=grid.user()),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_x509(tmp_path: Path, case: str, mode: int) -> None:
    path = tmp_path / "proxy"
    path.write_bytes(BROKEN[case])
    path.chmod(mode)
    environ = {"X509_USER_PROXY": str(path)}
    for found in (
        outcome(lambda: read_x509(environ, UID)),
        outcome(lambda: read_x509(environ, UID + 1)),
        outcome(lambda: find_credentials(Policy(Rule(Use.REQUIRED, 1e9)), environ, UID, NOW)),
        outcome(lambda: find_credentials(Policy(), environ, UID, NOW)),
    ):
        assert isinstance(found, (X509Proxy, CredentialError)) or found.warnings or found.x509
        assert_silent(found, BROKEN[case])


@pytest.mark.parametrize(
    "content",
    [TOKEN, TOKEN + b" x", TOKEN.replace(b".", b"..", 1), grid.token(b"{"), grid.token({"sub": "x"})],
)
def test_tokens(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    for environ in ({"BEARER_TOKEN_FILE": str(path)}, {"BEARER_TOKEN": content.decode()}):
        found = outcome(lambda environ=environ: read_token(environ, UID))  # type: ignore[misc]  # a lambda's default
        # the caller's environment is the caller's
        environ.clear()
        assert_silent(found, content)


@pytest.mark.parametrize("way", ["not private", "a directory in its place", "gone", "changed", "garbled"])
def test_copies(tmp_path: Path, way: str) -> None:
    tmp_path.chmod(0o700)
    write_private(PROXY, tmp_path, "proxy")
    environ = {"X509_USER_PROXY": str(tmp_path / "proxy")}
    proxy = read_x509(environ, UID)
    sandbox = tmp_path / "sandbox"
    sandbox.mkdir(mode=0o755 if way == "not private" else 0o700)
    match way:
        case "a directory in its place":
            (sandbox / "x509").mkdir()
        case "gone":
            (tmp_path / "proxy").unlink()
        case "changed":
            (tmp_path / "proxy").write_bytes(grid.example(vo=False))
        case "garbled":
            (tmp_path / "proxy").write_bytes(PROXY[:-50])
    error = outcome(lambda: copy_credential(proxy, environ, UID, sandbox, "x509"))
    assert isinstance(error, (CredentialError, SandboxError))
    assert_silent(error, PROXY)
    assert_silent(error, grid.example(vo=False))
    assert_silent(start(proxy), PROXY)


def test_this_test_can_fail() -> None:
    key = grid.secrets_of(PROXY)[0]

    def careless(content: bytes) -> None:
        raise CredentialError(f"x {content!r}")

    with pytest.raises(AssertionError):
        assert_silent(outcome(lambda: careless(PROXY)), PROXY)
    assert key in visible(CredentialError(key))


def only_ours(parse: Callable[[bytes, str], object], content: bytes) -> None:
    found = outcome(lambda: parse(content, "/x"))
    assert not isinstance(found, HTCDaskError) or isinstance(found, CredentialError)
    assert len(str(found)) < 10_000


CUTS = st.integers(0, len(PROXY))


@given(CUTS)
@settings(max_examples=300)
def test_any_beginning_of_a_proxy(size: int) -> None:
    only_ours(parse_x509, PROXY[:size])


@given(CUTS, CUTS, st.binary(max_size=20))
@settings(max_examples=300)
@example(0, 0, b"-----BEGIN ")
def test_a_proxy_with_a_part_replaced(begin: int, end: int, part: bytes) -> None:
    only_ours(parse_x509, PROXY[:begin] + part + PROXY[end:])


def blocks() -> list[tuple[str, bytes]]:
    parts = PROXY.decode().split("-----BEGIN ")[1:]
    return [(part.partition("-----")[0], base64.b64decode("".join(part.split("\n")[1:-2]))) for part in parts]


def pem(label: str, content: bytes) -> bytes:
    text = base64.encodebytes(content).decode()
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode()


# of serial numbers that are not positive
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.integers(0, 2), st.data())
@settings(max_examples=600)
def test_a_proxy_with_bytes_of_its_der_changed(which: int, data: st.DataObject) -> None:
    made = blocks()
    label, content = made[which]
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    made[which] = (label, bytes(changed))
    only_ours(parse_x509, b"".join(pem(*one) for one in made))


PERSON = grid.user()
AC = grid.voms().value


@given(st.binary(max_size=200) | st.builds(lambda cut: AC[:cut], st.integers(0, len(AC))))
@settings(max_examples=150)
def test_any_voms_attributes(value: bytes) -> None:
    made = grid.proxy_of(PERSON, grid.proxy_info(), grid.voms_value(value))
    found = parse_x509(grid.proxy_file(made, PERSON), "/x")
    assert not (found.voms and found.note)


@given(st.binary(max_size=60))
@settings(max_examples=150)
def test_any_proxy_info(value: bytes) -> None:
    info = type(grid.proxy_info())(grid.proxy_info().oid, value)
    only_ours(parse_x509, grid.proxy_file(grid.proxy_of(PERSON, info), PERSON))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
CLAIMS = st.dictionaries(st.sampled_from(["exp", "nbf", "sub", "iss", "scope", "x"]), JSON)


@given(CLAIMS.map(grid.token) | st.binary(max_size=200) | st.builds(grid.token, st.binary(max_size=100)))
@settings(max_examples=500)
def test_any_token(content: bytes) -> None:
    only_ours(parse_token, content)


@given(st.integers(0, len(TOKEN)))
def test_any_beginning_of_a_token(size: int) -> None:
    only_ours(parse_token, TOKEN[:size])
