"""A cluster's directory, on the gateway's side and on a session's."""

from __future__ import annotations

import grp
import os
import pwd
import resource
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.config
import pytest

from htcdaskgateway.client import session_sandbox as module
from htcdaskgateway.client.session_sandbox import (
    DAYS,
    MARKER,
    SessionSandbox,
    is_private_group,
    past_sandboxes,
    sandbox_path,
    sandboxes_by_cluster,
    user_name,
)
from htcdaskgateway.errors import ConfigurationError, InvalidRequestError, SandboxError
from htcdaskgateway.sandbox import SECRETS, Sandbox, private_directory, write_private

CONTENTS = {"dask.crt": "c", "dask.pem": "k", "worker.env": "e", "workers.sub": "queue"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0, 0o077])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def sandbox(tmp_path: Path) -> SessionSandbox:
    return SessionSandbox(tmp_path / "clusters" / "c1", "c1")


# -- the part that both sides share -------------------------------------------------------------------


@pytest.mark.usefixtures("_umask")
def test_nothing_is_readable_by_others(tmp_path: Path, sandbox: SessionSandbox) -> None:
    for it in (Sandbox(tmp_path, "c1"), sandbox):
        it.prepare(CONTENTS)
        it.write("scheduler.log", "log")
        assert mode(it.path) == 0o700
        modes = {path.name: mode(path) for path in it.path.iterdir()}
        assert modes.pop("start_worker.sh") == 0o700
        assert set(modes) - {MARKER} == {*CONTENTS, "scheduler.log"}
        assert set(modes.values()) == {0o600}


def test_the_program_is_the_gateways_if_it_sends_one(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, "c1")
    sandbox.prepare({})
    assert "dask" in (sandbox.path / "start_worker.sh").read_text()
    sandbox.prepare({"start_worker.sh": "#!/bin/sh\nexit 3\n"})
    assert (sandbox.path / "start_worker.sh").read_text() == "#!/bin/sh\nexit 3\n"
    assert mode(sandbox.path / "start_worker.sh") == 0o700


def test_a_directory_that_is_open_to_others_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    with pytest.raises(ConfigurationError, match=r"c\.X = .* belongs to others or is open to them"):
        private_directory(tmp_path / "state", "c.X")
    assert mode(tmp_path / "state") == 0o755


def test_a_link_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "file").symlink_to(victim)
    write_private(tmp_path / "file", "ünï")
    assert victim.read_text() == "untouched"
    assert (tmp_path / "file").read_text(encoding="utf-8") == "ünï"
    assert not (tmp_path / "file").is_symlink()


