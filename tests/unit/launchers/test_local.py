"""The launcher with real processes, under this account; other accounts are the e2e tests' business."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from htcdaskgateway.errors import ConfigurationError, InvalidRequestError, SchedulerStartError
from htcdaskgateway.launchers import scheduler_process
from htcdaskgateway.launchers.base import SchedulerSpec
from htcdaskgateway.launchers.local import LocalLauncher

ME = pwd.getpwuid(os.geteuid()).pw_name
SECRET = "do-not-show-this"


def make(**traits: Any) -> LocalLauncher:
    return LocalLauncher(config=Config({"LocalLauncher": traits}))


@pytest.fixture
def launcher(tmp_path: Path) -> LocalLauncher:
    return make(single_user=ME, directory=str(tmp_path), stop_grace=1)


def spec(*command: str, cluster: str = "c1") -> SchedulerSpec:
    return SchedulerSpec(
        cluster, ME, command, {"PATH": os.environ["PATH"], "GIVEN": "1"}, {"dask.pem": SECRET}
    )


@pytest.fixture
async def running(launcher: LocalLauncher) -> AsyncIterator[dict[str, Any]]:
    state = await launcher.start(spec("/bin/sh", "-c", "echo hello; exec sleep 60"))
    yield state
    await launcher.stop(ME, state)


async def test_it_runs_in_a_private_directory_with_the_given_environment_only(
    running: dict[str, Any],
) -> None:
    directory = Path(running["directory"])
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == dict.fromkeys(
        ("dask.pem", "scheduler.log", "process.json"), 0o600
    )
    environment = Path(f"/proc/{running['pid']}/environ").read_bytes()
    assert b"GIVEN=1" in environment
    assert f"TMPDIR={directory}".encode() in environment
    assert b"HOME=" not in environment
    assert SECRET.encode() not in environment + Path(f"/proc/{running['pid']}/cmdline").read_bytes()


async def test_it_runs_until_it_is_stopped_and_leaves_its_log_only(
    launcher: LocalLauncher, running: dict[str, Any]
) -> None:
    assert await launcher.failure(ME, running) == ""
    assert await launcher.stop(ME, running) == "hello\n"
    assert scheduler_process.started(running["pid"]) != running["started"]
    assert not Path(running["directory"]).exists()


async def test_one_that_ignores_a_polite_request_is_killed(launcher: LocalLauncher) -> None:
    state = await launcher.start(spec("/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"))
    while not (Path(state["directory"]) / "scheduler.log").read_text():  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.01)
    await launcher.stop(ME, state)
    assert scheduler_process.started(state["pid"]) != state["started"]


async def test_what_it_has_started_ends_with_it(launcher: LocalLauncher, tmp_path: Path) -> None:
    state = await launcher.start(spec("/bin/sh", "-c", "sleep 60 & echo $!; trap 'exit 0' TERM; wait"))
    log = Path(state["directory"]) / "scheduler.log"
    while not log.read_text():  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.01)
    child = int(log.read_text())
    assert scheduler_process.started(child) is not None
    await launcher.stop(ME, state)
    assert scheduler_process.started(child) is None


async def test_one_that_has_ended_says_its_last_words(launcher: LocalLauncher) -> None:
    state = await launcher.start(spec("/bin/sh", "-c", "echo No module named dask >&2; exit 1"))
    while not (reason := await launcher.failure(ME, state)):  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.01)
    assert reason == "The scheduler's process has ended. Its last words: No module named dask"


async def test_last_words_do_nothing_to_a_terminal(launcher: LocalLauncher) -> None:
    script = r"""printf '\t\033[2J\007\377%600d\n' 1 >&2; exit 1"""
    state = await launcher.start(spec("/bin/sh", "-c", script))
    while not (reason := await launcher.failure(ME, state)):  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.01)
    words = reason.partition("Its last words: ")[2]
    assert words.startswith(r"\x1b[2J\x07�   ")
    assert words.endswith(" …")
    assert reason.isprintable()


async def test_one_that_ended_before_it_could_be_looked_at(launcher: LocalLauncher) -> None:
    state = await launcher.start(spec("/bin/sh", "-c", "echo gone"))
    assert "has ended" in await launcher.failure(ME, {**state, "started": None})


async def test_another_process_with_the_same_pid_is_left_alone(
    launcher: LocalLauncher, running: dict[str, Any]
) -> None:
    stranger = {**running, "started": running["started"] - 1}
    assert "has ended" in await launcher.failure(ME, stranger)
    await launcher.stop(ME, {**stranger, "directory": "/nonexistent"})
    assert await launcher.failure(ME, running) == ""


async def test_it_is_found_by_its_directory_where_the_gateway_ended_too_early(
    launcher: LocalLauncher, running: dict[str, Any]
) -> None:
    await launcher.stop(ME, launcher.place("c1"))
    assert scheduler_process.started(running["pid"]) != running["started"]


async def test_a_program_that_is_missing_leaves_nothing(launcher: LocalLauncher, tmp_path: Path) -> None:
    with pytest.raises(SchedulerStartError, match="No such file or directory: /no/dask"):
        await launcher.start(spec("/no/dask"))
    assert list(tmp_path.iterdir()) == []


async def test_a_directory_that_somebody_prepared_is_not_used(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    (tmp_path / "daskgateway-c1").mkdir()
    with pytest.raises(SchedulerStartError, match="File exists"):
        await launcher.start(spec("/bin/true"))
    assert list((tmp_path / "daskgateway-c1").iterdir()) == []


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        (["/bin/sh", "-c", "echo sudo: a password is required >&2; exit 1"], "a password is required"),
        (["/no/sudo"], "No such file or directory"),
        (["/bin/echo", "not an answer"], "exit code 0: not an answer"),
    ],
)
async def test_what_the_command_prefix_says_is_shown(prefix: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(SchedulerStartError, match=words) as caught:
        await make(command_prefix=prefix, directory=str(tmp_path)).start(spec("/bin/true"))
    assert SECRET not in str(caught.value)


async def test_a_command_prefix_that_hangs_is_ended(tmp_path: Path) -> None:
    launcher = make(command_prefix=["/bin/sleep", "60;"], command_timeout=1, directory=str(tmp_path))
    launcher.command_prefix = ["/bin/sh", "-c", "sleep 60"]
    with pytest.raises(SchedulerStartError, match="no answer"):
        await launcher.start(spec("/bin/true"))


async def test_the_prefix_gets_the_user_as_one_word(tmp_path: Path) -> None:
    script = f"printf '%s\\n' \"$@\" > {tmp_path}/words; exit 1"
    launcher = make(command_prefix=["/bin/sh", "-c", script, "sh", "--as={user}"])
    with pytest.raises(SchedulerStartError):
        await launcher.start(
            SchedulerSpec("c1", "a b; rm -rf /", ("x",), {"TOKEN": SECRET}, {"dask.pem": SECRET})
        )
    assert (tmp_path / "words").read_text().splitlines() == [
        "--as=a b; rm -rf /",
        sys.executable,
        "-I",
        scheduler_process.__file__,
    ]


@pytest.mark.parametrize(
    ("traits", "words"),
    [
        ({}, "under the gateway's own account"),
        ({"command_prefix": ["sudo", "-nu", "dask"]}, "does not name {user}"),
        ({"command_prefix": ["sudo", "{user}"], "single_user": "me"}, "both set"),
    ],
)
def test_an_unsafe_configuration_is_refused(traits: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make(**traits).check_configuration()


@pytest.mark.parametrize("traits", [{"command_prefix": ["sudo", "-nu", "{user}"]}, {"single_user": "me"}])
def test_a_safe_configuration_is_taken(traits: dict[str, Any]) -> None:
    make(**traits).check_configuration()


@pytest.mark.parametrize(
    "user",
    ["root", "daemon", "no-such-account-here", "-x", "a b", "../x", "root\n", "", "x" * 33, "A", "ü", ME],
)
def test_accounts_that_get_no_scheduler(user: str) -> None:
    with pytest.raises(InvalidRequestError):
        make(command_prefix=["sudo", "-nu", "{user}"]).admit(user)


def test_a_personal_gateway_serves_one_user() -> None:
    launcher = make(single_user="me")
    launcher.admit("me")
    with pytest.raises(InvalidRequestError, match="serves 'me' only, not 'you'"):
        launcher.admit("you")


def test_secrets_are_not_in_the_repr() -> None:
    shown = repr(SchedulerSpec("c1", ME, ("x",), {"TOKEN": SECRET}, {"dask.pem": SECRET}))
    assert SECRET not in shown


def test_start_time_of_a_process() -> None:
    assert scheduler_process.started(os.getpid()) is not None
    assert scheduler_process.started(2**22 + 1) is None
    child = os.fork()
    if not child:
        signal.pause()
    os.kill(child, signal.SIGKILL)
    while Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        pass
    assert scheduler_process.started(child) is None  # a zombie
    os.waitpid(child, 0)


def test_the_program_needs_nothing_but_the_standard_library() -> None:
    source = Path(scheduler_process.__file__).read_text()
    lines = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    imported = {line.split()[1].partition(".")[0] for line in lines}
    assert {"json", "os"} < imported <= set(sys.stdlib_module_names)
