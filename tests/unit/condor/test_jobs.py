"""Submit descriptions: what they say, and that nobody's text can make them say something else."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from tests.hostile import HOSTILE

from htcdaskgateway.condor.jobs import JobRequest, worker_jobs
from htcdaskgateway.condor.quoting import attribute_value, classad_text, expand
from htcdaskgateway.condor.schedd import SubmitDescription
from htcdaskgateway.errors import ConfigurationError, InvalidRequestError

REQUEST = JobRequest(
    gateway="g-1",
    cluster_name="c1",
    user="alice",
    cores=2,
    memory=2 * 2**30,
    sandbox="/var/lib/dask/c1",
    worker_names=("w1", "w2"),
    batch_name="dask-alice",
)
X509_OVER = "(JobStatus =?= 1 && time() - (HTCDaskX509Until ?: time()) > 3600)"
TEXT = f"""\
universe = vanilla
executable = /var/lib/dask/c1/start_worker.sh
arguments = $(worker_name) $(ClusterId).$(ProcId)
initialdir = /var/lib/dask/c1
output = worker-$(worker_name).out
error = worker-$(worker_name).err
log = events.log
stream_output = false
stream_error = false
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
transfer_input_files = dask.crt, dask.pem, worker.env
encrypt_input_files = dask.crt, dask.pem, worker.env
transfer_output_files = ""
request_cpus = 2
request_memory = 2048
getenv = false
notification = never
periodic_remove = (JobStatus =?= 5 && time() - EnteredCurrentStatus > 600) || {X509_OVER}
+HTCDaskGateway = "g-1"
+HTCDaskCluster = "c1"
+HTCDaskWorker = "$(worker_name)"
+HTCDaskUser = "alice"
+JobBatchName = "dask-alice"
+isDaskJob = True
queue worker_name from (
w1
w2
)
"""


def with_(**changes: Any) -> SubmitDescription:
    return worker_jobs(replace(REQUEST, **changes))


def test_full_text() -> None:
    assert str(worker_jobs(REQUEST)) == TEXT


def test_optional_commands() -> None:
    more = {"disk": 5 * 2**30, "lease": 120}
    commands = with_(**more, worker_lifetime=86400, held_lifetime=60, idle_lifetime=604800).commands
    assert commands["request_disk"] == str(5 * 2**20)  # KiB
    assert commands["job_lease_duration"] == "120"
    assert commands["periodic_remove"] == (
        "(JobStatus =?= 5 && time() - EnteredCurrentStatus > 60)"
        " || (JobStatus =?= 2 && time() - JobCurrentStartDate > 86400)"
        " || (JobStatus =?= 1 && time() - EnteredCurrentStatus > 604800)"
        f" || {X509_OVER}"
    )


@pytest.mark.parametrize(("size", "mib"), [(1, "1"), (2**20, "1"), (2**20 + 1, "2"), (10**9, "954")])
def test_memory_is_rounded_up(size: int, mib: str) -> None:
    assert with_(memory=size).commands["request_memory"] == mib


def test_site_commands_come_as_they_are() -> None:
    site = {
        "requirements": 'TARGET.isDaskNode =?= True && regexp("^a$", TARGET.Name)',
        "+AccountingGroup": '"group_$(x)"',
        "My.Other": "1",
        "accounting_group": "cms",
        "rank": " KFlops ",
        "concurrency_limits": "dask",
    }
    commands = with_(submit_commands=site).commands
    assert {name: commands[name] for name in site} == {name: value.strip() for name, value in site.items()}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("executable", "/bin/sh"),
        ("Executable", "/bin/sh"),
        ("cmd", "/bin/sh"),
        ("+Cmd", '"/bin/sh"'),
        ("MY.cmd", '"/bin/sh"'),
        ("request_memory", "1"),
        ("RequestMemory", "1"),
        ("+RequestMemory", "1"),
        ("my.requestmemory", "1"),
        ("request_disk", "1"),
        ("+HTCDaskGateway", '"other"'),
        ("MY.htcdaskworker", '"other"'),
        ("+HTCDaskNew", "1"),
        ("arguments", "x"),
        ("args", "x"),
        ("worker_name", "x"),
        ("DOLLAR", "x"),
        ("initial_dir", "/"),
        ("+Iwd", '"/"'),
        ("getenv", "true"),
        ("max_materialize", "1"),
        ("+JobUniverse", "7"),
        ("+Owner", '"root"'),
        ("periodic_remove", "false"),
        ("encrypt_input_files", ""),
    ],
)
def test_site_cannot_override(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        with_(submit_commands={name: value})
    assert str(caught.value) == (
        f"The submit command {name!r} = {value!r} cannot be set: the gateway sets it."
    )


@pytest.mark.parametrize(
    "name",
    [
        "queue",
        "Queue",
        "queue5",
        "include",
        "if",
        "use",
        "",
        "+",
        "a b",
        "a=b",
        "a\nb",
        "a:b",
        "@x",
        "+a.b",
        "é",
        "1a",
    ],
)
def test_no_command_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not the name of a submit command"):
        with_(submit_commands={name: "1"})


@pytest.mark.parametrize(
    "value", ["1\nqueue 5", "1\rqueue", "a\0b", "a\\", "a\\ ", "a\x1fb", "a\u2028b", "a\x85b"]
)
def test_no_command_value(value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        with_(submit_commands={"rank": value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"user": "a\nqueue 5"}, "'a\\nqueue 5'"),
        ({"user": "a\0"}, "control character"),
        ({"user": "\ud800"}, "surrogate"),
        ({"user": "$$(Name)"}, "'$$'"),
        ({"user": "$(Dollar)(x)"}, "replaces twice"),
        ({"cluster_name": "a\tb"}, "The cluster name 'a\\tb' holds a control character, '\\t'."),
        ({"batch_name": "a\r"}, "The batch name"),
        ({"gateway": 'a"b'}, "without quotation marks"),
        ({"gateway": "a\\"}, "backslashes"),
        ({"gateway": ""}, "1 to 128"),
        ({"sandbox": "relative"}, "'relative' is not absolute and normal"),
        ({"sandbox": "/a/../etc"}, "not absolute and normal"),
        ({"sandbox": "/a//b"}, "not absolute and normal"),
        ({"sandbox": "/a/"}, "not absolute and normal"),
        ({"sandbox": "/"}, "not absolute and normal"),
        ({"sandbox": "//a"}, "not absolute and normal"),
        ({"sandbox": "/a\nqueue"}, "control character"),
        ({"sandbox": '/a"b'}, "quotation mark"),
        ({"sandbox": "/a "}, "begins or ends with white space"),
        ({"sandbox": "/a\\"}, "ends with a backslash"),
        ({"sandbox": "/a$$(x)"}, "'$$'"),
        ({"worker_names": ()}, "names no worker"),
        ({"worker_names": ("a", "a")}, "twice"),
        ({"cores": 0}, "cores is '0'"),
        ({"cores": 1.5}, "'1.5'"),
        ({"cores": True}, "'True'"),
        ({"memory": -1}, "memory is '-1'"),
        ({"disk": -1}, "disk is '-1'"),
        ({"held_lifetime": 0}, "held_lifetime"),
        ({"idle_lifetime": -1}, "idle_lifetime"),
        ({"lease": "60 || true"}, "'60 || true'"),
        ({"worker_lifetime": float("nan")}, "'nan'"),
    ],
)
def test_refused_with_the_value_in_one_sentence(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        with_(**changes)
    assert word in str(caught.value)
    assert "\n" not in caught.value.sentence


@pytest.mark.parametrize(
    "name",
    [
        "",
        ")",
        "a b",
        "a\n",
        "a/b",
        "../x",
        "..",
        ".",
        "-x",
        "--help",
        "a$b",
        "a" * 65,
        "é",
        "$(x)",
        "a,b",
        "#a",
    ],
)
def test_no_worker_name(name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        with_(worker_names=("ok", name))
    assert repr(name) in str(caught.value)


def test_long_values_are_shown_short() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        with_(user="a" * 100_000 + "\n")
    assert len(str(caught.value)) < 400


def parse(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Read a submit file as HTCondor does: lines, joined after a backslash, trimmed; then the queue."""
    lines = re.sub(r"\\[ \t]*\n", "", text).split("\n")
    start = next(index for index, line in enumerate(lines) if line.strip().lower().startswith("queue"))
    assert lines[start] == "queue worker_name from ("
    end = lines.index(")", start)
    assert lines[end + 1 :] == [""]
    pairs = [line.partition("=") for line in lines[:start]]
    return [(name.strip(), value.strip()) for name, _, value in pairs], lines[start + 1 : end]


