"""The file that carries a worker's environment, read back by real shells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htcdaskgateway.condor.worker_env import Container, worker_env
from htcdaskgateway.errors import InvalidRequestError

VALUES: dict[str, Any] = {
    "command": ["dask", "worker"],
    "contact": "tls://host:8786",
    "nthreads": 1,
    "memory_limit": 2**31,
    "death_timeout": 60,
}
SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)


def read_back(text: str, shell: str = "sh") -> dict[str, str]:
    """Environment of a program that a shell starts after it has read the file."""
    done = subprocess.run(
        [shell, "-c", 'eval "$1"; htcdask_environment; exec /usr/bin/env -0', "sh", text],
        capture_output=True,
        env={"PATH": "/usr/bin:/bin"},
        timeout=20,
        check=True,
    )
    assert done.stderr == b""
    return dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)


def test_full_text() -> None:
    text = worker_env(
        **VALUES,
        sni="daskgateway-c1",
        worker_port="10000:10010",
        nanny_port="11000:11010",
        host="10.0.0.1",
        environment={"B": "it's", "A": ""},
    )
    assert text == (
        "export HTCDASK_CONTACT=tls://host:8786\n"
        "export HTCDASK_SNI=daskgateway-c1\n"
        "export HTCDASK_COMMAND='dask worker'\n"
        "export HTCDASK_NTHREADS=1\n"
        "export HTCDASK_MEMORY_LIMIT=2147483648\n"
        "export HTCDASK_DEATH_TIMEOUT=60\n"
        "export HTCDASK_WORKER_PORT=10000:10010\n"
        "export HTCDASK_NANNY_PORT=11000:11010\n"
        "export HTCDASK_WORKER_HOST=10.0.0.1\n"
        "export HTCDASK_RUNTIME=none\n"
        "htcdask_environment() {\n"
        ":\n"
        "export B='it'\"'\"'s'\n"
        "export A=''\n"
        "}\n"
    )


def test_with_an_image() -> None:
    container = Container("/cvmfs/x/it's:1", "/opt/bin/apptainer", ("--bind", "/a b", "--nv"))
    lines = worker_env(**VALUES, container=container).splitlines()
    assert lines[-7:] == [
        "export HTCDASK_RUNTIME=apptainer",
        "export HTCDASK_IMAGE='/cvmfs/x/it'\"'\"'s:1'",
        "export HTCDASK_APPTAINER=/opt/bin/apptainer",
        "export HTCDASK_APPTAINER_ARGUMENTS='--bind '\"'\"'/a b'\"'\"' --nv'",
        "htcdask_environment() {",
        ":",
        "}",
    ]


@pytest.mark.parametrize("shell", SHELLS)
def test_settings_are_read_without_the_environment(shell: str) -> None:
    text = worker_env(**VALUES, environment={"PATH": "/nowhere"})
    done = subprocess.run(
        [shell, "-c", 'eval "$1"; echo "$PATH $HTCDASK_NTHREADS"', "sh", text],
        capture_output=True, env={"PATH": "/usr/bin:/bin"}, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("/usr/bin:/bin 1\n", "")


@pytest.mark.parametrize("shell", SHELLS)
@given(environment=st.dictionaries(NAMES, TEXTS, max_size=4), contact=TEXTS)
@settings(max_examples=60, deadline=None)
def test_shells_read_every_value_unchanged(shell: str, environment: dict[str, str], contact: str) -> None:
    try:
        text = worker_env(**{**VALUES, "contact": contact}, environment=environment)
    except InvalidRequestError:
        return  # a name that is not free
    found = read_back(text, shell)
    assert {name: found[name] for name in environment} == environment
    assert found["HTCDASK_CONTACT"] == contact


@pytest.mark.parametrize("shell", SHELLS)
def test_hostile_values(shell: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    hostile = {
        "A": f"'; touch {trap}; '", "B": f"$(touch {trap})", "C": f"`touch {trap}`", "D": "\\",
        "E": "a\n\nb\n", "F": f"x'\nexport HTCDASK_CONTACT=tls://evil\ntouch {trap}\n'",
        "G": '"', "H": "!!", "I": "\r\t\x1b", "J": f"'\n}}\ntouch {trap}\nx() {{\n'",
    }  # fmt: skip
    found = read_back(worker_env(**VALUES, environment=hostile), shell)
    assert {name: found[name] for name in hostile} == hostile
    assert found["HTCDASK_CONTACT"] == "tls://host:8786"
    assert not trap.exists()


@pytest.mark.parametrize(
    "name", ["", "1A", "A B", "A=B", "A;touch x", "A\nB", "é", "A-B", "$(x)", "BASH_FUNC_ls%%", "A.B"]
)
def test_no_variable_name(name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        worker_env(**VALUES, environment={name: "1"})
    assert str(caught.value) == f"{name!r} is not the name of an environment variable."


@pytest.mark.parametrize(
    "name", ["HTCDASK_CONTACT", "HTCDASK_X", "IFS", "BASH_ENV", "UID", "_CONDOR_SLOT", "PWD"]
)
def test_variable_that_is_not_free(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"The environment variable {name} cannot be set"):
        worker_env(**VALUES, environment={name: "1"})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"environment": {"A": "a\0b"}}, "NUL"),
        ({"environment": {"A": "\ud800"}}, "is not text"),
        ({"command": []}, "is empty"),
        ({"command": [""]}, "is empty"),
        ({"container": Container("/cvmfs/\0")}, "NUL"),
        ({"worker_port": "10:5"}, "'10:5' is not LOW:HIGH"),
        ({"worker_port": "0:5"}, "'0:5'"),
        ({"nanny_port": "1:70000"}, "'1:70000'"),
        ({"nanny_port": "1:2 --x"}, "'1:2 --x'"),
    ],
)
def test_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        worker_env(**{**VALUES, **changes})
    assert word in str(caught.value)


@pytest.mark.parametrize("shell", SHELLS)
def test_ordinary_names_arrive(shell: str) -> None:
    ordinary = {
        "HOME": "/h",
        "PATH": "/usr/bin:/bin",
        "LANG": "C",
        "PYTHONPATH": "/x",
        "name": "n",
        "LD_X": "",
    }
    found = read_back(worker_env(**VALUES, environment=ordinary), shell)
    assert {name: found[name] for name in ordinary} == ordinary
