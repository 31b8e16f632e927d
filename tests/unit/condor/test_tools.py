"""The command-line tools as sites wrap them: other paths, other output, scripts that hang."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from htcdaskgateway.condor.bindings import BindingsSchedd
from htcdaskgateway.condor.child import Child, ChildEndedError
from htcdaskgateway.condor.schedd import Action, SubmitDescription
from htcdaskgateway.condor.tools import ToolsSchedd
from htcdaskgateway.errors import (
    ActionRefusedError,
    ConfigurationError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)

TWO = SubmitDescription({"executable": "/bin/true"}, ("w1", "w2"))
Tool = Callable[[str, str], None]


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    def write(name: str, script: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    write("condor_q", "echo '[]'")
    return write


@pytest.fixture
def schedd(tmp_path: Path) -> ToolsSchedd:
    return ToolsSchedd(directory=str(tmp_path), timeout=10)


async def test_submit_reads_what_a_wrapper_prints(tool: Tool, schedd: ToolsSchedd, tmp_path: Path) -> None:
    tool(
        "condor_submit",
        f'cat "$1" > {tmp_path}/seen; stat -c %a "$1" > {tmp_path}/mode; echo "$1" > {tmp_path}/name\n'
        "echo Choosing a schedd for you; echo 'Submitting job(s)..'\n"
        "echo '2 job(s) submitted to cluster 77.'",
    )
    assert await schedd.submit(TWO) == ["77.0", "77.1"]
    assert (tmp_path / "seen").read_text() == str(TWO)
    assert (tmp_path / "mode").read_text() == "600\n"
    assert not Path((tmp_path / "name").read_text().strip()).exists()


async def test_arguments_are_words(tool: Tool, tmp_path: Path) -> None:
    tool("wrapped", f"printf '%s\\n' \"$@\" > {tmp_path}/seen; echo ENV=$MORE >> {tmp_path}/seen")
    schedd = ToolsSchedd(
        "ap@host",
        pool="cm.example:9618",
        programs={"condor_rm": str(tmp_path / "wrapped")},
        environment={"MORE": "x"},
    )
    assert await schedd.act(Action.REMOVE, ["1.0", "2.5"]) == 0
    assert (tmp_path / "seen").read_text().split() == [
        "-name", "ap@host", "-pool", "cm.example:9618", "1.0", "2.5", "ENV=x",
    ]  # fmt: skip


async def test_schedds_name_is_read_from_the_queue(tool: Tool, schedd: ToolsSchedd) -> None:
    tool("condor_submit", "echo '2 job(s) submitted to cluster 77.'")
    tool("condor_q", """echo '[{"GlobalJobId": "ap7@host#77.0#1795350910"}]'""")
    assert schedd.name == ""
    await schedd.submit(TWO)
    assert schedd.name == "ap7@host"


@pytest.mark.parametrize(
    "script",
    [
        "echo all is well",
        "echo '1 job(s) submitted to cluster 77.'",
        "echo '2 job(s) submitted to cluster 77.'; echo '2 job(s) submitted to cluster 78.'",
        "echo '2 job(s) submitted to cluster 77.'; echo no space for my log >&2; exit 1",
        "echo 'ERROR: Failed to commit job submission into the queue.' >&2; exit 1",
    ],
)
async def test_submit_whose_outcome_is_not_known(tool: Tool, schedd: ToolsSchedd, script: str) -> None:
    tool("condor_submit", script)
    with pytest.raises(ScheddSilentError) as caught:
        await schedd.submit(TWO)
    assert caught.value.words


async def test_refusal_has_stdout_and_stderr(tool: Tool, schedd: ToolsSchedd) -> None:
    tool("condor_submit", "echo Your quota is used up; echo 'ERROR: go away' >&2; exit 3")
    with pytest.raises(SubmitRefusedError) as caught:
        await schedd.submit(TWO)
    assert caught.value.words == "Your quota is used up\nERROR: go away"


async def test_failure_without_words(tool: Tool, schedd: ToolsSchedd) -> None:
    tool("condor_q", "exit 9")
    with pytest.raises(ScheddUnavailableError, match="nothing, and ended with exit code 9"):
        await schedd.query("g1")


async def test_overdue_wrapper_is_killed_with_its_children(tool: Tool, tmp_path: Path) -> None:
    tool("condor_submit", f"sleep 67 & echo $! $$ > {tmp_path}/pids; wait")
    schedd = ToolsSchedd(directory=str(tmp_path), timeout=1)
    started = time.monotonic()
    with pytest.raises(ScheddSilentError, match=r"did not answer the submit of 2 jobs in 1 s\."):
        await schedd.submit(TWO)
    assert time.monotonic() - started < 5
    for pid in (tmp_path / "pids").read_text().split():
        assert await ended(Path(f"/proc/{pid}/stat"))


async def test_cancelled_call_leaves_no_process(tool: Tool, schedd: ToolsSchedd, tmp_path: Path) -> None:
    tool("condor_q", f"echo $$ > {tmp_path}/pids; exec sleep 68")
    task = asyncio.create_task(schedd.query("g1"))
    pid = await written(tmp_path / "pids")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await ended(Path(f"/proc/{pid}/stat"))


async def written(file: Path) -> str:
    for _ in range(500):
        if file.exists() and (text := file.read_text()).endswith("\n"):
            return text.strip()
        await asyncio.sleep(0.02)
    raise TimeoutError(f"nothing in {file}")


async def ended(stat: Path) -> bool:
    for _ in range(250):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        await asyncio.sleep(0.02)
    return False


async def test_missing_program(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await ToolsSchedd(directory=str(tmp_path)).query("g1")
    assert str(caught.value) == (
        f"The program {tmp_path}/condor_q cannot be started.\n  the system says: No such file or directory"
    )


async def test_permission_denied_is_refused(tool: Tool, schedd: ToolsSchedd) -> None:
    tool("condor_hold", "echo 'Permission denied to hold job 22.0'; echo 'Job 9.0 not found'; exit 1")
    with pytest.raises(ActionRefusedError) as caught:
        await schedd.act(Action.HOLD, ["22.0", "9.0"])
    assert caught.value.words == "Permission denied to hold job 22.0"
    assert caught.value.action == "hold"


async def test_queue_that_is_not_json(tool: Tool, schedd: ToolsSchedd) -> None:
    tool("condor_q", "echo Welcome to our wrapper")
    with pytest.raises(ScheddSilentError, match="Welcome to our wrapper"):
        await schedd.query("g1")


@pytest.mark.parametrize("make", [ToolsSchedd, BindingsSchedd])
@pytest.mark.parametrize("name", ["-all", "a b", 'x" || true || "', "a\nb", "$(x)", "a;b"])
def test_no_schedd_name(make: Callable[..., object], name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not the name of a schedd"):
        make(name)
    with pytest.raises(ConfigurationError, match="is not the name of a pool"):
        make("a@b", pool=name)


@pytest.mark.parametrize("make", [ToolsSchedd, BindingsSchedd])
def test_pool_without_a_schedd(make: Callable[..., object]) -> None:
    with pytest.raises(ConfigurationError, match="no name of a schedd in it"):
        make(pool="cm.example")


def test_unknown_program() -> None:
    with pytest.raises(ConfigurationError, match="'condor_qq' is used"):
        ToolsSchedd(programs={"condor_qq": "/x"})


def test_no_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError) as caught:
        BindingsSchedd()
    assert "pip install 'htcdaskgateway[condor]'" in str(caught.value)


async def test_bindings_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "htcondor2.py").write_text("import no_such_library\n")
    schedd = BindingsSchedd(environment={"PYTHONPATH": str(tmp_path)})
    with pytest.raises(ConfigurationError, match="no_such_library"):
        await schedd.query("g1")
    await schedd.close()


async def test_child_that_ends_is_started_again(tmp_path: Path) -> None:
    script = tmp_path / "child"
    script.write_text(
        "#!/bin/sh\nif [ -e again ]; then exec cat; fi\n: > again\necho my last words >&2\nexit 3\n"
    )
    child = Child(["sh", "-c", f"cd {tmp_path} && exec sh ./child"], {})
    with pytest.raises(ChildEndedError, match=r"ended with 3\.\nmy last words"):
        await child.ask({"a": 1}, 10)
    assert await child.ask({"a": "x" * 300_000}, 10) == {"a": "x" * 300_000}  # more than a pipe holds
    await child.close()


async def test_cancelled_request_does_not_answer_the_next(tmp_path: Path) -> None:
    child = Child(["sh", "-c", "sleep 0.5; exec cat"], {})
    task = asyncio.create_task(child.ask({"first": 1}, 10))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await child.ask({"second": 2}, 10) == {"second": 2}
    await child.close()


async def test_child_ends_with_its_parent() -> None:
    child = Child(["cat"], {})
    await child.ask({}, 10)
    pid = child.pid
    await child.close()
    assert pid is not None
    assert await ended(Path(f"/proc/{pid}/stat"))


TOTALS = '[ "$3" = -totals ]'
JOBS = '[{"MyType": "Summary", "Jobs": %d}]'
JOB = '{"ClusterId": 7, "ProcId": 0, "JobStatus": 1}'


@pytest.mark.parametrize(
    ("script", "ids"),
    [
        (f"echo welcome; echo '[INFO] hello'; printf '[\\n{JOB}\\n]\\n'; echo '[bye]'", ["7.0"]),
        (f"printf '[\\n{JOB}\\n]\\n'; echo; printf '[\\n{JOB}\\n]\\n'", ["7.0", "7.0"]),  # two schedds
        ("printf '[]\\n'", []),
        ("true", []),
    ],
)
async def test_queue_between_a_wrappers_words(
    tool: Tool, schedd: ToolsSchedd, script: str, ids: list[str]
) -> None:
    tool("condor_q", script)
    assert [job.job_id for job in await schedd.query("g1")] == ids


@pytest.mark.parametrize(
    "script",
    [
        f"printf '[\\n{JOB}\\n'",  # not all of it
        f"printf '[\\n{JOB}\\n]\\n[\\n{JOB}\\n'",
        f"echo welcome; {TOTALS} && echo '{JOBS % 3}'; true",
        f"echo welcome; {TOTALS} && echo '[]'; true",
    ],
)
async def test_part_of_the_queue_is_no_answer(tool: Tool, schedd: ToolsSchedd, script: str) -> None:
    tool("condor_q", script)
    with pytest.raises(ScheddSilentError):
        await schedd.query("g1")


async def test_wrapper_of_an_empty_queue(tool: Tool, schedd: ToolsSchedd) -> None:
    tool("condor_q", f"echo welcome; {TOTALS} && echo '{JOBS % 0}'; true")
    assert await schedd.query("g1") == []


async def test_wrapper_that_submits_to_where_we_cannot_look(tool: Tool, tmp_path: Path) -> None:
    tool("condor_submit", "echo '2 job(s) submitted to cluster 77.'")
    tool("condor_status", "echo ap1@; echo ap2@")
    shown = """echo '[{"GlobalJobId": "ap2@#77.0#1", "ClusterId": 77, "ProcId": 0, "JobStatus": 1}]'"""
    tool(
        "condor_q", f'echo "$2" >> {tmp_path}/asked; [ -e {tmp_path}/up ] && [ "$2" = ap2@ ] && {shown}; true'
    )
    schedd = ToolsSchedd(directory=str(tmp_path), programs={"condor_submit": str(tmp_path / "condor_submit")})
    assert await schedd.submit(TWO) == ["77.0", "77.1"]
    # Any answer now would be another schedd's, in which these jobs seem to be gone.
    for call in (schedd.query("g1"), schedd.act(Action.REMOVE, ["77.0"]), schedd.ended(["77.0"])):
        with pytest.raises(ScheddUnavailableError, match="No schedd shows the jobs with ClusterId == 77"):
            await call
    (tmp_path / "up").touch()
    assert [job.job_id for job in await schedd.query("g1")] == ["77.0"]
    assert schedd.name == "ap2@"
    (tmp_path / "asked").unlink()
    await schedd.query("g1")
    assert (tmp_path / "asked").read_text().split() == ["ap2@"]


OURS = SubmitDescription({**TWO.commands, "+HTCDaskGateway": '"g1"', "+HTCDaskCluster": '"c1"'}, ("w1", "w2"))
ON_AP2 = """echo '[{"GlobalJobId": "ap2@#77.0#1", "ClusterId": 77, "ProcId": 0, "JobStatus": 1}]'"""


@pytest.fixture
def wrapped(tool: Tool, tmp_path: Path) -> ToolsSchedd:
    """Its ``condor_submit`` chooses a schedd; ap2@ shows jobs when there is a file ``up``."""
    tool("condor_status", "echo ap1@; echo ap2@")
    tool("condor_submit", f"echo \"$*\" >> {tmp_path}/submits; echo '2 job(s) submitted to cluster 77.'")
    seen = f'echo "$*" >> {tmp_path}/asked; [ -e {tmp_path}/up ] && [ "$2" = ap2@ ]'
    tool("condor_q", f"{seen} && {ON_AP2}; true")
    programs = {"condor_submit": str(tmp_path / "condor_submit")}
    return ToolsSchedd(directory=str(tmp_path), programs=programs, timeout=2)


async def test_wrapper_that_submits_and_takes_too_long(
    tool: Tool, wrapped: ToolsSchedd, tmp_path: Path
) -> None:
    tool("condor_submit", f"touch {tmp_path}/submitted; sleep 60")
    with pytest.raises(ScheddSilentError):
        await wrapped.submit(OURS)
    for _ in range(2):
        (tmp_path / "submitted").unlink()
        with pytest.raises(ScheddUnavailableError, match=r'HTCDaskCluster =\?= "c1"'):
            await wrapped.submit(OURS)
        (tmp_path / "submitted").touch(exist_ok=False)  # it was not asked again
    (tmp_path / "up").touch()
    assert [job.job_id for job in await wrapped.query("g1")] == ["77.0"]
    assert wrapped.name == "ap2@"


async def test_what_a_wrapper_has_not_submitted_is_not_sought(
    tool: Tool, wrapped: ToolsSchedd, tmp_path: Path
) -> None:
    tool("condor_submit", "echo Your quota is used up; echo 'ERROR: go away' >&2; exit 3")
    with pytest.raises(SubmitRefusedError):
        await wrapped.submit(OURS)
    assert await wrapped.query("g1") == []
    assert "-name" not in (tmp_path / "asked").read_text()


async def test_jobs_of_a_process_that_has_ended_are_sought(wrapped: ToolsSchedd, tmp_path: Path) -> None:
    (tmp_path / "up").touch()
    await wrapped.settle("g1", [])
    assert not (tmp_path / "asked").exists()
    await wrapped.settle("g1", ["c1", "c2"])
    assert wrapped.name == "ap2@"
    searched = '(HTCDaskGateway =?= "g1" && HTCDaskCluster =?= "c1") || (HTCDaskGateway =?= "g1"'
    assert searched in (tmp_path / "asked").read_text()
    await wrapped.submit(OURS)
    assert (tmp_path / "submits").read_text().startswith("-name ap2@ ")


async def test_where_this_host_has_no_schedd_the_others_are_searched(
    tool: Tool, wrapped: ToolsSchedd, tmp_path: Path
) -> None:
    tool(
        "condor_q",
        f"""case "$1 $2" in "-name ap2@") {ON_AP2} ;; -name*) ;; *) echo 'no schedd'; exit 1; esac""",
    )
    await wrapped.settle("g1", ["c1"])
    assert wrapped.name == "ap2@"


async def test_jobs_that_are_nowhere_are_not_sought_for_ever(wrapped: ToolsSchedd) -> None:
    for _ in range(4):
        with pytest.raises(ScheddUnavailableError, match="No schedd shows the jobs"):
            await wrapped.settle("g1", ["c1"])
    await wrapped.settle("g1", ["c1"])
    assert await wrapped.submit(OURS) == ["77.0", "77.1"]


async def test_jobs_that_have_left_all_queues_are_not_sought_for_ever(tool: Tool, tmp_path: Path) -> None:
    tool("condor_submit", "echo '2 job(s) submitted to cluster 77.'")
    tool("condor_status", "echo ap1@; echo ap2@")
    schedd = ToolsSchedd(directory=str(tmp_path), programs={"condor_submit": str(tmp_path / "condor_submit")})
    await schedd.submit(TWO)
    for _ in range(3):
        with pytest.raises(ScheddUnavailableError):
            await schedd.query("g1")
    assert await schedd.query("g1") == []
