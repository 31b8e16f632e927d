"""Calls and answers as JSON: what goes over comes back the same, and nothing else gets through."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcdaskgateway.condor import wire
from htcdaskgateway.condor.errors import IdentityRefusedError, NoScheddError, OutputError
from htcdaskgateway.condor.schedd import EndedJob, JobStatus, ObservedJob, SubmitDescription
from htcdaskgateway.errors import (
    ActionRefusedError,
    CondorError,
    HTCDaskError,
    SandboxError,
    ScheddSilentError,
    ScheddUnavailableError,
    SubmitRefusedError,
)

WHAT = "a query"
line = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=50)
ids = st.builds("{}.{}".format, st.integers(0, 2**31), st.integers(0, 2**31))
codes = st.none() | st.integers(-(2**31), 2**31)
observed = st.builds(
    ObservedJob, ids, line, line, st.sampled_from(JobStatus), st.floats(0, 2**40), line,
    st.integers(0, 2**31), st.integers(0, 2**31), line, codes, codes, st.booleans(),
)  # fmt: skip
ended = st.builds(EndedJob, ids, st.sampled_from(JobStatus), codes, codes, line)
# NaN and halves of characters are in it: JSON's readers let both through.
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
JOB = {
    "job_id": "1.0", "cluster_name": "c1", "worker_name": "w1", "status": 2, "since": 5, "host": "h",
    "hold_code": 0, "hold_subcode": 0, "hold_reason": "", "exit_code": None, "exit_signal": None,
    "fetchable": False,
}  # fmt: skip


def over(data: Any) -> Any:
    """As the other side gets it."""
    return json.loads(json.dumps(data))


@given(st.lists(observed, max_size=5))
def test_observed_jobs_arrive_as_they_were(jobs: list[ObservedJob]) -> None:
    assert wire.observed_from_json(over(wire.jobs_to_json(jobs))) == jobs


@given(st.lists(ended, max_size=5))
def test_ended_jobs_arrive_as_they_were(jobs: list[EndedJob]) -> None:
    assert wire.ended_from_json(over(wire.jobs_to_json(jobs))) == jobs


texts = st.dictionaries(st.text(max_size=9), st.text(), max_size=4)


@given(texts, st.lists(st.text(max_size=9)), st.booleans(), texts)
def test_a_description_arrives_as_it_was(
    commands: dict[str, str], names: list[str], spool: bool, files: dict[str, str]
) -> None:
    description = SubmitDescription(commands, tuple(names), spool, files)
    assert wire.description_from_json(over(wire.description_to_json(description))) == description


def test_a_description_of_a_newer_gateway_and_of_an_older_one() -> None:
    older = {"commands": {"a": "b"}, "worker_names": ["w"]}
    assert wire.description_from_json(older) == SubmitDescription({"a": "b"}, ("w",))
    newer = {**older, "speed": "of light", "files": {"worker.env": "x"}}
    assert wire.description_from_json(newer) == SubmitDescription(
        {"a": "b"}, ("w",), files={"worker.env": "x"}
    )


READERS = [
    wire.observed_from_json,
    wire.ended_from_json,
    wire.ids_from_json,
    lambda data: wire.ids_from_json(data, 2),
    wire.whole_number,
    wire.text,
    wire.line,
    wire.description_from_json,
    lambda data: wire.error_from_json(data, WHAT),
]


@pytest.mark.parametrize("read", READERS)
@given(anything)
def test_anything_is_read_or_refused(read: Any, data: object) -> None:
    try:
        read(data)
    except wire.NotAnAnswerError:
        pass
    else:
        assert read(data) is not None


@given(st.sampled_from(sorted(JOB)), anything)
def test_a_job_with_anything_in_it_is_read_or_refused(name: str, value: object) -> None:
    for read in (wire.observed_from_json, wire.ended_from_json):
        try:
            (job,) = read([{**JOB, name: value}])
        except wire.NotAnAnswerError:
            continue
        for held in vars(job).values():
            assert isinstance(held, (str, bool, int, float, type(None)))
            if isinstance(held, str):
                held.encode()
                assert not set(held) & {"\n", "\x1b", "\x00"}
            elif held is not None:
                assert math.isfinite(held)


@given(
    st.sampled_from(["refused", "unavailable", "silent", "action-refused", "output", "no such"]),
    st.sampled_from(["schedd", "words", "seconds", "action", "job_ids", "sentence", "facts", "remedy"]),
    anything,
)
def test_an_error_with_anything_in_it_is_made_or_refused(kind: str, name: str, value: object) -> None:
    try:
        error = wire.error_from_json({"kind": kind, "sentence": "s", name: value}, WHAT)
    except wire.NotAnAnswerError:
        return
    assert str(error).encode()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", 9), ("status", True), ("status", 2.0), ("status", "2"), ("status", [2]),
        ("since", math.nan), ("since", math.inf), ("since", -1), ("since", 10**400), ("since", "5"),
        ("since", True), ("hold_code", 2**60), ("hold_code", None), ("exit_code", "0"), ("exit_code", True),
        ("fetchable", 1), ("job_id", "1"), ("job_id", "1.0 || true"), ("job_id", "1." + "0" * 5000),
        ("job_id", 1.0), ("host", None), ("worker_name", ["w1"]),
    ],
)  # fmt: skip
def test_no_job(name: str, value: object) -> None:
    with pytest.raises(wire.NotAnAnswerError):
        wire.observed_from_json([{**JOB, name: value}])


def test_job_ids_have_one_spelling() -> None:
    assert wire.observed_from_json([{**JOB, "job_id": "01.00"}])[0].job_id == "1.0"
    assert wire.ids_from_json(["01.0", "2.1"], 2) == ["1.0", "2.1"]
    with pytest.raises(wire.NotAnAnswerError, match="1 job ids for 2 jobs"):
        wire.ids_from_json(["01.0", "1.0"], 2)
    with pytest.raises(wire.NotAnAnswerError, match="2 job ids for 3 jobs"):
        wire.ids_from_json(["1.0", "1.1"], 3)


def test_text_for_people() -> None:
    assert wire.text("a\x1b[2J\x00b\r\n\tc\u202e\ud800") == "a\ufffd[2J\ufffdb\ufffd\n\tc\ufffd\ufffd"
    assert wire.line("a\n\tb") == "a  b"
    assert wire.text("x" * 9999) == "x" * wire.LONGEST_TEXT


ERRORS: list[CondorError] = [
    SubmitRefusedError("s@h", "No such file\nin a directory"),
    ScheddUnavailableError("", "Failed to connect"),
    ScheddSilentError("s@h", WHAT, 30, "nothing"),
    ActionRefusedError("s@h", "remove", "Permission denied"),
    OutputError("s@h", ("1.0", "1.1"), "no space"),
    IdentityRefusedError("s@h", "AUTHENTICATE:1003", "/t/token"),
    NoScheddError({"a@h": "it is busy", "b@h": "it asks for no more"}),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_keep_their_words(error: CondorError) -> None:
    made = wire.error_from_json(over(wire.error_to_json(error)), WHAT)
    assert isinstance(error, type(made))
    assert str(made) == str(error)
    for name in ("schedd", "words", "action", "seconds", "job_ids"):
        if name in vars(made):
            assert getattr(made, name) == getattr(error, name)


def test_an_error_of_the_session_itself_says_so() -> None:
    error = SandboxError("/scratch/c1", "No space left on device")
    made = wire.error_from_json(over(wire.error_to_json(error, submit=True)), WHAT)
    assert type(made) is SubmitRefusedError
    assert str(made) == str(error)
    assert made.words == "the system says: No space left on device"
    made = wire.error_from_json(over(wire.error_to_json(error)), WHAT)
    assert type(made) is ScheddUnavailableError
    assert str(made) == str(error)


def test_what_mends_it_is_among_the_words() -> None:
    error = HTCDaskError("The X.509 proxy has expired.", {"path": "/tmp/x"}, "Make one: voms-proxy-init")
    assert wire.error_to_json(error)["words"] == "path: /tmp/x; Make one: voms-proxy-init"


def test_an_error_is_bounded() -> None:
    facts = {f"f{index}": "x\n" * 9999 for index in range(999)}
    told = {"kind": "refused", "sentence": "s\n" * 9999, "facts": facts, "remedy": "r\x1b" * 9999}
    error = wire.error_from_json(told, WHAT)
    assert len(error.sentence) == len(error.remedy) == wire.LONGEST_LINE
    assert "\n" not in error.sentence
    assert "\x1b" not in str(error)
    assert len(error.facts) == wire.MOST_FACTS
    assert len(str(error)) < 600_000