@contextmanager
def full() -> Iterator[None]:
    """No file can be larger than 10 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_written_leaves_the_old_content_and_nothing_beside_it(tmp_path: Path) -> None:
    write_private(tmp_path / "file", "old")
    with full(), pytest.raises(OSError, match="too large"):
        write_private(tmp_path / "file", "x" * 100_000)
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_secrets_go_and_logs_stay(sandbox: SessionSandbox) -> None:
    sandbox.prepare({**dict.fromkeys(SECRETS, "secret"), "workers.sub": "queue"})
    sandbox.remove_secrets()
    sandbox.remove_secrets()  # a second time is no error
    assert {path.name for path in sandbox.path.iterdir()} == {"workers.sub", "start_worker.sh", MARKER}


# -- logs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tail", "out"), [(None, "1\n2\n3"), (2, "2\n3"), (1, "3"), (0, ""), (99, "1\n2\n3")]
)
def test_logs(sandbox: SessionSandbox, tail: int | None, out: str) -> None:
    sandbox.prepare({})
    (sandbox.path / "worker-w-1.out").write_text("1\n2\n3")
    (sandbox.path / "worker-w-1.err").write_bytes(b"\xff")
    (sandbox.path / "worker-w2.err").write_text("")
    assert sandbox.logs("w-1", tail) == {"w-1": {"out": out, "err": "\ufffd" if tail != 0 else ""}}
    assert sandbox.logs("w2") == {"w2": {"err": ""}}
    assert sandbox.logs("never-came") == {"never-came": {}}
    assert set(sandbox.logs()) == {"w-1", "w2"}


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/etc/passwd", "..", ".", "-x", "", "a\n", "a\0b", "x" * 65, "ü"]
)
def test_no_name_leads_out_of_it(sandbox: SessionSandbox, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not the name of a worker"):
        sandbox.log(name)


def test_what_is_no_file_is_no_log(sandbox: SessionSandbox, tmp_path: Path) -> None:
    sandbox.prepare({})
    (tmp_path / "secret").write_text("secret")
    (sandbox.path / "worker-w.out").symlink_to(tmp_path / "secret")
    os.mkfifo(sandbox.path / "worker-w.err")
    assert sandbox.log("w") == {}  # and it does not wait for the FIFO


def test_logs_are_bounded(sandbox: SessionSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htcdaskgateway.sandbox.MOST_LOGS", 4000)
    sandbox.prepare({})
    for number in range(4):
        (sandbox.path / f"worker-w{number}.out").write_text("x" * 9999 + "end")
    logs = sandbox.logs()
    assert sum(len(text) for streams in logs.values() for text in streams.values()) <= 4000
    assert all(streams["out"].endswith("end") for streams in logs.values())


def test_logs_of_a_sandbox_that_is_gone(sandbox: SessionSandbox) -> None:
    assert sandbox.logs() == {}
    assert sandbox.logs("w") == {"w": {}}


# -- where it is --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/scratch/lpc1/3DayLifetime/{user}/{cluster}", "/scratch/lpc1/3DayLifetime/alice/c1"),
        ("/s/dask-{cluster}-{user}/", "/s/dask-c1-alice"),
        ("//s//x/./{cluster}", "/s/x/c1"),
        ("~/x/{cluster}", "/home/alice/x/c1"),
        ("/a dir, with $(x)/{cluster}", "/a dir, with $(x)/c1"),
    ],
)
def test_path(template: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    assert sandbox_path(template, "alice", "c1") == Path(path)


@pytest.mark.parametrize(
    "template",
    [
        "", "/s", "/{cluster}/x", "/s/{user}", "s/{cluster}", "./{cluster}", "/s/../{cluster}",
        '/s"/{cluster}', "/s/{other}/{cluster}", "/s/{0}/{cluster}", "/s\n/{cluster}", "/s$$(x)/{cluster}",
        "~nobody-of-that-name/{cluster}", "/s/{cluster}\\",
    ],
)  # fmt: skip
def test_no_path(template: str) -> None:
    with pytest.raises(ConfigurationError):
        sandbox_path(template, "alice", "c1")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a b", "-x", "a\n", "{cluster}", "$(x)"])
def test_names_that_are_no_part_of_a_path(name: str) -> None:
    for user, cluster in ((name, "c1"), ("alice", name)):
        with pytest.raises(ConfigurationError, match="is no part of a path"):
            sandbox_path("/s/{user}/{cluster}", user, cluster)


def test_where_the_configuration_wants_it(tmp_path: Path) -> None:
    with dask.config.set({"htcdaskgateway.sandbox": f"{tmp_path}/{{user}}/{{cluster}}"}):
        sandbox = SessionSandbox.configured("c7")
    assert sandbox.path == tmp_path / user_name() / "c7"
    assert (sandbox.cluster, sandbox.days) == ("c7", DAYS)
    with dask.config.set({"htcdaskgateway.sandbox-days": 1.5}):
        assert SessionSandbox.configured("c7").days == 1.5
        assert SessionSandbox.configured("c7").path.is_relative_to(Path.home())


def test_days_that_would_remove_sandboxes_in_use() -> None:
    days = dask.config.set({"htcdaskgateway.sandbox-days": 0.04})
    with days, pytest.raises(ConfigurationError, match=r"0, which is never, or at least 1, not 0\.04\."):
        SessionSandbox.configured("c7")
    with dask.config.set({"htcdaskgateway.sandbox-days": 0}):
        assert SessionSandbox.configured("c7").days == 0


@pytest.mark.parametrize("days", ["14", True, -1, float("nan"), [1]])
def test_days_that_are_none(days: Any) -> None:
    with dask.config.set({"htcdaskgateway.sandbox-days": days}), pytest.raises(ConfigurationError):
        SessionSandbox.configured("c7")


# -- what may happen to it ----------------------------------------------------------------------------


def refused(sandbox: SessionSandbox, **contents: str) -> SandboxError:
    with pytest.raises(SandboxError) as caught:
        sandbox.prepare({**CONTENTS, **contents})
    assert caught.value.path == str(sandbox.path)
    return caught.value


def test_full(sandbox: SessionSandbox) -> None:
    sandbox.prepare(CONTENTS)
    with full():
        error = refused(sandbox)
    assert str(error) == f"The sandbox {sandbox.path} cannot be written.\n  the system says: File too large"
    sandbox.prepare(CONTENTS)


def test_full_when_the_last_file_is_written(sandbox: SessionSandbox) -> None:
    sandbox.prepare(CONTENTS)
    with full(), pytest.raises(SandboxError, match="File too large"):
        sandbox.write("workers.sub", "x" * 100_000)
    assert (sandbox.path / "workers.sub").read_text() == "queue"


def test_read_only() -> None:
    error = refused(SessionSandbox(Path("/proc/self/c1"), "c1"))  # not even for root
    assert error.words


def test_a_file_in_the_way(sandbox: SessionSandbox, tmp_path: Path) -> None:
    (tmp_path / "clusters").touch()
    assert refused(sandbox).words == "Not a directory"


def test_deleted(sandbox: SessionSandbox) -> None:
    sandbox.prepare(CONTENTS)
    sandbox.remove()
    with pytest.raises(SandboxError, match="No such file or directory"):
        sandbox.write("workers.sub", "")
    sandbox.keep()
    assert not sandbox.path.exists()
    sandbox.prepare(CONTENTS)
    assert (sandbox.path / "dask.pem").read_text() == "k"


def test_opened_to_others(sandbox: SessionSandbox) -> None:
    sandbox.prepare(CONTENTS)
    sandbox.path.chmod(0o750)
    assert refused(sandbox).words == (
        f"it belongs to others or is open to them (owner uid {os.geteuid()}, mode 0750)"
    )


def test_a_link_in_its_place(sandbox: SessionSandbox, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    sandbox.path.parent.mkdir()
    sandbox.path.symlink_to(tmp_path / "elsewhere")
    assert refused(sandbox).words == "it is a link"
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "uid", "good"),
    [
        (0o755, None, True),
        (0o1777, None, True),
        (0o777, None, False),
        (0o757, None, False),
        (0o755, 4242, False),
    ],
)
def test_parents(sandbox: SessionSandbox, mode: int, uid: int | None, good: bool) -> None:
    """Whoever may rename a directory above could put one of his own in the sandbox's place."""
    parent = sandbox.path.parent
    parent.mkdir()
    parent.chmod(mode)
    if uid is not None:
        if os.geteuid():
            pytest.skip("only root gives directories away")
        os.chown(parent, uid, -1)
    if good:
        sandbox.prepare(CONTENTS)
        return
    owner = os.geteuid() if uid is None else uid
    assert refused(sandbox).words == (
        f"others could replace it: {parent} is uid {owner}'s and gid {parent.stat().st_gid}'s, of mode"
        f" {mode:04o}, and it has to be yours or root's, and writable by nobody else unless sticky"
    )
    assert not sandbox.path.exists()


