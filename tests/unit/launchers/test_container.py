"""A scheduler in an image: the file and the command, and the launcher with a stand-in for Apptainer."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from traitlets.config import Config

from htcdaskgateway.errors import ConfigurationError, InvalidRequestError, SchedulerStartError
from htcdaskgateway.launchers.base import SchedulerImage, SchedulerSpec
from htcdaskgateway.launchers.container import apptainer_command, scheduler_script
from htcdaskgateway.launchers.local import LocalLauncher

ME = pwd.getpwuid(os.geteuid()).pw_name
SECRET = "do-not-show-this"
IMAGE = SchedulerImage("registry.example.org/a/b:1", "/cvmfs/images/registry.example.org/a/b:1")
# Writes down how it was started and goes on with nothing of its environment; the real one runs in tests/e2e.
STAND_IN = f"""#!{sys.executable}
import json, os, sys
with open(os.path.join(os.path.dirname(sys.argv[0]), "apptainer.json"), "w") as file:
    json.dump({{"arguments": sys.argv[1:], "environment": dict(os.environ)}}, file)
command = sys.argv[sys.argv.index("/bin/sh"):]
os.execve(command[0], command, {{"PATH": "/usr/bin:/bin", "HOME": "/no"}})
"""


def spec(*command: str, image: SchedulerImage | None = IMAGE, **environment: str) -> SchedulerSpec:
    return SchedulerSpec(
        "c1", ME, command, environment, {"dask.pem": SECRET}, image, inherited={"PATH": "/of/the/host"}
    )


def test_the_file(tmp_path: Path) -> None:
    script = scheduler_script(spec("/usr/bin/env", "-0", GIVEN="it's\n$(x)", TMPDIR="/no"), "/image", "/d r")
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": "/bin"},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    assert {name: found[name] for name in ("GIVEN", "PATH", "HOME", "TMPDIR")} == {
        "GIVEN": "it's\n$(x)", "PATH": "/bin", "HOME": "/d r", "TMPDIR": "/d r"
    }  # fmt: skip


def test_a_program_that_the_image_lacks() -> None:
    script = scheduler_script(spec("da sk"), "/image:1", "/d")
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": "/bin"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == "the image '/image:1' has no program 'da sk', PATH is '/bin'.\n"


def test_a_variable_that_cannot_be_set() -> None:
    with pytest.raises(InvalidRequestError, match="'A;B' is not the name"):
        scheduler_script(replace(spec("dask"), environment={"A;B": "1"}), "/image", "/d")


def test_the_command() -> None:
    assert apptainer_command("/image:1", "/d/x", "/opt/apptainer", ["--userns"]) == [
        "/opt/apptainer", "--quiet", "exec", "--cleanenv", "--contain", "--no-home", "--workdir", "/d/x",
        "--pwd", "/d/x", "--bind", "/d/x", "--userns", "/image:1", "/bin/sh", "/d/x/scheduler.sh",
    ]  # fmt: skip


@pytest.mark.parametrize("directory", ["/a,b", "/a:b", '/a"b', "/a\\b"])
def test_a_directory_that_cannot_be_bound(directory: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be bound into an image") as caught:
        apptainer_command("/image", directory)
    assert "c.LocalLauncher.directory" in str(caught.value)


@pytest.fixture
def launcher(tmp_path: Path) -> LocalLauncher:
    apptainer = tmp_path / "apptainer"
    apptainer.write_text(STAND_IN)
    apptainer.chmod(0o755)
    settings = {"single_user": ME, "directory": str(tmp_path), "stop_grace": 1, "apptainer": str(apptainer)}
    return LocalLauncher(config=Config({"LocalLauncher": settings}))


async def test_nothing_of_the_host_goes_in(launcher: LocalLauncher, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    state = await launcher.start(spec("/bin/sh", "-c", f"env >{mine}; exec sleep 60", GIVEN=SECRET))
    try:
        while not (mine.exists() and mine.read_text()):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)
        started = json.loads((tmp_path / "apptainer.json").read_text())
        directory = f"{tmp_path}/daskgateway-c1"
        assert started["arguments"] == apptainer_command(IMAGE.path, directory)[1:]
        assert SECRET not in str(started)
        started["environment"].pop("LC_CTYPE", None)  # Python's own, in the stand-in
        assert started["environment"] == {
            "PATH": "/of/the/host",
            "TMPDIR": directory,
            "APPTAINER_TMPDIR": directory,
            "APPTAINER_CACHEDIR": f"{directory}/apptainer",
            "APPTAINER_CONFIGDIR": f"{directory}/apptainer",
        }
        environment = dict(line.split("=", 1) for line in mine.read_text().splitlines())
        assert environment.items() >= {"GIVEN": SECRET, "PATH": "/usr/bin:/bin", "HOME": directory}.items()
    finally:
        assert await launcher.stop(ME, state) == ""
    assert not Path(state["directory"]).exists()


async def test_without_an_image(launcher: LocalLauncher, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    state = await launcher.start(spec("/bin/sh", "-c", f"/usr/bin/env >{mine}", image=None, GIVEN="1"))
    while not await launcher.failure(ME, state):  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.01)
    await launcher.stop(ME, state)
    environment = dict(line.split("=", 1) for line in mine.read_text().splitlines())
    assert environment.items() >= {"GIVEN": "1", "PATH": "/of/the/host"}.items()
    assert not (tmp_path / "apptainer.json").exists()


async def test_no_apptainer(launcher: LocalLauncher, tmp_path: Path) -> None:
    launcher.apptainer = "/no/apptainer"
    with pytest.raises(SchedulerStartError, match="No such file or directory: /no/apptainer"):
        await launcher.start(spec("dask"))
    assert not (tmp_path / "daskgateway-c1").exists()
