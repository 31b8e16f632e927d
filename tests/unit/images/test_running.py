"""An image is asked by running it: a program in Apptainer's place runs the command on this machine."""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
from tests.support.image_trees import Program, make
from tests.support.waiting import eventually

from htcdaskgateway.images.errors import ImageUnusableError
from htcdaskgateway.images.running import ask_image

IMAGE = "/cvmfs/unpacked.cern.ch/registry/some:image"


def apptainer(directory: Path, text: str) -> str:
    make(directory, {"apptainer": Program(f"#!/bin/sh\n{text}\n")})
    return str(directory / "apptainer")


def said(**changes: object) -> str:
    """A script that answers as the image's Python does."""
    answer = {"python": "3.11.7", "executable": "/usr/bin/python3", "dask": True, "found": {}, **changes}
    return f"cat <<'EOF'\nhtcdaskgateway-versions:{json.dumps(answer)}\nEOF"


def stand_in(directory: Path, path: str) -> str:
    """Skips the options and the image; what is left is the command."""
    return apptainer(directory, f'while [ "$1" != {IMAGE} ]; do shift; done; shift; PATH={path} exec "$@"')


def dask(directory: Path, interpreter: str) -> Path:
    return make(
        directory,
        {
            "dask": Program(f"#!{interpreter}\n"),
            "python3": Program(f'#!/bin/sh\nexec {sys.executable} "$@"\n'),
        },
    )


def test_the_image_s_python_is_asked(tmp_path: Path) -> None:
    found = ask_image(
        IMAGE, ["Dask", "msgpack"], apptainer=stand_in(tmp_path, str(dask(tmp_path / "bin", "/bin/sh")))
    )
    assert found.path == IMAGE
    assert found.executable == sys.executable
    assert found.versions == {"python": found.python, "dask": version("dask"), "msgpack": version("msgpack")}
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.notes == ()
    assert found.runs_dask is True


def test_all_packages(tmp_path: Path) -> None:
    found = ask_image(IMAGE, apptainer=stand_in(tmp_path, str(dask(tmp_path / "bin", "/bin/sh"))))
    assert {"dask", "distributed", "dask-gateway", "pytest"} <= found.versions.keys()


def test_the_python_of_dask_is_asked(tmp_path: Path) -> None:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no second Python")
    found = ask_image(IMAGE, apptainer=stand_in(tmp_path, str(dask(tmp_path / "bin", "/usr/bin/python3"))))
    assert found.executable == "/usr/bin/python3"


def test_an_image_without_dask(tmp_path: Path) -> None:
    directory = dask(tmp_path / "bin", "/bin/sh")
    (directory / "dask").unlink()
    found = ask_image(IMAGE, apptainer=stand_in(tmp_path, str(directory)))
    assert found.notes == ("there is no dask in its PATH",)
    assert found.runs_dask is False


def test_how_it_is_started(tmp_path: Path) -> None:
    program = apptainer(tmp_path, f'printf "%s\\n" "$@" > {tmp_path}/arguments; exit 1')
    with pytest.raises(ImageUnusableError):
        ask_image(IMAGE, apptainer=program)
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert arguments[: arguments.index("-c")] == [
        *("exec", "--cleanenv", "--contain", "--no-home", "--pwd", "/", IMAGE, "python3"),
    ]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo one; echo 'FATAL: no such image' >&2; exit 255", "one; FATAL: no such image"),
        ("exit 3", "it prints nothing"),
        ("echo htcdaskgateway-versions:{}", "htcdaskgateway-versions:{}"),
        ("echo htcdaskgateway-versions:nonsense", "htcdaskgateway-versions:nonsense"),
        ("echo 'htcdaskgateway-versions:[]'", "htcdaskgateway-versions:[]"),
        ("echo 'htcdaskgateway-versions:'$(head -c 200000 /dev/zero | tr '\\0' '[')", "[[[["),
        (said(python=["3.11"]), "htcdaskgateway-versions:"),
        (said(python="3.11\n"), "htcdaskgateway-versions:"),
        (said(executable=7), "htcdaskgateway-versions:"),
        (said(found=[]), "htcdaskgateway-versions:"),
        ("printf '\\033[31mred\\377'", "[31mred"),
        ("seq 1000", "998; 999; 1000"),
    ],
)
def test_no_answer(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(ImageUnusableError, match="its Python gives no answer") as caught:
        ask_image(IMAGE, apptainer=apptainer(tmp_path, script))
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_an_answer_that_does_not_come(tmp_path: Path) -> None:
    program = apptainer(tmp_path, f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    start = time.monotonic()
    with pytest.raises(ImageUnusableError, match=r"its Python gave no answer in 0\.5 s"):
        ask_image(IMAGE, apptainer=program, timeout=0.5)
    assert time.monotonic() - start < 10
    child = int((tmp_path / "pid").read_text())
    eventually("what it started is ended", lambda: not psutil.pid_exists(child) or _is_dead(child), 10)


def _is_dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_no_apptainer(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    with pytest.raises(ImageUnusableError) as caught:
        ask_image(IMAGE, apptainer=gone)
    assert str(caught.value) == (
        f"The image {IMAGE} cannot be used: the program {gone} cannot be started"
        " (No such file or directory).\n"
        "Images can be run where Apptainer is installed; reading them needs nothing."
    )


def test_a_path_that_is_none() -> None:
    with pytest.raises(ImageUnusableError):
        ask_image("/image\0", apptainer="true")


def test_versions_that_are_none(tmp_path: Path) -> None:
    found = {"dask": "1.0\x1b[31m", "numpy": 7, "Tornado": "6.4", "\x1b[31m": "1"}
    contents = ask_image(IMAGE, apptainer=apptainer(tmp_path, said(found=found)))
    assert contents.versions == {"python": "3.11.7", "tornado": "6.4"}
    assert contents.notes == ("dask: '1.0\\x1b[31m' is no version", "numpy: '7' is no version")


@pytest.mark.parametrize(("where", "most"), [("", "4096 KiB"), (">&2", "64 KiB")])
def test_output_without_end_is_not_kept(tmp_path: Path, where: str, most: str) -> None:
    program = apptainer(tmp_path, f"echo $$ > {tmp_path}/pid; head -c 20000000 /dev/zero {where}; sleep 60")
    with pytest.raises(ImageUnusableError, match=f"it prints too much, more than {most}"):
        ask_image(IMAGE, apptainer=program, timeout=5)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_output_up_to_the_bound_is_read(tmp_path: Path) -> None:
    program = apptainer(tmp_path, f"head -c 3000000 /dev/zero; head -c 60000 /dev/zero >&2; echo; {said()}")
    assert ask_image(IMAGE, apptainer=program).python == "3.11.7"
