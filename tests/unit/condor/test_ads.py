"""Constraints, and job ads that are read."""

from __future__ import annotations

import pytest

from htcdaskgateway.condor import ads
from htcdaskgateway.condor.schedd import EndedJob, JobStatus, ObservedJob
from htcdaskgateway.errors import InvalidRequestError


def test_of_gateway() -> None:
    assert ads.of_gateway("g-1") == 'HTCDaskGateway =?= "g-1"'


@pytest.mark.parametrize("gateway", ['" || true || "', "a\\", "", "a\n", "a" * 129])
def test_no_instance_id(gateway: str) -> None:
    with pytest.raises(InvalidRequestError, match="instance id"):
        ads.of_gateway(gateway)


def test_of_ids_names_runs() -> None:
    assert ads.of_ids(["7.2", "5.0", "7.0", "7.1", "5.9", "7.2"]) == (
        "(ClusterId == 5 && ProcId >= 0 && ProcId <= 0)"
        " || (ClusterId == 5 && ProcId >= 9 && ProcId <= 9)"
        " || (ClusterId == 7 && ProcId >= 0 && ProcId <= 2)"
    )
    assert ads.of_ids([]) == "false"


def test_constraint_of_many_jobs_is_an_argument_of_a_program() -> None:
    ids = [f"1234567.{2 * index}" for index in range(1000)]  # no runs at all
    assert len(ads.of_ids(ids)) < 128 * 1024


@pytest.mark.parametrize(
    "bad", ["", "1", "1.", ".1", "1.0.0", "a.b", "1.0 ", " 1.0", "-1.0", "1.0||true", "²3.1"]
)
def test_no_job_id(bad: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not a job id"):
        ads.checked_ids(["1.0", bad])


def test_ids_come_once_each_in_their_order() -> None:
    assert ads.checked_ids(["2.0", "1.0", "2.0"]) == ["2.0", "1.0"]


def test_observed() -> None:
    ad = {
        "ClusterId": 5, "ProcId": 3, "JobStatus": 5, "EnteredCurrentStatus": 1700000000, "HoldReasonCode": 13,
        "HoldReasonSubCode": 2, "HoldReason": "Transfer input files failure", "HTCDaskCluster": "c1",
        "HTCDaskWorker": "w1", "ServerTime": 1,
    }  # fmt: skip
    assert ads.observed(ad) == ObservedJob(
        "5.3", "c1", "w1", JobStatus.HELD, 1700000000.0, "", 13, 2, "Transfer input files failure"
    )
    bare = ads.observed({"ClusterId": 5, "ProcId": 3, "JobStatus": 1})
    assert bare == ObservedJob("5.3", "", "", JobStatus.IDLE)
    assert (
        ads.observed({"ClusterId": 5, "ProcId": 3, "JobStatus": 9}).status is JobStatus.IDLE
    )  # of a newer HTCondor


@pytest.mark.parametrize(
    ("ad", "ended"),
    [
        ({"JobStatus": 4, "ExitBySignal": False, "ExitCode": 66}, EndedJob("5.3", JobStatus.COMPLETED, 66)),
        (
            {"JobStatus": 4, "ExitBySignal": True, "ExitSignal": 9, "ExitCode": 0},
            EndedJob("5.3", JobStatus.COMPLETED, None, 9),
        ),
        ({"JobStatus": 4}, EndedJob("5.3", JobStatus.COMPLETED)),
        (
            # removed after an earlier run of it had ended
            {
                "JobStatus": 3,
                "ExitBySignal": False,
                "ExitCode": 0,
                "RemoveReason": "via condor_rm (by user a)",
            },
            EndedJob("5.3", JobStatus.REMOVED, removed_because="via condor_rm (by user a)"),
        ),
    ],
)
def test_ended(ad: dict[str, object], ended: EndedJob) -> None:
    assert ads.ended({"ClusterId": 5, "ProcId": 3, **ad}) == ended


def test_of_one_cluster() -> None:
    assert ads.of_gateway("g-1", "c 1") == 'HTCDaskGateway =?= "g-1" && HTCDaskCluster =?= "c 1"'
    for cluster in ('" || true || "', "a\\", "a\n"):
        with pytest.raises(InvalidRequestError, match="cluster name"):
            ads.of_gateway("g-1", cluster)


SPOOLED = {"ClusterId": 7, "ProcId": 1, "StageInFinish": 50, "EnteredCurrentStatus": 100}


def test_job_whose_input_is_on_its_way_is_not_held() -> None:
    held = {"JobStatus": 5, "HoldReasonCode": 16, "HoldReason": "Spooling input data files"}
    assert ads.observed({**SPOOLED, **held}) == ObservedJob("7.1", "", "", JobStatus.IDLE, since=100)


@pytest.mark.parametrize(
    ("ad", "fetchable"),
    [
        ({"JobStatus": 4}, True),
        ({"JobStatus": 4, "StageOutFinish": 99}, True),  # it has run again since
        ({"JobStatus": 4, "StageOutFinish": 100}, False),
        ({"JobStatus": 4, "StageInFinish": 0}, False),  # not spooled
        ({"JobStatus": 2}, False),
        ({"JobStatus": 3}, False),
    ],
)
def test_output_that_waits(ad: dict[str, int], fetchable: bool) -> None:
    assert ads.observed({**SPOOLED, **ad}).fetchable is fetchable


def test_how_a_job_ended_that_is_still_in_the_queue() -> None:
    done = {**SPOOLED, "JobStatus": 4, "ExitBySignal": False, "ExitCode": 66}
    assert (ads.observed(done).exit_code, ads.observed(done).exit_signal) == (66, None)
    killed = {**SPOOLED, "JobStatus": 4, "ExitBySignal": True, "ExitSignal": 9}
    assert (ads.observed(killed).exit_code, ads.observed(killed).exit_signal) == (None, 9)
    again = {**done, "JobStatus": 1}  # of an earlier run
    assert ads.observed(again).exit_code is None


@pytest.mark.parametrize("directory", ['/a"b', "/a\nb", "/a\\"])
def test_directory_of_output(directory: str) -> None:
    with pytest.raises(InvalidRequestError, match="directory"):
        ads.output_directory(directory)
