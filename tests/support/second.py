"""A second schedd in the pool, and schedds that want no more jobs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.pool import Pool
from tests.support.waiting import eventually

from htcdaskgateway.sandbox import SECRETS

FIRST, SECOND = "access-point@", "second@"
CONFIG = """
SECOND = $(SCHEDD)
SECOND_ARGS = -local-name second
DAEMON_LIST = $(DAEMON_LIST) SECOND
DC_DAEMON_LIST = + SECOND
SECOND.SCHEDD_NAME = second@
SECOND.SPOOL = {spool}
SECOND.HISTORY = {spool}/history
SECOND.JOB_QUEUE_LOG = {spool}/job_queue.log
SECOND.SCHEDD_LOG = $(LOG)/SecondLog
SECOND.SCHEDD_ADDRESS_FILE = {spool}/address
SECOND.SCHEDD_SUPER_ADDRESS_FILE = {spool}/super_address
SECOND.SCHEDD_DAEMON_AD_FILE = {spool}/ad
SECOND.SiteOpen = True
SECOND.SCHEDD_ATTRS = $(SCHEDD_ATTRS) SiteOpen
SECOND.MAX_JOBS_RUNNING = 7
"""
CURBED = """
CURB_MATCHMAKING = {first}
SECOND.CURB_MATCHMAKING = {second}
"""


class Schedds:
    """Both schedds of the pool.

    Attributes
    ----------
    spool : Path
        The second one's.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.spool = pool.home / "local" / "spool.second"
        self._curbed = pool.home / "config.d" / "93-curbed"

    def curb(self, *names: str) -> None:
        """Let these, and no others, say that they want no more matches; wait until the pool knows."""
        wanted = {name: name in names for name in (FIRST, SECOND)}
        self._write(self._curbed, CURBED.format(first=wanted[FIRST], second=wanted[SECOND]))
        self.pool.command("condor_reconfig")
        eventually(f"curbed: {names}", lambda: self._seen() == wanted, 30)

    def free(self) -> None:
        if self._curbed.exists():
            self._curbed.unlink()
            self.pool.command("condor_reconfig")

    def clear(self) -> None:
        """Let no job of a test that failed be left on the second one."""
        if self.jobs(SECOND, "true"):
            for force in ((), ("-forcex",)):
                with suppress(RuntimeError):  # none is left by now; what does not work is seen below
                    self.pool.command("condor_rm", "-name", SECOND, *force, "-constraint", "true")
            eventually(f"no job on {SECOND}", lambda: not self.jobs(SECOND, "true"), 20)

    def jobs(self, schedd: str, constraint: str) -> list[dict[str, Any]]:
        """Job ads in the queue of one of them."""
        found = self.pool.command(
            "condor_q", "-name", schedd, "-allusers", "-json", "-constraint", constraint
        )
        return list(json.loads(found)) if found.strip() else []

    def secrets(self) -> list[Path]:
        """Files of secrets of jobs in the spool of the second one."""
        return [path for path in self.spool.rglob("*") if path.name in SECRETS]

    @contextmanager
    def running(self) -> Iterator[None]:
        self.spool.mkdir(exist_ok=True)
        self.spool.chmod(0o755)
        shutil.chown(self.spool, "condor")
        file = self.pool.home / "config.d" / "91-second"
        self._write(file, CONFIG.format(spool=self.spool))
        self.pool.command("condor_reconfig", "-daemon", "master")
        eventually("two schedds", lambda: len(self._seen()) == 2, 30)
        try:
            yield
        finally:
            self._curbed.unlink(missing_ok=True)
            file.unlink()
            self.pool.command("condor_reconfig", "-daemon", "master")
            eventually(f"{SECOND} ended", lambda: not (self.spool / "address").exists(), 60)
            eventually(f"no ad of {SECOND}", self._forgotten, 30)
            shutil.rmtree(self.spool)

    def _forgotten(self) -> bool:
        """An update that was on its way when the schedd took its ad back brings it back for 15 minutes."""
        if SECOND not in self._seen():
            return True
        query = self.spool / "invalidation"
        query.write_text(f'MyType = "Query"\nTargetType = "Scheduler"\nRequirements = Name == "{SECOND}"\n')
        self.pool.command("condor_advertise", "INVALIDATE_SCHEDD_ADS", str(query))
        return False

    def _seen(self) -> dict[str, bool]:
        told = self.pool.command("condor_status", "-schedd", "-af", "Name", "CurbMatchmaking")
        rows = (line.split() for line in told.splitlines())
        return {name: curbed == "true" for name, curbed in rows}

    @staticmethod
    def _write(file: Path, text: str) -> None:
        file.write_text(text)
        file.chmod(0o644)
