"""Can the demo's workers be HTCondor jobs? Asked in a process of its own: the bindings may block."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NONE_HERE = "No HTCondor here: workers run as plain local processes."


@dataclass(frozen=True)
class Pool:
    """What was found.

    Attributes
    ----------
    schedd : str
        Name of the schedd, empty where workers cannot be HTCondor jobs.
    machine : str
        This host, as execute points call it.
    elsewhere : bool
        Whether the pool has execute points on other hosts: those cannot reach the demo's loopback.
    hidden : tuple of str
        Directories of this host that its jobs do not see: they have some of their own in those places.
    refusal : str
        Why workers cannot be HTCondor jobs, without a full stop; empty where HTCondor is not installed.
    """

    schedd: str = ""
    machine: str = ""
    elsewhere: bool = False
    hidden: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def usable(self) -> bool:
        return bool(self.schedd)

    @property
    def sentence(self) -> str:
        """Where the workers run."""
        if self.usable:
            return f"Workers run as HTCondor jobs of the schedd {self.schedd}."
        if self.refusal:
            return f"HTCondor cannot be used: {self.refusal}. Workers run as plain local processes."
        return NONE_HERE

    @property
    def requirements(self) -> str:
        """Expression that keeps workers on this host; empty where they cannot go astray."""
        return f'TARGET.Machine == "{self.machine}"' if self.elsewhere else ""

    def sees(self, path: Path) -> bool:
        """Whether jobs on this host find under this path what we find there."""
        return not any(path.resolve().is_relative_to(hidden) for hidden in self.hidden)


def find_pool(deadline: float = 15.0) -> Pool:
    """Ask HTCondor whether it would take our jobs, for at most so many seconds."""
    if "CONDOR_CONFIG" not in os.environ and not Path("/etc/condor").is_dir():
        return Pool()
    if os.geteuid() == 0:
        return Pool(refusal="a schedd takes no jobs of root")
    try:
        answer = _in_a_process("find", "", deadline)
    except ProbeError as error:
        return Pool(refusal=str(error))
    pool = Pool(**{**answer, "hidden": tuple(answer["hidden"])})
    for prefix in (sys.prefix, sys.base_prefix):
        if pool.usable and not pool.sees(Path(prefix)):
            places = " and ".join(pool.hidden)
            return Pool(refusal=f"jobs do not see {prefix}, as they have a {places} of their own")
    return pool


def remove_jobs(gateway: str, deadline: float = 30.0) -> str:
    """Remove every job that carries a gateway's instance id, and wait until the queue holds none.

    Returns
    -------
    str
        What went wrong, empty if the queue holds no such job.
    """
    try:
        return str(_in_a_process("remove", gateway, deadline)["problem"])
    except ProbeError as error:
        return str(error)


class ProbeError(Exception):
    """The process that asks HTCondor for us gave no answer."""


def _in_a_process(what: str, gateway: str, deadline: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "htcdaskgateway.demo.pool", what, gateway]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=deadline, check=False)
    except subprocess.TimeoutExpired:
        raise ProbeError(f"it did not answer within {deadline:g} s") from None
    try:
        return dict(json.loads(answer.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        words = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
        raise ProbeError(f"asking it failed ({words[:200]})") from None


def ask() -> Pool:
    """Ask through the bindings. They raise HTCondorException, a plain Exception, or none of their own."""
    try:
        import htcondor2
    except ImportError:
        return Pool(refusal="its Python bindings are not installed (pip install htcondor)")
    machine = str(htcondor2.param.get("FULL_HOSTNAME", ""))
    try:
        ad = htcondor2.Collector().locate(htcondor2.DaemonType.Schedd)
        htcondor2.Schedd(ad).query(limit=1)
        # Queries need no authentication, submitting does.
        write = htcondor2.ping(ad, "WRITE")
        startds = htcondor2.Collector().query(htcondor2.AdType.Startd, projection=["Machine"])
    except (htcondor2.HTCondorException, OSError, ValueError) as error:
        return Pool(refusal=_first_line(error))
    if not write.get("AuthorizationSucceeded", False):
        return Pool(refusal=f"the schedd {ad['Name']} does not let this account submit")
    here = [startd.get("Machine") == machine for startd in startds]
    if not any(here):
        # The gateway of the demo listens on loopback only, and these workers could not reach it.
        return Pool(refusal=f"the pool has no execute point on this host ({machine})")
    # The starter's default is "/tmp,/var/tmp", where the execute point has the rights to mount.
    hidden = re.findall(r"/[^\s,\"]*", str(htcondor2.param.get("MOUNT_UNDER_SCRATCH", "")))
    return Pool(str(ad["Name"]), machine, not all(here), tuple(hidden))


def ask_to_remove(gateway: str, deadline: float = 20.0) -> str:
    """Remove the jobs through the bindings; returns what went wrong."""
    import classad2
    import htcondor2

    constraint = f"HTCDaskGateway == {classad2.quote(gateway)}"
    end = time.monotonic() + deadline
    try:
        schedd = htcondor2.Schedd()
        while left := len(schedd.query(constraint, ["ClusterId"])):
            if time.monotonic() > end:
                return f"{left} jobs are still in the queue after {deadline:g} s"
            schedd.act(htcondor2.JobAction.Remove, constraint)
            time.sleep(0.5)
    except (htcondor2.HTCondorException, OSError, ValueError) as error:
        return _first_line(error)
    return ""


def _first_line(error: Exception) -> str:
    words = str(error).strip().splitlines() or [type(error).__name__]
    return words[0].rstrip(".")[:200]


def main(what: str, gateway: str) -> None:
    answer = asdict(ask()) if what == "find" else {"problem": ask_to_remove(gateway)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
