"""A token as the only identity; what is said of it is never the token."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from htcdaskgateway.condor.bindings import BindingsSchedd
from htcdaskgateway.condor.errors import IdentityRefusedError
from htcdaskgateway.condor.identity import TokenIdentity
from htcdaskgateway.condor.tools import ToolsSchedd
from htcdaskgateway.errors import ConfigurationError

SIGNATURE = "c2VjcmV0LXNpZ25hdHVyZQ"


def encoded(claims: object) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{middle}.{SIGNATURE}"


def private(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


ALICE = encoded({"sub": "alice@pool.test", "exp": 1795364046})


def test_file_is_the_only_token(tmp_path: Path) -> None:
    file = private(tmp_path / "alice", ALICE)
    private(tmp_path / "bob", encoded({"sub": "bob@pool.test"}))
    identity = TokenIdentity(file)
    directory = Path(identity.environment["_CONDOR_SEC_TOKEN_DIRECTORY"])
    assert [found.read_text() for found in directory.iterdir()] == [ALICE]
    assert directory.parent.stat().st_mode & 0o777 == 0o700
    new = private(tmp_path / "new", "renewed")
    new.replace(file)
    assert [found.read_text() for found in directory.iterdir()] == ["renewed"]
    identity.close()
    assert not directory.parent.exists()
    assert file.exists()


def test_nothing_else_is_used(tmp_path: Path) -> None:
    identity = TokenIdentity(private(tmp_path / "t", ALICE))
    environment = identity.environment
    assert environment["_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS"] == "IDTOKENS"
    keys = {name: value for name, value in environment.items() if "KEY" in name or "PASSWORD" in name}
    assert len(keys) == 2
    assert not any(Path(value).exists() for value in keys.values())
    identity.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ALICE, "alice@pool.test, expires 2026-11-22 16:14:06 UTC"),
        (encoded({"sub": "alice@pool.test"}) + "\n", "alice@pool.test"),
        (encoded({"sub": "a\nb"}), "no subject"),
        (encoded({"exp": "never"}), "no subject"),
        (encoded(["sub"]), "no token that can be read"),
        (f"not.base64!.{SIGNATURE}", "no token that can be read"),
        (SIGNATURE, "no token that can be read"),
        ("a." + base64.urlsafe_b64encode(b"[" * 30000).decode() + ".c", "no token that can be read"),
        ("", "no token that can be read"),
    ],
)
def test_what_is_said_of_it(tmp_path: Path, text: str, said: str) -> None:
    file = private(tmp_path / "t", text)
    identity = TokenIdentity(file)
    assert str(identity) == repr(identity) == f"{file} ({said})"
    refused = str(IdentityRefusedError("ap@", "AUTHENTICATE:1003", str(identity)))
    assert SIGNATURE not in refused
    identity.close()
    file.unlink()
    assert str(identity) == f"{file} (No such file or directory)"


def test_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    private(tmp_path / "1", ALICE)
    private(tmp_path / "2", encoded({"sub": "alice@other.test"}))
    identity = TokenIdentity(tmp_path)
    assert str(identity).endswith("(alice@pool.test, expires 2026-11-22 16:14:06 UTC; alice@other.test)")
    identity.close()


@pytest.mark.parametrize("make", [BindingsSchedd, ToolsSchedd])
def test_what_is_no_token(tmp_path: Path, make: type[BindingsSchedd] | type[ToolsSchedd]) -> None:
    def why(path: Path) -> str:
        with pytest.raises(ConfigurationError) as caught:
            make(token=str(path))
        assert SIGNATURE not in str(caught.value)
        return str(caught.value)

    assert "No such file or directory" in why(tmp_path / "none")
    open_to_others = private(tmp_path / "open", ALICE)
    open_to_others.chmod(0o640)
    assert f"The token '{open_to_others}' is open to others." in why(open_to_others)
    assert f"chmod go= {open_to_others}" in why(open_to_others)
    assert "it has 70000 bytes" in why(private(tmp_path / "large", "x" * 70000))
    assert "neither a file nor a directory" in why(Path("/dev/null"))


def test_error() -> None:
    assert str(IdentityRefusedError("ap@", "AUTHENTICATE:1003:no", "/t (alice)")) == (
        "The schedd ap@ does not know who we are.\n"
        "  shown to it:   /t (alice)\n"
        "  HTCondor says: AUTHENTICATE:1003:no\n"
        "Put a valid token there: condor_token_create -identity USER@DOMAIN, on the schedd's host."
    )
    assert "condor_ping" in str(IdentityRefusedError("", "AUTHENTICATE:1003:no"))
