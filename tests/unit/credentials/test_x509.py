from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.unit.credentials import grid
from tests.unit.credentials.grid import DAY, HOUR, NOW, Holder, proxy_file, proxy_info, proxy_of, user

from htcdaskgateway.credentials import files
from htcdaskgateway.credentials.errors import (
    CredentialError,
    CredentialForeignError,
    CredentialGarbledError,
    CredentialMissingError,
    CredentialNotPrivateError,
    CredentialUnreadableError,
    KeyMismatchError,
)
from htcdaskgateway.credentials.x509 import find_x509, parse_x509, read_x509

UID = os.getuid()
IDENTITY = "/DC=test/DC=pool/CN=Analyst"


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_a_delegated_proxy_is_its_users(depth: int) -> None:
    chain = [user()]
    for number in range(depth):
        chain.insert(0, proxy_of(chain[0], proxy_info(), common_name=str(number)))
    proxy = parse_x509(proxy_file(*chain), "/x")
    names = "".join(f"/CN={number}" for number in range(depth))
    assert proxy.identity == IDENTITY
    assert proxy.subject == IDENTITY + names
    assert proxy.issuer == (IDENTITY + names).rpartition("/CN=")[0]
    assert (proxy.sort, proxy.limited, proxy.path_length) == ("RFC 3820", False, None)
    assert (proxy.voms, proxy.vo, proxy.note) == ((), "", "")


def test_the_order_of_the_issuers_does_not_matter_and_the_authority_may_be_there() -> None:
    person = user()
    first = proxy_of(person, proxy_info())
    second = proxy_of(first, proxy_info())
    content = proxy_file(second, grid.authority(), person, first)
    assert parse_x509(content, "/x").identity == IDENTITY


def limits(*lengths: int | None) -> bytes:
    """Make a file of proxies with these path lengths, the one nearest to the user first."""
    chain = [user()]
    for length in lengths:
        chain.insert(0, proxy_of(chain[0], proxy_info(path_length=length)))
    return proxy_file(*chain)


@pytest.mark.parametrize(
    ("lengths", "left"),
    [
        ((None,), None),
        ((0,), 0),
        ((3,), 3),
        ((3, None), 2),
        ((None, 5, None), 4),
        ((2, 5), 1),
        ((10, 1), 1),
    ],
)
def test_how_many_more_may_be_made(lengths: tuple[int | None, ...], left: int | None) -> None:
    assert parse_x509(limits(*lengths), "/x").path_length == left


SORTS: dict[str, tuple[Callable[[Holder], Holder], str, bool]] = {
    "limited": (lambda person: proxy_of(person, proxy_info(grid.LIMITED)), "RFC 3820", True),
    "limited before": (
        lambda person: proxy_of(person, proxy_info(grid.LIMITED)),
        "RFC 3820",
        True,
    ),
    "draft": (lambda person: proxy_of(person, grid.draft_info(path_length=1)), "draft", False),
    "draft, limited": (lambda person: proxy_of(person, grid.draft_info(grid.LIMITED)), "draft", True),
    "legacy": (lambda person: proxy_of(person, common_name="proxy"), "legacy", False),
    "legacy, limited": (lambda person: proxy_of(person, common_name="limited proxy"), "legacy", True),
}


@pytest.mark.parametrize("sort", SORTS)
def test_sorts_of_proxies(sort: str) -> None:
    make, name, limited = SORTS[sort]
    person = user()
    chain = [make(person), person]
    if sort == "limited before":
        chain.insert(0, proxy_of(chain[0], proxy_info()))
    proxy = parse_x509(proxy_file(*chain), "/x")
    assert (proxy.sort, proxy.limited, proxy.identity) == (name, limited, IDENTITY)


def test_keys_may_be_of_any_usual_sort_and_form() -> None:
    person = user()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    made = proxy_of(person, proxy_info())
    builder = made.key_pem  # of another key
    assert b"EC PRIVATE KEY" in builder
    pkcs8 = made.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert parse_x509(made.pem + pkcs8 + person.pem, "/x").identity == IDENTITY
    foreign = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(KeyMismatchError):
        parse_x509(made.pem + foreign + person.pem, "/x")


