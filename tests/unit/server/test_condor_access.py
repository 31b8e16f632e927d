"""What a site says of its HTCondor, and what is refused of it when the gateway starts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from htcdaskgateway.errors import ConfigurationError
from htcdaskgateway.server.condor_access import HTCondorAccess


def configured(**settings: Any) -> HTCondorAccess:
    return HTCondorAccess(config=Config(HTCondorAccess=settings))


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    (tmp_path / "alice").touch(0o600)
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"token_directory": "TOKENS"}, "but spool is not set"),
        ({"token_directory": "TOKENS/none", "spool": True}, "No such file or directory"),
        ({"token_directory": "TOKENS/alice", "spool": True}, "is no directory"),
        ({"token_directory": "/tmp", "spool": True}, "open to others"),
        (
            {"token_directory": "TOKENS", "spool": True, "interface": "processes"},
            "has no use for token",
        ),
        ({"schedd_names": ["a@h"], "interface": "processes"}, "no use for a choice"),
        ({"schedd_names": ["a@h"], "schedd_name": "b@h"}, "there are others to choose from"),
        ({"schedd_constraint": "true", "schedd_name": "b@h"}, "there are others to choose from"),
        ({"schedd_names": ["a@h", "-all"]}, "is not the name of a schedd"),
        ({"schedd_name": "-all"}, "is not the name of a schedd"),
        ({"pool": "cm"}, "no name of a schedd"),
    ],
)
def test_what_cannot_work(settings: dict[str, Any], words: str, tokens: Path) -> None:
    if "token_directory" in settings:
        settings["token_directory"] = settings["token_directory"].replace("TOKENS", str(tokens))
    with pytest.raises(ConfigurationError, match=words):
        configured(**settings).check()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"schedd_name": "a@h", "pool": "cm:9618"},
        {"schedd_names": ["a@h", "b@h"], "pool": "cm:9618"},
        {"schedd_constraint": 'Site == "x"', "pool": "cm"},
        {"interface": "processes"},
    ],
)
def test_what_can(settings: dict[str, Any]) -> None:
    configured(**settings).check()


def test_whose_token_it_is(tokens: Path) -> None:
    site = configured(token_directory=str(tokens), spool=True)
    site.check()
    assert site.access("alice").token == str(tokens / "alice")
    with pytest.raises(ConfigurationError) as caught:
        site.access("bob")
    assert caught.value.sentence == (
        "The gateway has no HTCondor token of bob, under which it could submit jobs."
    )
    for name in ("", ".", "..", "../x", "a/b", "a\0b"):
        with pytest.raises(ConfigurationError, match="There can be no token"):
            site.access(name)


def test_a_kernel_that_cannot_hold_clients_to_a_sandbox(
    tokens: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = configured(token_directory=str(tokens), spool=True)
    site.log = logging.getLogger("test")
    site.check()
    assert caplog.messages == []
    refusing = ["sh", "-c", "echo Function not implemented >&2; exit 1"]
    monkeypatch.setattr("htcdaskgateway.server.condor_access.confined", lambda *_: refusing)
    site.check()
    [message] = caplog.messages
    assert message == ("The logs of users' workers cannot be brought back here. Function not implemented")


def test_which_schedds() -> None:
    access = configured(schedd_names=["a@h", "b@h"], schedd_constraint="SiteOpen").access("alice")
    assert access.chooses
    assert (access.schedd_names, access.schedd_constraint, access.token) == (("a@h", "b@h"), "SiteOpen", "")
