from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from tests.unit.credentials import grid
from tests.unit.credentials.grid import DAY, HOUR, NOW

from htcdaskgateway.credentials import find
from htcdaskgateway.credentials.errors import (
    CredentialChangedError,
    CredentialGarbledError,
    CredentialMissingError,
    CredentialTooShortError,
)
from htcdaskgateway.credentials.files import write_private
from htcdaskgateway.credentials.find import copy_credential, find_credentials, look_again
from htcdaskgateway.credentials.policy import Choice, Policy, Rule, Use
from htcdaskgateway.credentials.watch import Act, start
from htcdaskgateway.credentials.x509 import X509Proxy, read_x509
from htcdaskgateway.errors import SandboxError

UID = os.getuid()
BOTH = Policy(Rule(Use.REQUIRED), Rule(Use.REQUIRED))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name, content in {"proxy": grid.example(), "token": grid.example_token()}.items():
        write_private(content, home, name)
    return {"X509_USER_PROXY": str(home / "proxy"), "BEARER_TOKEN_FILE": str(home / "token")}


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    directory = tmp_path / "sandbox"
    directory.mkdir(mode=0o700)
    return directory


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def the_proxy(environ: dict[str, str]) -> X509Proxy:
    return read_x509(environ, UID)


def test_what_is_wanted_is_found(environ: dict[str, str]) -> None:
    choice = find_credentials(BOTH, environ, UID, NOW)
    assert choice.x509 is not None
    assert choice.token is not None
    assert (choice.x509.vo, choice.token.subject) == ("cms", "analyst")


def test_what_is_not_wanted_is_not_read(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(find, "read_x509")
    monkeypatch.delattr(find, "read_token")
    never = Policy(Rule(Use.NEVER), Rule(Use.NEVER))
    assert find_credentials(never, environ, UID, NOW) == Choice()


def test_the_remedy_names_what_is_known_of_the_vo(environ: dict[str, str]) -> None:
    with pytest.raises(CredentialTooShortError, match="-voms cms -valid"):
        find_credentials(Policy(Rule(Use.REQUIRED, 2 * DAY)), environ, UID, NOW)
    absent = {"X509_USER_PROXY": "/nowhere"}
    with pytest.raises(CredentialMissingError, match="-voms dune -valid"):
        find_credentials(Policy(Rule(Use.REQUIRED, vo="dune")), absent, UID, NOW)


def test_a_copy_is_private_and_the_same(environ: dict[str, str], sandbox: Path) -> None:
    previous = os.umask(0)
    try:
        choice = find_credentials(BOTH, environ, UID, NOW)
        assert choice.x509 is not None
        assert choice.token is not None
        copies = [
            copy_credential(choice.x509, environ, UID, sandbox, "x509"),
            copy_credential(choice.token, environ, UID, sandbox, "token"),
        ]
    finally:
        os.umask(previous)
    assert [copy.read_bytes() for copy in copies] == [
        grid.example(),
        Path(environ["BEARER_TOKEN_FILE"]).read_bytes(),
    ]
    assert {stat.S_IMODE(copy.stat().st_mode) for copy in copies} == {0o600}
    assert names(sandbox) == ["token", "x509"]


def test_a_token_of_the_environment_becomes_a_file(sandbox: Path) -> None:
    environ = {"BEARER_TOKEN": f" {grid.example_token().decode()}\n"}
    token = find_credentials(Policy(Rule(Use.NEVER)), environ, UID, NOW).token
    assert token is not None
    assert copy_credential(token, environ, UID, sandbox, "t").read_bytes() == grid.example_token()


def test_what_changed_meanwhile_is_not_copied(environ: dict[str, str], sandbox: Path) -> None:
    proxy = the_proxy(environ)
    person = grid.user()
    path = Path(environ["X509_USER_PROXY"])
    path.write_bytes(grid.proxy_file(grid.proxy_of(person, grid.proxy_info()), person))
    with pytest.raises(CredentialChangedError):
        copy_credential(proxy, environ, UID, sandbox, "x509")
    path.write_bytes(b"half")
    with pytest.raises(CredentialGarbledError):
        copy_credential(proxy, environ, UID, sandbox, "x509")
    path.unlink()
    with pytest.raises(CredentialMissingError):
        copy_credential(proxy, environ, UID, sandbox, "x509")
    assert names(sandbox) == []


def test_links_are_not_followed_where_it_is_written(
    environ: dict[str, str], sandbox: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (sandbox / "x509").symlink_to(victim)
    copy_credential(the_proxy(environ), environ, UID, sandbox, "x509")
    assert victim.read_text() == "mine"
    assert not (sandbox / "x509").is_symlink()
    (tmp_path / "link").symlink_to(sandbox)
    with pytest.raises(SandboxError):
        copy_credential(the_proxy(environ), environ, UID, tmp_path / "link", "x509")


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701])
def test_a_directory_that_others_reach_is_refused(environ: dict[str, str], sandbox: Path, mode: int) -> None:
    sandbox.chmod(mode)
    with pytest.raises(SandboxError, match="it is not private"):
        copy_credential(the_proxy(environ), environ, UID, sandbox, "x509")
    assert names(sandbox) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/x", "a\0b", "n" * 300])
def test_names_that_are_none(environ: dict[str, str], sandbox: Path, name: str) -> None:
    with pytest.raises(SandboxError):
        copy_credential(the_proxy(environ), environ, UID, sandbox, name)
    assert names(sandbox) == []


def test_nothing_is_left_of_a_copy_that_fails(environ: dict[str, str], sandbox: Path) -> None:
    (sandbox / "x509").mkdir()
    with pytest.raises(SandboxError):
        copy_credential(the_proxy(environ), environ, UID, sandbox, "x509")
    with pytest.raises(SandboxError):
        copy_credential(the_proxy(environ), environ, UID, sandbox / "none", "x509")
    assert names(sandbox) == ["x509"]


def test_a_reader_sees_the_old_or_the_new_never_a_part(sandbox: Path) -> None:
    contents = [b"a" * 300_000, b"b" * 300_000]
    write_private(contents[0], sandbox, "x509")
    stop = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add((sandbox / "x509").read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100):
        write_private(contents[number % 2], sandbox, "x509")
    stop.set()
    reader.join(30)
    assert seen <= set(contents)


def test_looking_again(environ: dict[str, str]) -> None:
    policy, path = Policy(token=Rule(Use.NEVER)), Path(environ["X509_USER_PROXY"])
    watch = start(the_proxy(environ))
    assert look_again(watch, policy, environ, UID, HOUR, NOW).act is Act.KEEP

    person = grid.user()
    end = NOW + 9 * DAY
    attributes = grid.voms(grid.attribute_certificate(end=end))
    longer = grid.proxy_of(person, grid.proxy_info(), attributes, end=end)
    write_private(grid.proxy_file(longer, person), path.parent, path.name)
    decision = look_again(watch, policy, environ, UID, HOUR, NOW)
    assert decision.act is Act.RENEW
    assert decision.watch.credential.time_left(NOW) == 9 * DAY

    path.unlink()
    first = look_again(decision.watch, policy, environ, UID, HOUR, NOW)
    second = look_again(first.watch, policy, environ, UID, HOUR, NOW)
    assert (first.act, second.act) == (Act.KEEP, Act.WARN)
    assert isinstance(second.warning, CredentialMissingError)
    assert look_again(second.watch, policy, environ, UID, HOUR, NOW).act is Act.KEEP
