"""Which jobs are asked for, and what their ads say: the same for every way to HTCondor. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from htcdaskgateway.condor.quoting import cluster_name, directory_value, instance_id
from htcdaskgateway.condor.schedd import EndedJob, JobStatus, ObservedJob
from htcdaskgateway.errors import InvalidRequestError

X509_UNTIL = "HTCDaskX509Until"  # when a job's X.509 proxy ends, seconds since the epoch
QUEUE_ATTRIBUTES = (
    "ClusterId", "ProcId", "JobStatus", "EnteredCurrentStatus", "RemoteHost",
    "HoldReasonCode", "HoldReasonSubCode", "HoldReason", "HTCDaskCluster", "HTCDaskUser", "HTCDaskWorker",
    "ExitBySignal", "ExitCode", "ExitSignal", "StageInFinish", "StageOutFinish", X509_UNTIL,
)  # fmt: skip
OUTPUT_ATTRIBUTES = (
    "ClusterId", "ProcId", "JobStatus", "EnteredCurrentStatus", "StageInFinish", "StageOutFinish",
    "SUBMIT_Iwd",
)  # fmt: skip
HISTORY_ATTRIBUTES = (
    "ClusterId", "ProcId", "JobStatus", "ExitBySignal", "ExitCode", "ExitSignal", "RemoveReason",
)  # fmt: skip
# A job may wait in the queue for its owner to fetch the output, 10 days by HTCondor's default.
_HISTORY_SECONDS = 14 * 86400
_SPOOLING = 16  # hold code of a job whose input is on its way to the schedd


def of_gateway(gateway: str, cluster: str = "") -> str:
    """Write the constraint that selects the jobs of one gateway, or of one of its clusters.

    ``=?=`` heeds upper and lower case.
    """
    constraint = f'HTCDaskGateway =?= "{instance_id(gateway)}"'
    return f'{constraint} && HTCDaskCluster =?= "{cluster_name(cluster)}"' if cluster else constraint


def _number(job_id: str) -> tuple[int, int]:
    cluster, _, process = job_id.partition(".")
    # isdecimal alone takes other scripts' digits
    if not (job_id.isascii() and cluster.isdecimal() and process.isdecimal()):
        raise InvalidRequestError(f"{job_id!r} is not a job id such as '1234.0'.")
    return int(cluster), int(process)


def checked_ids(job_ids: Iterable[str]) -> list[str]:
    """Refuse what is no id of one job: a bare number means a whole cluster of jobs to HTCondor."""
    return ["{}.{}".format(*_number(job_id)) for job_id in dict.fromkeys(job_ids)]


def of_ids(job_ids: Iterable[str]) -> str:
    """Write the constraint that selects these jobs; runs of process ids are one term."""
    clusters: dict[int, list[int]] = defaultdict(list)
    for cluster, process in sorted(set(map(_number, job_ids))):
        clusters[cluster].append(process)
    terms = [
        f"(ClusterId == {cluster} && ProcId >= {first} && ProcId <= {last})"
        for cluster, processes in clusters.items()
        for first, last in _runs(processes)
    ]
    return " || ".join(terms) or "false"


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def stop_reading_at(job_ids: Iterable[str]) -> str:
    """Write the expression at which a search through the history, newest first, can end.

    Without it a job that the history lacks would make HTCondor read all of its files.
    """
    oldest = min(_number(job_id)[0] for job_id in job_ids)
    return f"ClusterId < {oldest} && EnteredCurrentStatus < time() - {_HISTORY_SECONDS}"


def _status(number: int) -> JobStatus:
    # A newer HTCondor may have more of them; such a job waits, as far as we can tell.
    return JobStatus(number) if number in list(JobStatus) else JobStatus.IDLE


def observed(ad: Mapping[str, Any]) -> ObservedJob:
    status, code = _status(ad["JobStatus"]), int(ad.get("HoldReasonCode") or 0)
    # Nothing is wrong with it, and it cannot run yet. One whose input never comes is removed by the
    # schedd like any job that is held for long.
    spooling = status is JobStatus.HELD and code == _SPOOLING
    held = status is JobStatus.HELD and not spooling
    exit_code, exit_signal = _exit(ad) if status is JobStatus.COMPLETED else (None, None)
    return ObservedJob(
        job_id=job_id(ad),
        cluster_name=str(ad.get("HTCDaskCluster") or ""),
        worker_name=str(ad.get("HTCDaskWorker") or ""),
        status=JobStatus.IDLE if spooling else status,
        since=float(ad.get("EnteredCurrentStatus") or 0),
        host=str(ad.get("RemoteHost") or ""),
        hold_code=code if held else 0,
        hold_subcode=int(ad.get("HoldReasonSubCode") or 0) if held else 0,
        hold_reason=str(ad.get("HoldReason") or "") if held else "",
        exit_code=exit_code,
        exit_signal=exit_signal,
        fetchable=fetchable(ad),
        x509_until=float(ad.get(X509_UNTIL) or 0),
        user=str(ad.get("HTCDaskUser") or ""),
    )


def job_id(ad: Mapping[str, Any]) -> str:
    return f"{ad['ClusterId']}.{ad['ProcId']}"


def fetchable(ad: Mapping[str, Any]) -> bool:
    """Whether a job was spooled, has completed, and nobody has fetched its output since."""
    return (
        _status(ad["JobStatus"]) is JobStatus.COMPLETED
        and bool(ad.get("StageInFinish"))
        and int(ad.get("StageOutFinish") or 0) < int(ad.get("EnteredCurrentStatus") or 0)
    )


def output_directory(sandbox: str) -> dict[str, str]:
    """Changes of a job after which its output, and its event log, are fetched to this directory."""
    # HTCondor writes the log to SUBMIT_UserLog only if the name in it is that of UserLog.
    return {"SUBMIT_Iwd": directory_value(sandbox), "SUBMIT_UserLog": directory_value(f"{sandbox}/log")}


def ended(ad: Mapping[str, Any]) -> EndedJob:
    status = _status(ad["JobStatus"])
    done = status is JobStatus.COMPLETED  # what the others carry is of an earlier run
    exit_code, exit_signal = _exit(ad) if done else (None, None)
    return EndedJob(
        job_id=job_id(ad),
        status=status,
        exit_code=exit_code,
        exit_signal=exit_signal,
        removed_because="" if done else str(ad.get("RemoveReason") or ""),
    )


def _exit(ad: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Exit code or signal of a job that has completed."""
    code, signal = ad.get("ExitCode"), ad.get("ExitSignal")
    if ad.get("ExitBySignal") is True:
        return None, int(signal) if signal is not None else None
    return int(code) if code is not None else None, None
