from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcdaskgateway.errors import ConfigurationError
from htcdaskgateway.sandbox import SECRETS, Sandbox, private_directory, write_private
from htcdaskgateway.server.keys import encryption_keys


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_open_umask")
def test_nothing_is_readable_by_others(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "clusters", "c1")
    sandbox.prepare(dict.fromkeys(SECRETS, "secret"))
    sandbox.write("scheduler.log", "log")
    assert mode(sandbox.path) == 0o700
    modes = {path.name: mode(path) for path in sandbox.path.iterdir()}
    assert modes.pop("start_worker.sh") == 0o700
    assert set(modes) == {*SECRETS, "scheduler.log"}
    assert set(modes.values()) == {0o600}


def test_a_directory_that_is_open_to_others_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    with pytest.raises(ConfigurationError, match=r"c\.X = .* belongs to others or is open to them"):
        private_directory(tmp_path / "state", "c.X")
    assert mode(tmp_path / "state") == 0o755
    (tmp_path / "state").chmod(0o700)
    assert private_directory(tmp_path / "state").is_dir()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be used: Not a directory"):
        private_directory(tmp_path / "file" / "state")


def test_secrets_go_and_logs_stay(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, "c1")
    sandbox.prepare({**dict.fromkeys(SECRETS, "secret"), "workers.sub": "queue"})
    sandbox.remove_secrets()
    assert {path.name for path in sandbox.path.iterdir()} == {"workers.sub", "start_worker.sh"}
    sandbox.remove_secrets()  # a second time is no error


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "file").symlink_to(victim)
    (tmp_path / ".file.new").symlink_to(victim)
    write_private(tmp_path / "file", "new")
    assert victim.read_text() == "untouched"
    assert (tmp_path / "file").read_text() == "new"
    assert not (tmp_path / "file").is_symlink()


def test_a_log_of_a_cluster_without_sandbox_makes_none(tmp_path: Path) -> None:
    Sandbox(tmp_path, "c1").write("scheduler.log", "log")
    assert list(tmp_path.iterdir()) == []


def test_keys_are_made_once(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    keys = encryption_keys(path)
    assert len(keys) == 1
    assert encryption_keys(path) == keys
    assert mode(path) == 0o600
    path.write_text(f"new\n{keys[0]}\n")  # rotated
    assert encryption_keys(path) == ["new", keys[0]]
