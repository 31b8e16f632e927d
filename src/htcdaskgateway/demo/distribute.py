"""The analysis on a cluster: one task per chunk of a file, the sum here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from htcdaskgateway.demo import analysis
from htcdaskgateway.demo.by_value import ByValue
from htcdaskgateway.demo.inputs import complain
from htcdaskgateway.demo.spectrum import Spectrum, chunks
from htcdaskgateway.errors import HTCDaskError

Progress = Callable[[int, int], None]
POLL = 0.05


class TaskFailedError(HTCDaskError):
    """A task of the analysis failed on its worker."""

    def __init__(self, what: str, words: str) -> None:
        self.what, self.words = what, words
        super().__init__(
            f"Working on {what} failed.",
            {"the worker says": words},
            "A file must be there under the same path on every execute point; TMPDIR=DIR htcdask demo "
            "puts the generated sample into DIR.",
        )


class AnalysisStalledError(HTCDaskError, TimeoutError):
    """No task has ended for too long."""

    def __init__(self, done: int, total: int, seconds: float) -> None:
        self.done, self.total, self.seconds = done, total, seconds
        super().__init__(f"{done} of {total} tasks are done, and none has ended for {seconds:g} s.")


def count_entries(client: Any, paths: Sequence[Path], stall: float) -> list[int]:
    """Look into files on the workers, as ``inputs.look_into`` does here."""
    entries = [0] * len(paths)
    tasks = [(str(path),) for path in paths]
    for number, (count, problem) in _run(client, analysis.inspect, tasks, stall, lambda done, total: None):
        complain(paths[number], problem)
        entries[number] = count
    return entries


def analyse(
    client: Any, files: Sequence[tuple[Path, int]], chunk: int, stall: float, progress: Progress
) -> Spectrum:
    """Find the dimuon candidates of all files.

    Parameters
    ----------
    client : distributed.Client
    files : sequence of (path, number of events)
    chunk : int
        Events of one task at most.
    stall : float
        Seconds that may pass without any task ending.
    progress : callable
        Called with the number of tasks done and of all.

    Raises
    ------
    TaskFailedError, AnalysisStalledError
    """
    spectrum = Spectrum()
    tasks = chunks([(str(path), entries) for path, entries in files], chunk)
    for _, counts in _run(client, analysis.dimuons, tasks, stall, progress):
        spectrum.add(counts)
    return spectrum


def _run(
    client: Any,
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    stall: float,
    progress: Progress,
) -> Any:
    """Yield number and result of each task as it ends; on the way out the others are cancelled."""
    from distributed import as_completed

    if not tasks:
        return
    futures = client.map(ByValue(function), *zip(*tasks, strict=True), pure=False, key=function.__name__)
    number_of = {future.key: number for number, future in enumerate(futures)}
    ended = as_completed(futures, loop=client.loop)
    done, last = 0, time.monotonic()
    progress(0, len(tasks))
    try:
        while done < len(tasks):
            if not ended.has_ready():
                if time.monotonic() - last > stall:
                    raise AnalysisStalledError(done, len(tasks), stall)
                time.sleep(POLL)
                continue
            for future in ended.next_batch(block=False):
                number = number_of[future.key]
                if future.status != "finished":
                    raise TaskFailedError(str(tasks[number][0]), _words(future))
                done, last = done + 1, time.monotonic()
                yield number, future.result(timeout=stall)
                future.release()
            progress(done, len(tasks))
    finally:
        if done < len(tasks):
            client.cancel(futures)


def _words(future: Any) -> str:
    error = future.exception(timeout=10) if future.status == "error" else None
    return f"{type(error).__name__}: {error}" if error else f"the task is {future.status}"
