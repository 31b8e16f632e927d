"""The demo's own little facility: a private directory and a gateway in it. It leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import TracebackType

from htcdaskgateway.demo import leftovers, pool
from htcdaskgateway.demo.gateway_config import SCHEDULERS, STATE, new_settings
from htcdaskgateway.demo.gateway_process import GatewayProcess
from htcdaskgateway.demo.signals import signals_held
from htcdaskgateway.errors import HTCDaskError, InvalidRequestError
from htcdaskgateway.launchers.scheduler_process import runs

PREFIX = "htcdask-demo-"
KEPT_FILE = "kept.json"
START_DEADLINE = 60.0
# The gateway stops its clusters and sees the queue empty within 30 s, or gives up by itself.
STOP_GRACE = 60.0


class LeftBehindError(HTCDaskError):
    """Something of the demo could not be cleared away."""

    def __init__(self, what: str, words: str, remedy: str) -> None:
        self.what, self.words = what, words
        super().__init__(f"The demo could not clear away {what}.", {"why": words}, remedy)


class Facility:
    """Context of one demo. Leaving it ends the gateway and all that hangs on it, unless it is kept.

    Parameters
    ----------
    where : Pool
        What the workers run on.
    workers : int
    keep : bool
        Whether the gateway may outlive this process.
    """

    def __init__(self, where: pool.Pool, workers: int, keep: bool) -> None:
        self._where, self._workers, self._keep = where, workers, keep
        self.kept = False

    def __enter__(self) -> Facility:
        with signals_held(deliver=True):
            self.directory = make_directory(self._where)
            try:
                self.settings = new_settings(self.directory, self._where, self._workers, self._keep)
                self.gateway = GatewayProcess(self.settings)
            except HTCDaskError:
                shutil.rmtree(self.directory)
                raise
        return self

    def start(self) -> None:
        with signals_held(deliver=True):
            self.gateway.start()
        self.gateway.wait_ready(START_DEADLINE)

    def keep_running(self) -> None:
        """Let it outlive this process; ``stop_kept`` ends it."""
        kept = {**self.gateway.identity, "pool": self._where.usable}
        file = os.open(self.directory / KEPT_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w") as stream:
            json.dump(kept, stream)
        self.kept = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.kept:
            self.close()

    def close(self) -> None:
        """End the gateway; see to it that no process, job or file is left. Bounded, and not interrupted."""
        with signals_held(deliver=False):
            if not self.directory.exists():
                return
            self.gateway.stop(STOP_GRACE)
            clear_away(self.directory, self._where.usable)


def make_directory(where: pool.Pool) -> Path:
    """A new private directory that the workers see: temporary files, else in the home directory."""
    places = [Path(tempfile.gettempdir()), Path.home()]
    place = next((place for place in places if where.sees(place)), places[0])
    try:
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=place)).resolve()  # mode 0700
    except OSError as error:
        raise InvalidRequestError(
            f"The demo cannot make its directory in {str(place)!r}: {error.strerror}.",
            remedy="Set TMPDIR to a directory that HTCondor's jobs see too.",
        ) from error


def clear_away(directory: Path, in_condor: bool) -> None:
    """What a gateway that ended in order has done already; for one that did not, it is done here.

    Raises
    ------
    LeftBehindError
        After everything else was cleared away.
    """
    for name in (SCHEDULERS, STATE):
        leftovers.end_processes_in(directory / name)
    # In HTCondor or not, the directory's name is the gateway's instance id (see gateway_config).
    problem = pool.remove_jobs(directory.name) if in_condor else ""
    # A shadow may still write the last event of its job into the event log.
    end = time.monotonic() + 10
    shutil.rmtree(directory, ignore_errors=True)
    while directory.exists() and time.monotonic() < end:
        time.sleep(0.2)
        shutil.rmtree(directory, ignore_errors=True)
    if problem:
        remedy = f"Remove them by hand: condor_rm -constraint 'HTCDaskGateway == \"{directory.name}\"'"
        raise LeftBehindError("its HTCondor jobs", problem, remedy)
    if directory.exists():
        raise LeftBehindError(f"its directory {str(directory)!r}", "files in it cannot be removed", "")


def stop_kept(directory: Path) -> bool:
    """End a demo that was kept; only that one's process. False: it had ended before.

    Raises
    ------
    InvalidRequestError
        The directory is not that of a kept demo of this account.
    """
    directory = directory.resolve()
    identity, in_condor = _read_kept(directory)
    with signals_held(deliver=False):
        ran = runs(identity)
        for number, grace in ((signal.SIGTERM, STOP_GRACE), (signal.SIGKILL, 10.0)):
            end = time.monotonic() + grace
            if runs(identity):
                os.kill(identity["pid"], number)
            while runs(identity) and time.monotonic() < end:
                time.sleep(0.1)
        clear_away(directory, in_condor)
    return bool(ran)


def _read_kept(directory: Path) -> tuple[dict[str, int], bool]:
    """The process of a kept demo, and whether it has HTCondor jobs."""
    kept_file = directory / KEPT_FILE
    no_demo = InvalidRequestError(f"There is no kept demo in {str(directory)!r}.")
    try:
        owner = kept_file.stat().st_uid
        kept = json.loads(kept_file.read_text())
        identity = {"pid": int(kept["pid"]), "started": int(kept["started"])}
        in_condor = bool(kept["pool"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise no_demo from error
    if not directory.name.startswith(PREFIX):  # its whole directory is going to be removed
        raise no_demo
    if owner != os.geteuid():
        raise InvalidRequestError(f"The demo in {str(directory)!r} is another account's.")
    return identity, in_condor
