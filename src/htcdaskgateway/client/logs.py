"""What workers wrote, as it is shown in a notebook and in a terminal. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.records import WorkerRecord, WorkerState

MOST_LINES = 1_000_000
MOST_NAMED = 10
STREAMS = {
    "out": "standard output",
    "err": "standard error",
    "worker": "its own log, so far",
    "nanny": "log of its nanny, so far",
}
NOTHING = {
    WorkerState.WANTED: "It has no job yet.",
    WorkerState.IDLE: "Its job waits in the queue.",
    WorkerState.STARTING: "Its output comes back when its job ends.",
    WorkerState.RUNNING: "It has logged nothing so far; its output comes back when its job ends.",
    WorkerState.LEAVING: "Its output comes back when its job ends.",
}
NO_OUTPUT = "No output came back from its job."


@dataclass(frozen=True)
class WorkerLog:
    """What there is of one worker.

    Attributes
    ----------
    record : WorkerRecord or None
        State, job and reason; None: the gateway does not list this worker any more.
    streams : dict of str to str
        ``out`` and ``err``: what its job wrote, which HTCondor brings back when the job ends; ``worker``
        and ``nanny``: what a running one has logged so far. Those that are not there are left out.
    note : str
        Why there is less than one might expect, in a sentence.
    """

    name: str
    record: WorkerRecord | None = None
    streams: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def title(self) -> str:
        """The worker's name, state and job, in one line."""
        if self.record is None:
            return self.name
        record = self.record
        job = f"job {record.job_id} of {record.schedd or 'an unknown schedd'}" if record.job_id else ""
        on = f"on {record.host}" if record.host else ""
        return ", ".join(filter(None, (f"{self.name} {record.state}", job, on)))

    @property
    def facts(self) -> list[str]:
        """Why the worker does not run, and why its log is not here."""
        return [line for line in (self.record.reason if self.record else "", self.note) if line]

    def to_json(self) -> dict[str, Any]:
        known = {**self.record.to_json(), "dask_name": self.record.dask_name} if self.record else {}
        return {**known, "name": self.name, "streams": dict(self.streams), "note": self.note}

    def __str__(self) -> str:
        lines = [f"== {self.title}", *(f"   {fact}" for fact in self.facts)]
        for stream, text in self.streams.items():
            if text.strip():
                lines += [f"-- {STREAMS.get(stream, stream)}", text.rstrip("\n")]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        facts = "".join(f"<div>{escape(fact)}</div>" for fact in self.facts)
        texts = "".join(
            f"<div><em>{escape(STREAMS.get(stream, stream))}</em></div>"
            f'<pre style="max-height:30em;overflow:auto">{escape(text)}</pre>'
            for stream, text in self.streams.items()
            if text.strip()
        )
        return f"<details><summary>{escape(self.title)}</summary>{facts}{texts}</details>"

    __repr__ = __str__


class Logs(Mapping[str, WorkerLog]):
    """What there is of a cluster's workers, by their names; shown as text, in a notebook as HTML.

    A worker is found by its name, the beginning of its name, its name in Dask or its job id.

    Attributes
    ----------
    cluster : str
    notes : tuple of str
        Why there is less than one might expect.
    """

    def __init__(self, cluster: str, logs: Sequence[WorkerLog], notes: Sequence[str] = ()) -> None:
        self.cluster, self.notes = cluster, tuple(notes)
        self._logs = {log.name: log for log in logs}

    def __getitem__(self, worker: str) -> WorkerLog:
        if worker in self._logs:
            return self._logs[worker]
        records = [log.record or WorkerRecord(log.name, WorkerState.FINISHED) for log in self._logs.values()]
        try:
            found = find(records, worker, self.cluster)
        except InvalidRequestError as error:
            raise KeyError(worker) from error
        return self._logs[found.name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._logs)

    def __len__(self) -> int:
        return len(self._logs)

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        logs = [log.to_json() for log in self.values()]
        return {"cluster": self.cluster, "notes": list(self.notes), "workers": logs}

    def __str__(self) -> str:
        return "\n".join([*self.notes, *map(str, self.values())]) or self._nothing

    __repr__ = __str__

    def _repr_html_(self) -> str:
        notes = "".join(f"<div>{escape(note)}</div>" for note in self.notes)
        logs = "".join(log._repr_html_() for log in self.values())
        return notes + logs or f"<div>{escape(self._nothing)}</div>"

    @property
    def _nothing(self) -> str:
        return f"Cluster {self.cluster} has had no workers."


def lines_asked(tail: object) -> int | None:
    """Check how many lines are asked for.

    Raises
    ------
    InvalidRequestError
    """
    if tail is None:
        return None
    if isinstance(tail, bool) or not hasattr(tail, "__index__") or tail.__index__() < 1:
        raise InvalidRequestError(f"tail must be a number of lines, at least 1, not {tail!r}.")
    return min(int(tail.__index__()), MOST_LINES)


def find(records: Sequence[WorkerRecord], worker: str, cluster: str) -> WorkerRecord:
    """Find a worker by its name, the beginning of its name, its name in Dask or its job id.

    Raises
    ------
    InvalidRequestError
        There is none, or there are several.
    """
    exact = [one for one in records if worker and worker in (one.name, one.dask_name, one.job_id)]
    found = exact or [one for one in records if worker and one.name.startswith(worker)]
    if len(found) == 1:
        return found[0]
    names = " ".join(one.name for one in (found or records)[-MOST_NAMED:])
    what = f"has {len(found)} workers" if found else "has no worker"
    raise InvalidRequestError(
        f"Cluster {cluster} {what} {worker[:100]!r}.",
        {"such as" if len(found or records) > MOST_NAMED else "there are": names or "none"},
        "cluster.workers() lists names, job ids and states.",
    )


def merge(
    records: Sequence[WorkerRecord],
    written: Mapping[str, Mapping[str, str]],
    logged: Mapping[str, Mapping[str, str]],
    silent: Mapping[str, str],
) -> list[WorkerLog]:
    """Put together what is known of each worker.

    Parameters
    ----------
    records : sequence of WorkerRecord
    written : mapping
        What came back from jobs: text by worker and stream.
    logged : mapping
        What running workers have logged, likewise.
    silent : mapping of str to str
        Why a running worker's log is not here.
    """
    known = {record.name for record in records}
    older = [WorkerLog(name, None, streams) for name, streams in written.items() if name not in known]
    listed = []
    for record in records:
        streams = {**written.get(record.name, {}), **logged.get(record.name, {})}
        note = silent.get(record.name, "")
        if not note and not any(text.strip() for text in streams.values()):
            note = NOTHING.get(record.state, NO_OUTPUT)
        listed.append(WorkerLog(record.name, record, streams, note))
    return older + listed


def end_of(text: str, tail: int | None) -> str:
    """Give the last lines of a text."""
    return text if tail is None else "".join(text.splitlines(keepends=True)[-tail:])
