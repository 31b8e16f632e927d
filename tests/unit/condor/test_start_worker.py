"""`start_worker.sh` run by real shells, with a program in the place of ``dask worker``."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from htcdaskgateway.client.token_delivery import OP, TAKEN
from htcdaskgateway.condor.worker_env import Container, worker_env
from htcdaskgateway.records import dask_name

SHELLS = [shell for shell in ("dash", "bash", "bash --posix") if shutil.which(shell.split()[0])]
# Writes down how it was started.
PROGRAM = f"""#!{sys.executable}
import json, os, sys
names = [os.path.join(top, name)[2:] for top, *found in os.walk(".") for name in sum(found, [])]
modes = {{name: oct(os.stat(name).st_mode & 0o777) for name in sorted(names)}}
started = {{"arguments": sys.argv[1:], "environment": dict(os.environ), "modes": modes, "pid": os.getpid(),
           "umask": oct(os.umask(0))}}
json.dump(started, open(os.environ.get("REPORT", "report"), "w"))
"""
# In the place of Apptainer: writes down how it was started, and goes on with nothing of its environment, in
# the shell that is tested. The real one runs in tests/e2e.
STAND_IN = f"""#!{sys.executable}
import json, os, sys
with open(os.path.join(os.path.dirname(sys.argv[0]), "apptainer.json"), "w") as file:
    json.dump({{"arguments": sys.argv[1:], "environment": dict(os.environ), "pid": os.getpid()}}, file)