@pytest.mark.parametrize("mode", [0o775, 0o2775, 0o1775])
@pytest.mark.parametrize("private", [True, False])
def test_parents_that_a_group_may_write(
    sandbox: SessionSandbox, monkeypatch: pytest.MonkeyPatch, mode: int, private: bool
) -> None:
    monkeypatch.setattr(module, "is_private_group", lambda gid: private)
    sandbox.path.parent.mkdir()
    sandbox.path.parent.chmod(mode)
    if private or mode & stat.S_ISVTX:
        sandbox.prepare(CONTENTS)
    else:
        assert f"of mode {mode:04o}" in refused(sandbox).words


@pytest.mark.parametrize(
    ("members", "private"),
    [((), True), (("me",), True), (("me", "root"), True), (("bob",), False), (("me", "bob"), False)],
)
@pytest.mark.parametrize("listed", [True, False])
def test_groups_of_one(
    monkeypatch: pytest.MonkeyPatch, members: tuple[str, ...], private: bool, listed: bool
) -> None:
    """Whoever has it as the primary group is not listed as a member."""
    accounts = [SimpleNamespace(pw_name=name, pw_gid=7 if not listed else 8) for name in members]
    group = SimpleNamespace(gr_mem=list(members) if listed else [])
    monkeypatch.setattr(module, "user_name", lambda: "me")
    monkeypatch.setattr(pwd, "getpwall", lambda: [*accounts, SimpleNamespace(pw_name="eve", pw_gid=9)])
    monkeypatch.setattr(grp, "getgrgid", {7: group}.__getitem__)
    assert is_private_group(7) is private
    assert not is_private_group(1)  # has no name: nobody knows


def test_past_ones_with_secrets(sandbox: SessionSandbox) -> None:
    def make(name: str, gateway: str = "g1", user: str = "alice", secret: bool = True) -> None:
        one = SessionSandbox(sandbox.path.parent / f"{user}-{name}", name)
        one.prepare({"worker.env": "x"} if secret else {})
        one.write("workers.sub", f'a = b\n+HTCDaskGateway = "{gateway}"\n+HTCDaskUser = "{user}"\nqueue\n')

    make("past")
    make("of-another-gateway", gateway="g2")
    make("of-another-user", user="bob")
    make("without-secrets", secret=False)
    SessionSandbox(sandbox.path.parent / "not-yet-submitted", "c9").prepare({"worker.env": "x"})
    (sandbox.path.parent / "no-sandbox").mkdir()
    (sandbox.path.parent / "no-sandbox" / "dask.pem").touch()
    [past] = past_sandboxes(sandbox.path.parent, "g1", "alice")
    assert past == (sandbox.path.parent / "alice-past", "past")
    past.remove_secrets()
    assert past_sandboxes(sandbox.path.parent, "g1", "alice") == []
    assert (past.path / "workers.sub").exists()
    assert past_sandboxes(Path("/nowhere"), "g1", "alice") == []


