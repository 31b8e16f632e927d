"""Orders, carried out: an answer to each, whatever it says and whatever happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles import FakeSchedd

from htcdaskgateway.client import session_place
from htcdaskgateway.client.carry_out import carry_out
from htcdaskgateway.client.session_credentials import NoCredentialError
from htcdaskgateway.client.session_place import SessionPlace
from htcdaskgateway.client.session_sandbox import SessionSandbox
from htcdaskgateway.condor import wire
from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.jobs import JobRequest, worker_jobs
from htcdaskgateway.condor.quoting import expand
from htcdaskgateway.condor.schedd import Schedd, SubmitDescription
from htcdaskgateway.credentials.errors import CredentialMissingError
from htcdaskgateway.errors import ScheddUnavailableError
from htcdaskgateway.server.reasons import in_one_line

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


class DoublePlace(SessionPlace):
    """A real sandbox before a schedd in memory."""

    def __init__(self, path: Path, credentials: session_place.Credentials | None = None) -> None:
        super().__init__(Access("processes"), SessionSandbox(path, "c1"), {"dask.pem": "key"}, credentials)
        self.fake = FakeSchedd()
        self.asked: list[str] = []

    async def schedd(self, name: str) -> Schedd:
        self.asked.append(name)
        return self.fake


@pytest.fixture
def place(tmp_path: Path) -> DoublePlace:
    return DoublePlace(tmp_path / "c1")


class Seeking(FakeSchedd):
    def __init__(self) -> None:
        super().__init__()
        self.settled: list[tuple[str, Sequence[str]]] = []

    async def settle(self, gateway: str, lost: Sequence[str]) -> None:
        self.settled.append((gateway, lost))


@pytest.mark.parametrize("seek", [True, False, None])
async def test_lost_jobs_are_sought_where_the_gateway_says_so(place: DoublePlace, seek: object) -> None:
    place.fake = schedd = Seeking()
    order = {"id": "1", "op": "query", "gateway": "g", "cluster": "c1", "seek": seek}
    assert (await carry_out(order, place))["ok"] == []
    assert schedd.settled == ([("g", ["c1"])] if seek else [])


def description(**changes: Any) -> dict[str, Any]:
    made = worker_jobs(
        JobRequest(
            gateway="g", cluster_name="c1", user="alice", cores=1, memory=2**30, sandbox="/placeholder",
            worker_names=("w1", "w2"),
        )
    )  # fmt: skip
    return {**wire.description_to_json(made), "files": {"worker.env": "E=1\n"}, **changes}


def order(op: object, **arguments: Any) -> dict[str, Any]:
    """As it comes over the wire."""
    made: dict[str, Any] = json.loads(json.dumps({"id": "o1", "op": op, "schedd": "s@h", **arguments}))
    return made


def error(answer: Mapping[str, Any]) -> dict[str, Any]:
    assert set(answer) == {"order", "schedd", "error"}
    told: dict[str, Any] = answer["error"]
    return told


async def test_each_call(place: DoublePlace) -> None:
    submitted = await carry_out(order("submit", description=description()), place)
    assert submitted == {"order": "o1", "schedd": "fake@", "ok": ["1.0", "1.1"]}
    found = await carry_out(order("query", gateway="g", cluster="c1"), place)
    assert [job["worker_name"] for job in found["ok"]] == ["w1", "w2"]
    other = await carry_out(order("query", gateway="g", cluster="c2"), place)
    assert other["ok"] == []
    acted = await carry_out(order("act", action="remove", job_ids=["1.0", "9.9"]), place)
    assert acted["ok"] == 1
    ended = await carry_out(order("ended", job_ids=["1.0"]), place)
    assert [job["job_id"] for job in ended["ok"]] == ["1.0"]
    fetched = await carry_out(order("fetch", job_ids=["1.1"]), place)
    assert fetched["ok"] == []
    assert set(place.asked) == {"s@h"}


async def test_a_submit_is_made_the_sessions_own(place: DoublePlace) -> None:
    await carry_out(order("submit", description=description(spool=True)), place)
    (submitted,) = place.fake.submits
    path = place.sandbox.path
    assert submitted.commands["executable"] == f"{path}/start_worker.sh"
    assert submitted.commands["initialdir"] == str(path)
    assert "/placeholder" not in str(submitted)
    assert submitted.spool
    assert (path / "workers.sub").read_text() == str(submitted)
    assert (path / "worker.env").read_text() == "E=1\n"
    assert (path / "dask.pem").read_text() == "key"


async def test_a_path_that_needs_quoting(tmp_path: Path) -> None:
    place = DoublePlace(tmp_path / "a $(x), b" / "c1")
    await carry_out(order("submit", description=description()), place)
    (submitted,) = place.fake.submits
    assert expand(submitted.commands["initialdir"], "") == str(place.sandbox.path)


async def test_a_gateway_does_not_write_over_the_clusters_own_key(place: DoublePlace) -> None:
    files = {"dask.pem": "another", "start_worker.sh": "#!/bin/sh\n"}
    await carry_out(order("submit", description=description(files=files)), place)
    assert (place.sandbox.path / "dask.pem").read_text() == "key"
    assert (place.sandbox.path / "start_worker.sh").read_text() == "#!/bin/sh\n"


async def test_credentials_come_after_the_directory_and_before_the_submit(tmp_path: Path) -> None:
    def credentials(path: Path, commands: Mapping[str, str]) -> dict[str, str]:
        assert (path / "dask.pem").exists()
        assert commands["initialdir"] == str(path)
        return {**commands, "x509userproxy": f"{path}/x509.pem"}

    place = DoublePlace(tmp_path / "c1", credentials)
    await carry_out(order("submit", description=description()), place)
    assert place.fake.submits[0].commands["x509userproxy"] == f"{tmp_path}/c1/x509.pem"
    assert "x509userproxy" in (tmp_path / "c1" / "workers.sub").read_text()


async def test_workers_wait_for_a_credential(tmp_path: Path) -> None:
    def credentials(path: Path, commands: Mapping[str, str]) -> dict[str, str]:
        raise NoCredentialError(CredentialMissingError("X.509 proxy", ("/tmp/x509up_u1",), "", "make-one"))

    place = DoublePlace(tmp_path / "c1", credentials)
    told = error(await carry_out(order("submit", description=description()), place))
    assert told["kind"] == "unavailable"
    made = wire.error_from_json(told, "the submit")
    assert isinstance(made, ScheddUnavailableError)
    assert in_one_line(made) == "There is no X.509 proxy at /tmp/x509up_u1. Make a new one: make-one"
    assert place.fake.submits == []


async def test_a_file_system_that_hangs(place: DoublePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(*_: object) -> None:
        raise asyncio.TimeoutError

    monkeypatch.setattr(session_place, "in_thread", hangs)
    told = error(await carry_out(order("submit", description=description()), place))
    assert told["sentence"] == f"The sandbox {place.sandbox.path} cannot be written."
    assert "did not answer in 20 s" in told["words"]
    assert told["kind"] == "unavailable"  # it may be mended: workers wait


async def test_logs(place: DoublePlace) -> None:
    place.sandbox.prepare({"worker-w1.out": "1\n2\n3\n", "worker-w2.err": "x"})
    one = await carry_out(order("log", worker="w1", tail=2), place)
    assert one["ok"] == {"w1": {"out": "2\n3\n"}}
    every = await carry_out(order("log", worker="", tail=None), place)
    assert every["ok"] == {"w1": {"out": "1\n2\n3\n"}, "w2": {"err": "x"}}
    assert place.asked == []  # no schedd is needed for them
    told = error(await carry_out(order("log", worker="../../etc/passwd", tail=None), place))
    assert "is not the name of a worker" in told["sentence"]
    for tail in (-1, "1", 1.5, True):
        assert error(await carry_out(order("log", worker="w1", tail=tail), place))["kind"] == "unavailable"


@pytest.mark.parametrize("op", ["explode", "", None, 1, "Submit", "close", "__class__", ["submit"], {"a": 1}])
async def test_an_order_that_it_does_not_know(place: DoublePlace, op: object) -> None:
    told = error(await carry_out(order(op), place))
    assert told["kind"] == "unavailable"
    assert "knows no order" in told["sentence"]


@pytest.mark.parametrize(
    "bad",
    [
        order("submit"), order("submit", description="x"), order("submit", description={}),
        order("submit", description=description(files=["x"])),
        order("submit", description=description(files={"../x": ""})),
        order("submit", description=description(commands={"a": 1})),
        order("submit", description=description(worker_names="w1")),
    ],
)  # fmt: skip
async def test_a_submit_that_cannot_be_read_is_refused(place: DoublePlace, bad: dict[str, Any]) -> None:
    assert error(await carry_out(bad, place))["kind"] == "refused"
    assert place.fake.submits == []


@pytest.mark.parametrize(
    "bad",
    [
        order("query"), order("query", gateway=1, cluster="c1"), order("act", action="remove"),
        order("act", action="explode", job_ids=["1.0"]), order("act", action=["remove"], job_ids=["1.0"]),
        order("act", action="remove", job_ids=["1"]), order("act", action="remove", job_ids="1.0"),
        order("ended", job_ids=[1]), order("fetch", job_ids=None), order("query", schedd=["s"]),
    ],
)  # fmt: skip
async def test_any_other_is_not_done(place: DoublePlace, bad: dict[str, Any]) -> None:
    assert error(await carry_out(bad, place))["kind"] == "unavailable"
    assert place.fake.acts == []


@given(
    st.sampled_from(["submit", "query", "act", "ended", "fetch", "log"]),
    st.dictionaries(
        st.sampled_from(
            ["description", "gateway", "cluster", "action", "job_ids", "worker", "tail", "schedd"]
        ),
        anything | st.fixed_dictionaries({"commands": anything, "worker_names": anything, "files": anything}),
    ),
)
async def test_anything_is_answered(op: str, arguments: dict[str, Any]) -> None:
    place = DoublePlace(Path("/proc/self/nowhere/c1"))
    answer = await carry_out({"id": "o1", "op": op, **arguments}, place)
    assert answer["order"] == "o1"
    assert ("ok" in answer) != ("error" in answer)
    json.dumps(answer)


async def test_what_nobody_foresaw_is_silence(place: DoublePlace) -> None:
    """It may have acted."""

    async def submit(description: SubmitDescription) -> list[str]:
        raise ZeroDivisionError("a bug")

    place.fake.submit = submit  # type: ignore[method-assign]  # a fault
    answer = await carry_out(order("submit", description=description()), place)
    assert error(answer)["kind"] == "silent"
    assert "ZeroDivisionError: a bug" in error(answer)["words"]
    assert answer["schedd"] == "fake@"


async def test_no_schedd_to_choose(place: DoublePlace) -> None:
    async def schedd(name: str) -> Schedd:
        raise ScheddUnavailableError("", "all of them are busy")

    place.schedd = schedd  # type: ignore[method-assign]  # a fault
    answer = await carry_out(order("query", gateway="g", cluster="c1"), place)
    assert (error(answer)["kind"], answer["schedd"]) == ("unavailable", "")


async def test_a_cancellation_is_let_out(place: DoublePlace) -> None:
    async def submit(description: SubmitDescription) -> list[str]:
        await asyncio.sleep(99)
        return []

    place.fake.submit = submit  # type: ignore[method-assign]  # a fault
    task = asyncio.ensure_future(carry_out(order("submit", description=description()), place))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_secrets_are_not_shown(place: DoublePlace) -> None:
    secret = DoublePlace(place.sandbox.path)
    answer = await carry_out(
        order("submit", description=description(files={"worker.env": "TOKEN=hush"})), secret
    )
    assert "hush" not in str(answer) + str(secret.fake.submits) + repr(secret)