inside = sys.argv[sys.argv.index("/bin/sh") + 1:]
shell = os.environ["TESTED_SHELL"].split()
environment = {{"PATH": os.environ.get("IN_IMAGE", "/usr/bin:/bin"), "HOME": "/no"}}
os.execve("/bin/" + shell[0], [*shell, *inside], environment)
"""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Job:
    """A scratch directory as HTCondor makes it, and a program to run in it."""

    def __init__(self, directory: Path, shell: str) -> None:
        self.shell = shell
        self.scratch = directory / "dir with spaces $(x) 'y'"
        self.scratch.mkdir(0o700)
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.program = self.bin / "da sk"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        self.report = directory / "report"
        for name in ("dask.crt", "dask.pem"):
            (self.scratch / name).write_text(name)
            (self.scratch / name).chmod(0o644)
        self.values: dict[str, Any] = {
            "command": [str(self.program), "worker", "it's"],
            "contact": "tls://gateway:8786",
            "nthreads": 2,
            "memory_limit": 2**31,
            "death_timeout": 60,
        }

    def write_environment(self, environment: dict[str, str] | None = None, **changes: Any) -> None:
        environment = {"REPORT": str(self.report), **(environment or {})}
        text = worker_env(**{**self.values, **changes}, environment=environment)
        (self.scratch / "worker.env").write_text(text)

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        script = files("htcdaskgateway.worker").joinpath("start_worker.sh").read_text()
        (self.scratch / "condor_exec.exe").write_text(script)
        return subprocess.run(
            [*self.shell.split(), "./condor_exec.exe", *arguments],
            cwd=self.scratch,
            env={"PATH": "/usr/bin:/bin", "TESTED_SHELL": self.shell, **env},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def started(self) -> dict[str, Any]:
        return dict(json.loads(self.report.read_text()))

    def container(self, *arguments: str, image: str = "worker:tag") -> Container:
        """An image and an Apptainer for it."""
        program = self.bin / "apptainer"
        program.write_text(STAND_IN)
        program.chmod(0o755)
        (self.bin / "worker:tag").mkdir()
        return Container(str(self.bin / image), str(program), arguments)

    def apptainer(self) -> dict[str, Any]:
        return dict(json.loads((self.bin / "apptainer.json").read_text()))


@pytest.fixture
def job(tmp_path: Path, shell: str) -> Job:
    return Job(tmp_path, shell)


def test_becomes_the_worker(job: Job) -> None:
    job.write_environment({"MINE": "a\n'b'"})
    done = job.run("w1", _CONDOR_SLOT="slot1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    started = job.started()
    scratch = str(job.scratch)
    assert started["arguments"] == [
        "worker", "it's", "tls://gateway:8786", "--name", "w1",
        "--tls-ca-file", f"{scratch}/credentials/dask.crt", "--tls-cert", f"{scratch}/credentials/dask.crt",
        "--tls-key", f"{scratch}/credentials/dask.pem", "--nthreads", "2", "--memory-limit", "2147483648",
        "--local-directory", f"{scratch}/work", "--death-timeout", "60", "--nanny", "--no-dashboard",
    ]  # fmt: skip
    environment = started["environment"]
    assert environment["MINE"] == "a\n'b'"
    assert environment["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
    assert environment["TMPDIR"] == f"{scratch}/tmp"
    assert environment["HOME"] == scratch
    assert environment["_CONDOR_SLOT"] == "slot1"
    assert {name for name in environment if name.startswith("HTCDASK_")} <= {"HTCDASK_SNI"}
    assert started["umask"] == "0o77"
    modes = started["modes"]
    assert "worker.env" not in modes
    assert {modes["credentials/dask.crt"], modes["credentials/dask.pem"]} == {"0o600"}
    assert {modes["work"], modes["tmp"], modes["credentials"]} == {"0o700"}


def test_optional_arguments(job: Job) -> None:
    job.write_environment(
        sni="daskgateway-c1", worker_port="10000:10010", nanny_port="11000:11010", host="10.0.0.1"
    )
    assert job.run("w1").returncode == 0
    started = job.started()
    preload = str(job.scratch / "nanny_sni.py")
    assert started["arguments"][-10:] == [
        "--scheduler-sni", "daskgateway-c1", "--preload-nanny", preload, "--worker-port", "10000:10010",
        "--nanny-port", "11000:11010", "--host", "10.0.0.1",
    ]  # fmt: skip
    assert started["environment"]["HTCDASK_SNI"] == "daskgateway-c1"  # the nanny's preload reads it
    compile(Path(preload).read_text(), preload, "exec")


def test_is_replaced_by_the_worker(job: Job) -> None:
    """No shell stays between HTCondor, which signals its job, and the worker."""
    job.write_environment(environment={"REPORT": str(job.report)})
    script = files("htcdaskgateway.worker").joinpath("start_worker.sh").read_text()
    (job.scratch / "run").write_text(script)
    process = subprocess.Popen(
        [*job.shell.split(), "run", "w1"], cwd=job.scratch, env={"PATH": "/usr/bin:/bin"}
    )
    assert process.wait(30) == 0
    assert job.started()["pid"] == process.pid


def test_no_variable_of_the_user_changes_the_script(job: Job) -> None:
    """Variables with the names that a script is likely to use, and a PATH without any program."""
    names = ("name", "scratch", "file", "code", "settings", "setting", "HOME", "TMPDIR", "LANG", "HTCDASK")
    mine = dict.fromkeys(names, "mine")
    mine |= {"PATH": "/nowhere", "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "False"}
    job.write_environment(mine)
    assert job.run("w1").returncode == 0
    started = job.started()
    assert started["arguments"][2:5] == ["tls://gateway:8786", "--name", "w1"]
    environment = started["environment"]
    forced = {"TMPDIR", "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"}
    assert {name: environment[name] for name in set(mine) - forced} == {
        name: value for name, value in mine.items() if name not in forced
    }
    assert environment["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
    assert environment["TMPDIR"].endswith("/tmp")


@pytest.mark.parametrize("name", ["dask.crt", "dask.pem", "worker.env"])
def test_missing_file(job: Job, name: str) -> None:
    job.write_environment()
    (job.scratch / name).unlink()
    done = job.run("w1")
    assert done.returncode == 65
    assert done.stderr.splitlines() == [
        f"start_worker.sh on {os.uname().nodename}: "
        f"the input file {name} is missing or cannot be read in {job.scratch}."
    ]


def test_missing_program(job: Job) -> None:
    job.write_environment({"PATH": "/nowhere:/bin"}, command=["dask", "worker"])
    done = job.run("w1")
    assert done.returncode == 66
    assert "the program 'dask' is not found, PATH is '/nowhere:/bin'." in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_job_id_is_its_name_in_dask(job: Job) -> None:
    job.write_environment()
    done = job.run("w1", "1234.10")
    assert (done.returncode, done.stderr) == (0, "")
    assert job.started()["arguments"][3:5] == ["--name", dask_name("1234.10")]


@pytest.mark.parametrize("text", ["", ".", "1", "1.", ".1", "1.2.3", "a.0", "$(x).0", "1.0 "])
def test_what_is_no_job_id(job: Job, text: str) -> None:
    job.write_environment()
    done = job.run("w1", text)
    assert done.returncode == 64
    assert f"the second argument, '{text}', is no job id." in done.stderr


@pytest.mark.parametrize("arguments", [(), ("",), ("", "1.0"), ("a", "1.0", "b")])
def test_called_wrongly(job: Job, arguments: tuple[str, ...]) -> None:
    job.write_environment()
    done = job.run(*arguments)
    assert done.returncode == 64
    assert "expected the worker's name" in done.stderr


@pytest.mark.parametrize(
    ("replaced", "by", "words"),
    [
        ("HTCDASK_RUNTIME=none", "HTCDASK_RUNTIME=docker", "the worker runtime 'docker' is not known here"),
        ("HTCDASK_RUNTIME=none", "HTCDASK_RUNTIME=apptainer", "worker.env does not set HTCDASK_IMAGE."),
        ("export HTCDASK_RUNTIME=none\n", "", "the worker runtime '' is not known here"),
        ("HTCDASK_NTHREADS=2", "HTCDASK_NTHREADS=", "worker.env does not set HTCDASK_NTHREADS."),
    ],
)
def test_configured_wrongly(job: Job, replaced: str, by: str, words: str) -> None:
    job.write_environment()
    file = job.scratch / "worker.env"
    text = file.read_text()
    assert replaced in text
    file.write_text(text.replace(replaced, by))
    done = job.run("w1")
    assert done.returncode == 64
    assert words in done.stderr
    assert not job.report.exists()


def test_an_image_is_entered(job: Job) -> None:
    container = job.container("--bind", "/a b:/c", "--nv")
    job.write_environment({"MINE": "a\n'b'", "PATH": "/mine"}, container=container)
    env = {"_CONDOR_SLOT": "slot1_1", "CUDA_VISIBLE_DEVICES": "GPU-1,GPU $(x)", "OTHER": "1"}
    done = job.run("w1", "12.0", **env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    scratch, outside = str(job.scratch), job.apptainer()
    assert outside["arguments"] == [
        "--quiet", "exec", "--cleanenv", "--contain", "--no-home", "--workdir", scratch, "--pwd", scratch,
        "--bind", scratch, "--bind", f"{scratch}/credentials:{scratch}/credentials:ro",
        "--bind", "/a b:/c", "--nv", container.image,
        "/bin/sh", f"{scratch}/worker.sh", "--inside", "htcdask-worker_12_0",
        "_CONDOR_SLOT=slot1_1", "CUDA_VISIBLE_DEVICES=GPU-1,GPU $(x)",
    ]  # fmt: skip
    assert outside["environment"]["PATH"] == "/usr/bin:/bin"
    assert outside["environment"]["APPTAINER_TMPDIR"] == outside["environment"]["APPTAINER_CACHEDIR"]
    assert outside["environment"]["APPTAINER_TMPDIR"] == f"{scratch}/cache"
    assert "MINE" not in outside["environment"]

    inside = job.started()
    assert inside["arguments"][:5] == [
        "worker", "it's", "tls://gateway:8786", "--name", "htcdask-worker_12_0"
    ]  # fmt: skip
    assert inside["pid"] == outside["pid"], "no shell stays between HTCondor and the worker"
    environment = inside["environment"]
    assert environment.items() >= {"MINE": "a\n'b'", "PATH": "/mine", "HOME": scratch}.items()
    assert (
        environment.items() >= {name: env[name] for name in ("_CONDOR_SLOT", "CUDA_VISIBLE_DEVICES")}.items()
    )
    assert environment["TMPDIR"] == f"{scratch}/tmp"
    assert not [
        name for name in environment if name == "OTHER" or "HTCDASK_" in name.replace("HTCDASK_SNI", "")
    ]
    assert inside["modes"]["credentials/dask.pem"] == "0o600"
    assert (job.scratch / "worker.env").read_text() == ""


@pytest.mark.parametrize("runtime", ["none", "apptainer"])
def test_credentials_of_the_user(job: Job, runtime: str) -> None:
    """The files stay where HTCondor renews them, and the variables of another machine do not hide them."""
    for name in ("x509.pem", "bearer.token"):
        (job.scratch / name).write_text(name)
        (job.scratch / name).chmod(0o644)
    mine = {"X509_USER_PROXY": "/home/me/proxy", "BEARER_TOKEN_FILE": "/home/me/token"}
    job.write_environment(mine, container=job.container() if runtime == "apptainer" else None)
    done = job.run("w1")
    assert (done.returncode, done.stderr) == (0, "")
    started = job.started()
    assert started["environment"]["X509_USER_PROXY"] == f"{job.scratch}/x509.pem"
    assert started["environment"]["BEARER_TOKEN_FILE"] == f"{job.scratch}/bearer.token"
    assert {started["modes"][name] for name in ("x509.pem", "bearer.token")} == {"0o600"}


def test_the_nanny_takes_a_renewed_token(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    token = job.scratch / "bearer.token"
    token.write_text("old")
    job.write_environment()
    assert job.run("w1").returncode == 0
    preload = job.scratch / "nanny_token.py"
    assert job.started()["arguments"][-2:] == ["--preload-nanny", str(preload)]
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(token))
    names: dict[str, Any] = {}
    exec(compile(preload.read_text(), preload, "exec"), names)
    nanny = SimpleNamespace(handlers={})
    names["dask_setup"](nanny)
    with token.open() as old:
        assert nanny.handlers[OP](token=memoryview(b"new")) == TAKEN
        assert (token.read_text(), old.read()) == ("new", "old")  # in one step for who reads it
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert not [path for path in job.scratch.iterdir() if path.name.endswith(".new")]


def test_without_credentials_the_variables_are_the_users(job: Job) -> None:
    job.write_environment({"BEARER_TOKEN_FILE": "/mine"})
    assert job.run("w1").returncode == 0
    assert "--preload-nanny" not in job.started()["arguments"]
    environment = job.started()["environment"]
    assert environment["BEARER_TOKEN_FILE"] == "/mine"
    assert "X509_USER_PROXY" not in environment


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of the script, without its beginning."""
    beginning = f"start_worker.sh on {os.uname().nodename}: "
    [line] = done.stderr.splitlines()
    assert line.startswith(beginning)
    return line.removeprefix(beginning)