@pytest.mark.parametrize("name", ["../x", "/x", ".hidden", "a/b", "", "a\n", "a b", "..", "x..y", MARKER])
def test_no_name_of_a_file(sandbox: SessionSandbox, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="is no name of a file in a sandbox"):
        sandbox.prepare({name: "x"})
    assert not sandbox.path.exists()


# -- old ones -----------------------------------------------------------------------------------------

DAY = 86400


def aged(path: Path, days: float) -> Path:
    """All that is in it was last changed so long ago."""
    then = time.time() - days * DAY
    for each in [*path.iterdir(), path]:
        os.utime(each, (then, then), follow_symlinks=False)
    return path


def test_old_ones_are_removed_and_nothing_else(sandbox: SessionSandbox, tmp_path: Path) -> None:
    sandbox.days = 3
    root = sandbox.path.parent

    def beside(name: str, days: float) -> Path:
        SessionSandbox(root / name, name).prepare(CONTENTS)
        return aged(root / name, days)

    sandbox.prepare(CONTENTS)
    aged(sandbox.path, 99)  # this one is in use
    old, fresh = beside("old", 4), beside("fresh", 2)
    written = beside("its-jobs-still-write", 4)
    (written / "worker-w.out").touch()
    no_marker = beside("somebody-elses", 99)
    (no_marker / MARKER).unlink()
    aged(no_marker, 99)
    marker_is_a_link = beside("marker-is-a-link", 99)
    (marker_is_a_link / MARKER).unlink()
    (marker_is_a_link / MARKER).symlink_to(old / MARKER)
    aged(marker_is_a_link, 99)
    precious = tmp_path / "precious"
    SessionSandbox(precious, "p").prepare(CONTENTS)
    aged(precious, 99)
    (root / "link").symlink_to(precious)
    (root / "file").touch()
    holds_a_link = beside("holds-a-link", 4)
    (holds_a_link / "x").symlink_to(precious)
    aged(holds_a_link, 4)
    stays = {sandbox.path, fresh, written, no_marker, marker_is_a_link, root / "link", root / "file"}

    assert set(sandbox.clean(())) == {old, holds_a_link}
    assert set(root.iterdir()) == stays
    assert (precious / "dask.pem").exists()
    assert sandbox.clean(()) == []


def test_one_in_use_is_kept(sandbox: SessionSandbox, tmp_path: Path) -> None:
    other = SessionSandbox(sandbox.path.parent / "other", "other")
    other.prepare(CONTENTS)
    aged(other.path, 99)
    other.keep()
    assert sandbox.clean(()) == []
    assert sandbox.clean((), time.time() + (DAYS + 1) * DAY) == [other.path]


def test_that_of_a_cluster_that_there_is(sandbox: SessionSandbox) -> None:
    """No session has been there for days, and its jobs wait: they need their files when they start."""
    root = sandbox.path.parent
    for name in ("alive", "ended"):
        SessionSandbox(root / f"alice-{name}", name).prepare(CONTENTS)
        aged(root / f"alice-{name}", 99)
    assert sandbox.clean({"alive"}) == [root / "alice-ended"]
    assert sandboxes_by_cluster(root) == {"alive": root / "alice-alive"}
    assert sandboxes_by_cluster(Path("/nowhere")) == {}


def test_never_if_so_configured(sandbox: SessionSandbox) -> None:
    SessionSandbox(sandbox.path.parent / "old", "old").prepare(CONTENTS)
    aged(sandbox.path.parent / "old", 9999)
    sandbox.days = 0
    assert sandbox.clean(()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_those_of_others_are_left_alone(sandbox: SessionSandbox) -> None:
    root = sandbox.path.parent
    for name, theirs in (("a", "."), ("b", MARKER)):
        SessionSandbox(root / name, name).prepare(CONTENTS)
        os.chown(root / name / theirs, 12345, 12345)
        aged(root / name, 99)
    assert sandbox.clean(()) == []
    assert {path.name for path in root.iterdir()} == {"a", "b"}


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    assert SessionSandbox(tmp_path / "nowhere" / "c1", "c1").clean(()) == []
