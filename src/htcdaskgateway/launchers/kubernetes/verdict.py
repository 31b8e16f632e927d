"""What keeps a scheduler's pod from running, in Kubernetes' own words, and whether that is final. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from htcdaskgateway.credentials.words import shown
from htcdaskgateway.launchers.kubernetes.manifests import CONTAINER

Object = Mapping[str, Any]


class Kind(Enum):
    """How much time a problem is given to pass."""

    OVER = "over"  # the pod has ended or is ending
    NEVER = "never"  # what was asked for cannot be made
    START = "start"  # a node may have to try again
    IMAGE = "image"  # registries have bad moments
    PLACE = "place"  # room may come
    NODE = "node"  # it may answer again
    OTHER = "other"  # as long as the start may take


@dataclass(frozen=True)
class Problem:
    """Why a pod does not run.

    Attributes
    ----------
    kind : Kind
    what : str
        In our words, after "The scheduler's pod".
    words : str
        In Kubernetes' words.
    """

    kind: Kind
    what: str
    words: str = ""

    def __str__(self) -> str:
        return f"The scheduler's pod {self.what}{f': {self.words}' if self.words else ''}."


@dataclass(frozen=True)
class Patience:
    """Seconds that a problem may last until it counts as final."""

    image: float
    place: float
    node: float
    start: float = 5.0

    def is_over(self, problem: Problem, lasted: float) -> bool:
        wait = {
            Kind.IMAGE: self.image,
            Kind.PLACE: self.place,
            Kind.NODE: self.node,
            Kind.START: self.start,
            Kind.OTHER: float("inf"),
        }
        return lasted >= wait.get(problem.kind, 0.0)


GONE = Problem(Kind.OVER, "has been deleted")
# Reasons of events that say who has deleted a pod, where it was Kubernetes itself.
TAKEN_AWAY = ("TaintManagerEviction", "Preempted", "Evicted", "NodeControllerEviction", "DeletingAllPods")
# Reasons of a container that waits; others, such as ContainerCreating, are no problems.
WAITING = {
    "InvalidImageName": Kind.NEVER,
    "ErrImageNeverPull": Kind.NEVER,
    "CreateContainerConfigError": Kind.START,
    "ErrImagePull": Kind.IMAGE,
    "ImagePullBackOff": Kind.IMAGE,
    "ImageInspectError": Kind.IMAGE,
    "RegistryUnavailable": Kind.IMAGE,
    "CrashLoopBackOff": Kind.OVER,
    "CreateContainerError": Kind.START,
    "RunContainerError": Kind.START,
}


def problem(pod: Object | None) -> Problem | None:
    """Why this pod does not run as it should; None while all is well, or may become so."""
    if pod is None:
        return GONE
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        return replace(GONE, what="is being deleted", words=_words(status) or _disrupted(status))
    if status.get("phase") in ("Failed", "Succeeded"):
        return Problem(Kind.OVER, "has ended", _words(status) or _ended(status))
    for container in _containers(status):
        ended = container.get("state", {}).get("terminated")
        if ended and container.get("name") == CONTAINER:  # a site's other containers may come and go
            return Problem(Kind.OVER, "has ended", _exit(ended))
        waiting = container.get("state", {}).get("waiting", {})
        if kind := WAITING.get(waiting.get("reason", "")):
            return Problem(kind, "cannot start", _words(waiting))
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        kind = Kind.PLACE if scheduled.get("reason") == "Unschedulable" else Kind.OTHER
        return Problem(kind, "finds no node", _words(scheduled))
    if _is_lost(pod):
        return Problem(Kind.NODE, f"is on node {pod['spec'].get('nodeName')}, which does not answer")
    return None


def _is_lost(pod: Object) -> bool:
    """Whether Kubernetes took its readiness away, and its node does not know.

    It deletes the pod after a while, but not where no node answers, or too many do not.
    """
    status = pod.get("status", {})
    ready, containers = (_condition(status, kind).get("status") for kind in ("Ready", "ContainersReady"))
    gates = pod.get("spec", {}).get("readinessGates")  # a site's, which say no as well
    return ready == "False" and containers == "True" and not gates


def follow(
    before: tuple[Problem, float] | None, now: Problem | None, time: float
) -> tuple[Problem, float] | None:
    """What is wrong and since when, given what was before: the clock runs while the kind is the same.

    Kubernetes says why an image cannot be pulled only at the moment when it tries.
    """
    if now is None or before is None or before[0].kind is not now.kind:
        return None if now is None else (now, time)
    backs_off = now.words.startswith("ImagePullBackOff")
    return (before[0] if backs_off else now), before[1]


def has_started(pod: Object) -> bool:
    """Whether anything ever ran in it, as far as that is known."""
    states = [one.get("state", {}) for one in _containers(pod.get("status", {}))]
    return any("waiting" not in state for state in states)


def last_event(events: Iterable[Object], known: str = "", reasons: Collection[str] = ()) -> str:
    """What Kubernetes said last about a pod that was new.

    Parameters
    ----------
    events : iterable of events
    known : str
        What is said already.
    reasons : collection of str
        Reasons of the events that count; none: all do.
    """
    kept = [
        event
        for event in events
        if (not reasons or event.get("reason") in reasons) and event.get("message", "") not in known
    ]
    return _words(max(kept, key=_when)) if kept else ""


def _when(event: Object) -> tuple[str, str]:
    """When it was said for the first time: what is said again and again is no news."""
    # to the second, and then by names, which end in the time as well
    name = event.get("metadata", {}).get("name", "")
    return event.get("firstTimestamp") or event.get("eventTime") or "", name


def _containers(status: Object) -> list[Object]:
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _ended(status: Object) -> str:
    ended = [
        one["state"]["terminated"] for one in _containers(status) if "terminated" in one.get("state", {})
    ]
    failed = [one for one in ended if one.get("exitCode")]
    return _exit((failed or ended)[0]) if ended else ""


def _exit(ended: Object) -> str:
    how = f"signal {ended['signal']}" if ended.get("signal") else f"exit code {ended.get('exitCode')}"
    return f"{_words(ended) or 'Terminated'}, {how}"


def _condition(status: Object, kind: str) -> Object:
    return next((one for one in status.get("conditions", []) if one.get("type") == kind), {})


def _disrupted(status: Object) -> str:
    found = _condition(status, "DisruptionTarget")
    return _words(found) if found.get("status") == "True" else ""


def _words(of: Object) -> str:
    """Reason and message, as far as there are any, on one line; a pod's own program writes messages, too."""
    said = [str(of[key]) for key in ("reason", "message") if of.get(key)]
    return shown(" ".join(", ".join(said).split())[:1000].rstrip("."), 1000)