def test_no_apptainer(job: Job) -> None:
    image = job.container().image
    for program in ("/no/apptainer", str(job.bin), "no-apptainer"):
        job.write_environment(container=Container(image, program))
        for name in ("dask.crt", "dask.pem"):
            (job.scratch / name).touch()
        done = job.run("w1")
        assert (done.returncode, said(done)) == (67, f"there is no Apptainer, '{program}'.")


def test_no_image(job: Job) -> None:
    job.write_environment(container=job.container(image="a/b/c:1"))
    done = job.run("w1")
    assert done.returncode == 68
    assert said(done) == f"the image '{job.bin}/a/b/c:1' is not there; of its path there is '{job.bin}'."
    assert not (job.bin / "apptainer.json").exists()


def test_an_image_without_the_program(job: Job) -> None:
    container = job.container()
    job.write_environment(command=["dask", "worker"], container=container)
    done = job.run("w1", IN_IMAGE="/opt/bin")
    assert done.returncode == 69
    assert said(done) == f"the image '{container.image}' has no program 'dask', PATH is '/opt/bin'."


def test_a_scratch_directory_that_cannot_be_bound(job: Job) -> None:
    job.write_environment(container=job.container())
    job.scratch = job.scratch.rename(job.scratch.with_name("a,b"))
    done = job.run("w1")
    assert done.returncode == 69
    assert "a,b' cannot be bound" in said(done)


def test_exit_code_through_the_image(job: Job) -> None:
    job.write_environment(command=["sh", "-c", "exit 7"], container=job.container())
    assert job.run("w1").returncode == 7


def test_exit_code_is_the_workers(job: Job) -> None:
    job.write_environment(command=["sh", "-c", "exit 7"])
    assert job.run("w1").returncode == 7


def test_script_is_executable_and_posix() -> None:
    script = Path(str(files("htcdaskgateway.worker").joinpath("start_worker.sh")))
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text().startswith("#!/bin/sh\n")
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(
        [shellcheck, "--shell=sh", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