def ending(proxy: float = DAY, person: float = 300 * DAY, attributes: float | None = None) -> bytes:
    holder = user(end=NOW + person)
    ac = [] if attributes is None else [grid.voms(grid.attribute_certificate(end=NOW + attributes))]
    return proxy_file(proxy_of(holder, proxy_info(), *ac, end=NOW + proxy), holder)


@pytest.mark.parametrize(
    ("content", "left", "limit"),
    [
        (ending(proxy=5 * HOUR), 5 * HOUR, ""),
        (ending(proxy=5 * HOUR, attributes=5 * HOUR), 5 * HOUR, ""),
        (ending(proxy=9 * HOUR, attributes=2 * HOUR), 2 * HOUR, "VOMS attributes of cms"),
        (ending(proxy=9 * HOUR, person=HOUR), HOUR, f"user certificate {IDENTITY}"),
        (ending(proxy=-HOUR), -HOUR, ""),
    ],
)
def test_the_first_end_counts(content: bytes, left: float, limit: str) -> None:
    proxy = parse_x509(content, "/x")
    assert proxy.time_left(NOW) == left
    assert proxy.limit == limit


def test_a_certificate_that_is_not_of_the_chain_counts_too_as_for_htcondor() -> None:
    person = user()
    other = grid.issue(grid.name("/CN=Other"), grid.authority(), end=NOW + HOUR)
    proxy = parse_x509(proxy_file(proxy_of(person, proxy_info()), person, other), "/x")
    assert (proxy.time_left(NOW), proxy.limit) == (HOUR, "certificate /CN=Other")


def test_the_last_beginning_counts() -> None:
    person = user()
    late = grid.voms(grid.attribute_certificate(begin=NOW + HOUR))
    assert parse_x509(proxy_file(proxy_of(person, proxy_info(), late), person), "/x").not_before == NOW + HOUR


PERSON = user()
PROXY = proxy_of(PERSON, proxy_info())
OTHER = user()
LOCKED = PROXY.key.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"word"),
)

GARBLED: dict[str, tuple[bytes, str]] = {
    "empty": (b" \n", "it is empty"),
    "text": (b"hello", "it holds no certificate"),
    "no key": (PROXY.pem + PERSON.pem, "it holds no private key"),
    "only a key": (PROXY.key_pem, "it holds no certificate"),
    "two keys": (proxy_file(PROXY, PERSON) + PROXY.key_pem, "it holds several private keys"),
    "pass phrase": (PROXY.pem + LOCKED + PERSON.pem, "its private key is protected by a pass phrase"),
    "cut": (proxy_file(PROXY, PERSON)[:-40], "it is cut short"),
    "cut in the key": (proxy_file(PROXY, PERSON)[: len(PROXY.pem) + 60], "it is cut short"),
    "no chain": (proxy_file(PROXY), f"the certificate {IDENTITY} is not in it"),
    "another signer": (
        proxy_file(PROXY, OTHER),
        f"{IDENTITY}/CN=1234 is not signed by the certificate that it names",
    ),
    "user certificate": (
        proxy_file(PERSON, grid.authority()),
        "it is a user certificate, no proxy made from one",
    ),
    "named otherwise": (
        proxy_file(grid.issue(grid.name("/CN=Else", "/CN=1"), PERSON, [proxy_info()]), PERSON),
        "a proxy in it is not named after what it was made from",
    ),
    "many": (proxy_file(PROXY, *[PERSON] * 40), "it holds more than 32 certificates"),
    "base64": (PROXY.pem.replace(b"M", b"%"), "a certificate in it cannot be read"),
    "der": (
        b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n" + PROXY.key_pem,
        "a certificate in it cannot be read",
    ),
    "bad key": (
        PROXY.pem + b"-----BEGIN PRIVATE KEY-----\nMAMCAQE=\n-----END PRIVATE KEY-----\n" + PERSON.pem,
        "its private key cannot be read",
    ),
}


@pytest.mark.parametrize("case", GARBLED)
def test_what_is_no_proxy_says_why(case: str) -> None:
    content, why = GARBLED[case]
    with pytest.raises(CredentialGarbledError) as caught:
        parse_x509(content, "/tmp/x509up_u1")
    assert caught.value.why == why
    assert str(caught.value) == (
        f"What /tmp/x509up_u1 holds cannot be used as X.509 proxy: {why}.\n"
        "Make a new one, with the name of your virtual organization for VO:"
        " voms-proxy-init -voms VO -valid 192:00"
    )