@given(user=HOSTILE, cluster=HOSTILE, batch=HOSTILE, gateway=HOSTILE, path=HOSTILE, worker=HOSTILE)
@settings(max_examples=500, deadline=None)
def test_nobodys_text_adds_anything(
    user: str, cluster: str, batch: str, gateway: str, path: str, worker: str
) -> None:
    for changes in (
        {"user": user}, {"cluster_name": cluster}, {"batch_name": batch or "b"}, {"gateway": gateway},
        {"sandbox": "/" + path}, {"worker_names": ("w1", worker)},
    ):  # fmt: skip
        try:
            description = with_(**changes)
        except InvalidRequestError:
            continue
        request = replace(REQUEST, **changes)
        pairs, names = parse(str(description))
        assert [name for name, _ in pairs] == list(worker_jobs(REQUEST).commands)
        assert tuple(names) == request.worker_names
        read = {name: expand(value, "w1", "12.3") for name, value in pairs}
        assert classad_text(read["+HTCDaskUser"]) == request.user
        assert classad_text(read["+HTCDaskCluster"]) == request.cluster_name
        assert classad_text(read["+HTCDaskGateway"]) == request.gateway
        assert classad_text(read["+JobBatchName"]) == request.batch_name
        assert read["initialdir"] == request.sandbox
        assert read["executable"] == request.sandbox + "/start_worker.sh"
        assert classad_text(read["+HTCDaskWorker"]) == "w1"
        assert read["arguments"] == "w1 12.3"
        # Nothing is left to be replaced but the names of worker and job, and the dollar sign itself.
        for _, value in pairs:
            left = value.replace("$(worker_name)", "").replace("$(DOLLAR)", "")
            assert "$" not in left.replace("$(ClusterId).$(ProcId)", "")


@given(name=HOSTILE, value=HOSTILE)
@settings(max_examples=500, deadline=None)
def test_site_commands_add_one_line_each(name: str, value: str) -> None:
    try:
        description = with_(submit_commands={name: value})
    except ConfigurationError:
        return
    pairs, names = parse(str(description))
    assert len(pairs) == len(worker_jobs(REQUEST).commands) + 1
    assert names == ["w1", "w2"]
    assert pairs[-1] == (name, value.strip())


def test_read_back() -> None:
    for text in ('a"b', "a\\b", '\\"', "", "$(x)", "ends\\"):
        assert classad_text(expand(attribute_value(text, "It"), "w")) == text


@pytest.mark.parametrize(
    "name",
    ["x509userproxy", "X509UserProxy", "use_x509userproxy", "+x509userproxy", "MY.x509UserProxyExpiration"],
)
def test_the_users_credential_is_not_the_sites(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be set"):
        with_(submit_commands={name: "/tmp/x"})
