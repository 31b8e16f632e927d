"""What is said of a pod that does not run, and when that is final, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from htcdaskgateway.launchers.kubernetes.verdict import (
    TAKEN_AWAY,
    Kind,
    Patience,
    Problem,
    follow,
    has_started,
    last_event,
    problem,
)

PATIENCE = Patience(image=30, place=60, node=90)
PULL = 'rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/a/b:1": not found'
FULL = "0/3 nodes are available: 3 Insufficient cpu."
EVICTED = "The node was low on resource: memory. "


def pod(phase: str = "Pending", state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    containers = [{"name": "scheduler", "state": state}] if state else []
    return {"metadata": {"name": "p"}, "status": {"phase": phase, "containerStatuses": containers, **status}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return pod(state={"waiting": {"reason": reason, **({"message": message} if message else {})}})


def ended(phase: str = "Failed", **how: Any) -> dict[str, Any]:
    return pod(phase, {"terminated": how})


def condition(kind: str, status: str, reason: str, message: str) -> list[dict[str, Any]]:
    return [{"type": "Ready", "status": "False"},
            {"type": kind, "status": status, "reason": reason, "message": message}]  # fmt: skip


def deleting(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "metadata": {"name": "p", "deletionTimestamp": "2026-11-22T19:00:00Z"}}


TAINT = "Taint manager: deleting due to NoExecute taint"
SAYS = "The scheduler's pod "


@pytest.mark.parametrize(
    ("seen", "kind", "sentence"),
    [
        (pod("Running", {"running": {}}), None, ""),
        (pod(), None, ""),
        ({"metadata": {"name": "p"}}, None, ""),
        (waiting("ContainerCreating"), None, ""),
        (waiting("PodInitializing"), None, ""),
        (waiting("SomethingNew", "x"), None, ""),
        (pod(conditions=condition("PodScheduled", "True", "", "")), None, ""),
        (None, Kind.OVER, "has been deleted."),
        (deleting(pod("Running", {"running": {}})), Kind.OVER, "is being deleted."),
        (deleting(pod("Running", conditions=condition("DisruptionTarget", "True", "DeletionByTaintManager",
                                                      TAINT))),
         Kind.OVER, f"is being deleted: DeletionByTaintManager, {TAINT}."),
        (deleting(pod("Running", reason="NodeLost", message="Node n is unresponsive")), Kind.OVER,
         "is being deleted: NodeLost, Node n is unresponsive."),
        (ended(reason="Error", exitCode=1), Kind.OVER, "has ended: Error, exit code 1."),
        (ended(reason="OOMKilled", exitCode=137), Kind.OVER, "has ended: OOMKilled, exit code 137."),
        (ended(exitCode=0, signal=9), Kind.OVER, "has ended: Terminated, signal 9."),
        (ended("Succeeded", reason="Completed", exitCode=0), Kind.OVER,
         "has ended: Completed, exit code 0."),
        (ended("Running", reason="Error", exitCode=2), Kind.OVER, "has ended: Error, exit code 2."),
        (ended(reason="StartError", exitCode=128, message='exec: "dask":\n not found in $PATH'),
         Kind.OVER, 'has ended: StartError, exec: "dask": not found in $PATH, exit code 128.'),
        (ended(reason="Error", exitCode=3, message="\x1b[2J\a\tall \u202ewell\0\n"),  # a pod's own words
         Kind.OVER, r"has ended: Error, \x1b[2J\x07 all \u202ewell\x00, exit code 3."),
        (pod("Failed", reason="Evicted", message=EVICTED), Kind.OVER,
         "has ended: Evicted, The node was low on resource: memory."),
        (pod("Failed", {"terminated": {"reason": "Error", "exitCode": 137}}, reason="Evicted",
             message=EVICTED), Kind.OVER, "has ended: Evicted, The node was low on resource: memory."),
        (pod("Failed", reason="OutOfcpu", message="Pod Node didn't have enough resource: cpu"), Kind.OVER,
         "has ended: OutOfcpu, Pod Node didn't have enough resource: cpu."),
        (waiting("InvalidImageName", 'couldn\'t parse image reference "A:b:c"'), Kind.NEVER,
         'cannot start: InvalidImageName, couldn\'t parse image reference "A:b:c".'),
        (waiting("ErrImageNeverPull", "not present"), Kind.NEVER,
         "cannot start: ErrImageNeverPull, not present."),
        (waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
         Kind.START,
         "cannot start: CreateContainerConfigError, container has runAsNonRoot and image will run as root."),
        (waiting("ErrImagePull", PULL), Kind.IMAGE, f"cannot start: ErrImagePull, {PULL}."),
        (waiting("ImagePullBackOff", "Back-off"), Kind.IMAGE, "cannot start: ImagePullBackOff, Back-off."),
        (waiting("CrashLoopBackOff", "back-off 10s"), Kind.OVER,
         "cannot start: CrashLoopBackOff, back-off 10s."),
        (pod(conditions=condition("PodScheduled", "False", "Unschedulable", FULL)), Kind.PLACE,
         f"finds no node: Unschedulable, {FULL}"),
        (pod(conditions=condition("PodScheduled", "False", "SchedulingGated", "gated")), Kind.OTHER,
         "finds no node: SchedulingGated, gated."),
    ],
)  # fmt: skip
def test_what_is_said(seen: dict[str, Any] | None, kind: Kind | None, sentence: str) -> None:
    found = problem(seen)
    assert (found.kind if found else None) is kind
    assert (str(found) if found else "") == (SAYS + sentence if sentence else "")


@pytest.mark.parametrize(
    ("ready", "containers", "gates", "lost"),
    [
        ("False", "True", False, True),
        ("True", "True", False, False),
        ("False", "False", False, False),
        ("False", "True", True, False),
        ("Unknown", "True", False, False),
    ],
)
def test_a_node_that_does_not_answer(ready: str, containers: str, gates: bool, lost: bool) -> None:
    conditions = [{"type": "Ready", "status": ready}, {"type": "ContainersReady", "status": containers}]
    seen = pod("Running", {"running": {}}, conditions=conditions)
    seen["spec"] = {"nodeName": "n7", **({"readinessGates": [{"conditionType": "x"}]} if gates else {})}
    found = problem(seen)
    assert (found == Problem(Kind.NODE, "is on node n7, which does not answer")) == lost
    assert (found is not None) == lost


def test_containers_that_the_site_adds_may_end() -> None:
    seen = pod("Running", {"running": {}})
    seen["status"]["initContainerStatuses"] = [{"name": "init", "state": {"terminated": {"exitCode": 0}}}]
    seen["status"]["containerStatuses"].append({"name": "more", "state": {"terminated": {"exitCode": 1}}})
    assert problem(seen) is None
    seen["status"]["initContainerStatuses"] = [
        {"name": "i", "state": {"waiting": {"reason": "ErrImagePull"}}}
    ]
    assert problem(seen) == Problem(Kind.IMAGE, "cannot start", "ErrImagePull")


@pytest.mark.parametrize(
    ("kind", "lasted", "final"),
    [
        (Kind.OVER, 0, True),
        (Kind.NEVER, 0, True),
        (Kind.START, 4.9, False),
        (Kind.START, 5, True),
        (Kind.IMAGE, 29.9, False),
        (Kind.IMAGE, 30, True),
        (Kind.PLACE, 59.9, False),
        (Kind.PLACE, 60, True),
        (Kind.NODE, 89.9, False),
        (Kind.NODE, 90, True),
        (Kind.OTHER, 1e9, False),
    ],
)
def test_when_it_is_final(kind: Kind, lasted: float, final: bool) -> None:
    assert PATIENCE.is_over(Problem(kind, ""), lasted) is final


FAILS, BACKS_OFF = (
    Problem(Kind.IMAGE, "x", words) for words in ("ErrImagePull, why", "ImagePullBackOff, wait")
)
NO_ROOM = Problem(Kind.PLACE, "x", "Unschedulable, 3 Insufficient cpu")
LESS_ROOM = Problem(Kind.PLACE, "x", "Unschedulable, 2 Insufficient cpu")


@pytest.mark.parametrize(
    ("before", "now", "after"),
    [
        (None, None, None),
        (None, FAILS, (FAILS, 9)),
        ((FAILS, 1), FAILS, (FAILS, 1)),
        ((FAILS, 1), BACKS_OFF, (FAILS, 1)),
        ((BACKS_OFF, 1), FAILS, (FAILS, 1)),
        ((FAILS, 1), None, None),
        ((NO_ROOM, 1), LESS_ROOM, (LESS_ROOM, 1)),
        ((NO_ROOM, 1), FAILS, (FAILS, 9)),
    ],
)
def test_since_when(
    before: tuple[Problem, float] | None, now: Problem | None, after: tuple[Problem, float] | None
) -> None:
    assert follow(before, now, 9) == after


def event(kind: str, reason: str, message: str, when: str) -> dict[str, Any]:
    """As Kubernetes has it, except for names that are the same."""
    return {
        "type": kind,
        "reason": reason,
        "message": message,
        "firstTimestamp": when,
        "lastTimestamp": "2026-11-22T23:00:00Z",
    }


OLD = event("Warning", "FailedMount", "MountVolume.SetUp failed", "2026-11-22T19:00:00Z")
NEW = event("Normal", "TaintManagerEviction", "Marking for deletion Pod ns/p", "2026-11-22T19:01:00Z")
NORMAL = event("Normal", "Started", "Started container", "2026-11-22T19:02:00Z")
SAME_TIME = event("Normal", "Created", "Created container", "2026-11-22T19:02:00Z")
SAME_TIME["metadata"] = {"name": "p.18ea764ca4d66b4f"}
NO_TIME = {**event("Warning", "FailedScheduling", FULL, ""), "firstTimestamp": None,
           "eventTime": "2026-11-22T19:03:00.000000Z"}  # fmt: skip


@pytest.mark.parametrize(
    ("events", "known", "reasons", "said"),
    [
        ([], "", (), ""),
        ([NORMAL, NEW], "", (), "Started, Started container"),
        ([SAME_TIME, NORMAL], "", (), "Created, Created container"),
        ([OLD], "", (), "FailedMount, MountVolume.SetUp failed"),
        ([NEW, OLD], "", TAKEN_AWAY, "TaintManagerEviction, Marking for deletion Pod ns/p"),
        ([OLD, NORMAL], "", TAKEN_AWAY, ""),
        ([OLD, NO_TIME], "", (), f"FailedScheduling, {FULL[:-1]}"),
        ([OLD, NO_TIME], f"x {FULL}", (), "FailedMount, MountVolume.SetUp failed"),
    ],
)
def test_the_last_event(
    events: list[dict[str, Any]], known: str, reasons: tuple[str, ...], said: str
) -> None:
    assert last_event(events, known, reasons) == said


@pytest.mark.parametrize(
    ("seen", "started"),
    [
        (pod(), False),
        ({"metadata": {"name": "p"}}, False),
        (waiting("ContainerCreating"), False),
        (waiting("InvalidImageName"), False),
        (pod("Running", {"running": {}}), True),
        (ended(exitCode=0), True),
    ],
)
def test_whether_anything_ran(seen: dict[str, Any], started: bool) -> None:
    assert has_started(seen) is started