def test_a_key_of_another_certificate() -> None:
    person = user()
    other = proxy_of(person, proxy_info(), grid.voms())
    with pytest.raises(KeyMismatchError) as caught:
        parse_x509(proxy_file(other, person, key=PROXY), "/tmp/x509up_u1")
    assert str(caught.value) == (
        "The private key in the X.509 proxy /tmp/x509up_u1 does not belong to its certificate.\n"
        f"  subject: {IDENTITY}/CN=1234\n"
        "Make a new one: voms-proxy-init -voms cms -valid 192:00"
    )


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "/tmp/x509up_u501"),
        ({"X509_USER_PROXY": ""}, "/tmp/x509up_u501"),
        ({"X509_USER_PROXY": "/home/me/proxy"}, "/home/me/proxy"),
        ({"X509_USER_PROXY": "proxy"}, str(Path.cwd() / "proxy")),
    ],
)
def test_where_it_is_looked_for(environ: dict[str, str], path: str) -> None:
    assert find_x509(environ, 501) == path


def write(path: Path, content: bytes, mode: int = 0o600) -> dict[str, str]:
    path.write_bytes(content)
    path.chmod(mode)
    return {"X509_USER_PROXY": str(path)}


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_private_file_is_read_and_remembered(tmp_path: Path, mode: int) -> None:
    environ = write(tmp_path / "proxy", grid.example(), mode)
    proxy = read_x509(environ, UID)
    assert (proxy.identity, proxy.vo) == (IDENTITY, "cms")
    assert proxy.path == str(tmp_path / "proxy")
    assert proxy.file == files.identify(proxy.path)


def test_a_link_is_followed_as_the_grid_tools_do(tmp_path: Path) -> None:
    write(tmp_path / "proxy", grid.example())
    (tmp_path / "link").symlink_to("proxy")
    assert read_x509({"X509_USER_PROXY": str(tmp_path / "link")}, UID).identity == IDENTITY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o777])
def test_a_file_that_others_have_access_to_is_refused(tmp_path: Path, mode: int) -> None:
    environ = write(tmp_path / "a proxy", grid.example(), mode)
    with pytest.raises(CredentialNotPrivateError) as caught:
        read_x509(environ, UID)
    path = tmp_path / "a proxy"
    assert str(caught.value) == (
        f"The X.509 proxy {path} is not private: its mode is {mode:04o}.\n"
        f"  expected: 0600 or 0400\nMake it private: chmod 600 '{path}'"
    )


def test_a_file_of_another_account_is_refused(tmp_path: Path) -> None:
    environ = write(tmp_path / "proxy", grid.example())
    with pytest.raises(CredentialForeignError, match=f"belongs to uid {UID}, not to you .uid {UID + 1}."):
        read_x509(environ, UID + 1)


def test_a_missing_file_says_where(tmp_path: Path) -> None:
    with pytest.raises(CredentialMissingError) as caught:
        read_x509({"X509_USER_PROXY": f"{tmp_path}/none"}, UID, "make-one {vo}")
    assert str(caught.value) == (
        f"There is no X.509 proxy at {tmp_path}/none.\n"
        "  named by: X509_USER_PROXY\n"
        "Make a new one, with the name of your virtual organization for VO: make-one VO"
    )


@pytest.mark.timeout(10)
def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "fifo", 0o600)
    write(tmp_path / "large", b"x" * (files.MOST_BYTES + 1))
    (tmp_path / "loop").symlink_to("loop")
    expected: dict[str, type[CredentialError]] = {
        "directory": CredentialGarbledError,
        "fifo": CredentialGarbledError,
        "large": CredentialGarbledError,
        "loop": CredentialUnreadableError,
        "n" * 300: CredentialUnreadableError,
        "fifo/proxy": CredentialUnreadableError,
        "nul\0": CredentialUnreadableError,
    }
    for name, kind in expected.items():
        with pytest.raises(kind):
            read_x509({"X509_USER_PROXY": f"{tmp_path}/{name}"}, UID)
