"""The HTCondor pool of ``tests/pool``, up while the tests run."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import processes, several
from tests.support.ports import free_port
from tests.support.waiting import eventually

RECIPE = Path(__file__).parents[1] / "pool" / "pool"
DEFAULT_HOME = "/var/tmp/htcdask-pool"  # root's
BUILD_DEADLINE = 1200.0  # seconds; a pool whose parts are built is up in less than 10


def own_settings() -> dict[str, str]:
    """Where tests run in several processes, all but one of them have a pool beside the one that is meant.

    So nobody's schedd is killed by somebody else's test.
    """
    number = several.number()
    if number == 0:
        return {}
    home = os.environ.get("HTCDASK_POOL_HOME", DEFAULT_HOME)
    return {
        "HTCDASK_POOL_HOME": f"{home.rstrip('/')}-{number}",
        "HTCDASK_POOL_PORT": str(free_port()),
        "HTCDASK_KEEP_POOL": "0",
    }


# Says where the pool is, then ends with our end of the pipe.
HOLD = ("sh", "-c", 'echo "HOME=$HTCDASK_POOL_HOME"; exec cat')


class NoPoolError(Exception):
    """There can be no pool here; holds the recipe's own words."""


@dataclass(frozen=True)
class Pool:
    """A running pool.

    Attributes
    ----------
    home : Path
        Its directory, which every account can read.
    env : dict of str to str
        What a process needs to use it: ``CONDOR_CONFIG`` and ``PATH``.
    """

    home: Path
    env: dict[str, str]

    def recipe(self, *arguments: str, deadline: float = 120) -> str:
        """Run a command of the recipe: ``kill schedd -9``, ``restart startd``, ``status`` …"""
        return run_recipe(*arguments, deadline=deadline, HTCDASK_POOL_HOME=str(self.home))

    @property
    def master(self) -> int:
        """Pid of the pool's first process, in whose namespaces all of it runs."""
        return int((self.home / "local" / "master.pid").read_text())

    def has(self, program: str) -> bool:
        """Whether the pool's execute point has this program."""
        root = Path("/proc", str(self.master), "root")
        return any((root / place / program).exists() for place in ("usr/local/bin", "usr/bin", "bin"))

    def build_images(self) -> None:
        """Build the test images, where that is not done."""
        self.recipe("images", deadline=BUILD_DEADLINE)

    def token(self, user: str) -> str:
        return self.recipe("token", user).strip()

    def command(self, tool: str, *arguments: str, user: str = "root", cwd: str = "/") -> str:
        """Run an HTCondor tool as this account. root can remove anybody's jobs, but not submit."""
        env = {**processes.environment(user), **self.env}
        return processes.run([str(self.home / "bin" / tool), *arguments], user, env, cwd=cwd)

    def queue(self, constraint: str = "true") -> list[dict[str, Any]]:
        """The job ads in the queue, of all users."""
        found = self.command("condor_q", "-allusers", "-json", "-constraint", constraint)
        return list(json.loads(found)) if found.strip() else []

    def remove(self, constraint: str) -> None:
        """Remove jobs for good; it may be that there are none."""
        for force in ((), ("-forcex",)):
            try:
                self.command("condor_rm", *force, "-constraint", constraint)
            except RuntimeError as error:
                if "Couldn't find" not in str(error) and "matching" not in str(error):
                    raise


def run_recipe(*arguments: str, deadline: float = 120, **settings: Any) -> str:
    command, named = [str(RECIPE), *arguments], f"pool {' '.join(arguments)}"
    return processes.output(command, named, deadline=deadline, env={**os.environ, **settings})


@contextmanager
def running_pool() -> Iterator[Pool]:
    """Hold the pool, and bring it up if it is not.

    The recipe takes down at the end what it brought up, also if we are killed: its command ends with
    our end of the pipe.
    """
    with tempfile.TemporaryFile("w+") as output:
        holder = subprocess.Popen(
            [str(RECIPE), "with", *HOLD],
            env={**os.environ, **own_settings()},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the tests, which then let go of the pool
        )
        try:

            def home_or_end() -> str:
                output.seek(0)
                said = output.read()
                if holder.poll() is not None:
                    raise NoPoolError(said.strip())
                return next((line[5:] for line in said.splitlines() if line.startswith("HOME=")), "")

            home = Path(eventually("pool up", home_or_end, BUILD_DEADLINE))
            path = f"{home}/bin:{processes.ENVIRONMENT}/bin:{processes.SYSTEM_PATH}"
            yield Pool(home, {"CONDOR_CONFIG": str(home / "condor_config"), "PATH": path})
        finally:
            assert holder.stdin is not None
            holder.stdin.close()
            holder.wait(120)
