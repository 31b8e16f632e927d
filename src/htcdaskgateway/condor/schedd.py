"""What we ask of HTCondor: submit, query, act, and how jobs ended. All of it in bulk."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

X509_MARGIN = 60  # seconds before the end of a job's X.509 proxy from which on the job is not started


class JobStatus(enum.IntEnum):
    """HTCondor's ``JobStatus``.

    Source: HTCondor manual, appendix "Job ClassAd Attributes".
    """

    IDLE = 1
    RUNNING = 2
    REMOVED = 3
    COMPLETED = 4
    HELD = 5
    TRANSFERRING_OUTPUT = 6
    SUSPENDED = 7


class Action(str, enum.Enum):
    REMOVE = "remove"
    HOLD = "hold"
    RELEASE = "release"


@dataclass(frozen=True)
class ObservedJob:
    """A job as the queue shows it now.

    Attributes
    ----------
    since : float
        When the present status began, seconds since the epoch.
    exit_code, exit_signal : int or None
        Of a job that has completed.
    fetchable : bool
        It has completed, and waits in the queue for its output to be fetched.
    x509_until : float
        When its X.509 proxy ends, seconds since the epoch; 0: it has none, or one that nobody renews.
    user : str
        Whose worker it is, by the name that the gateway knows.
    """

    job_id: str
    cluster_name: str
    worker_name: str
    status: JobStatus
    since: float = 0.0
    host: str = ""
    hold_code: int = 0
    hold_subcode: int = 0
    hold_reason: str = ""
    exit_code: int | None = None
    exit_signal: int | None = None
    fetchable: bool = False
    x509_until: float = 0.0
    user: str = ""


@dataclass(frozen=True)
class EndedJob:
    """A job that has left the queue, as the history shows it."""

    job_id: str
    status: JobStatus
    exit_code: int | None = None
    exit_signal: int | None = None
    removed_because: str = ""


@dataclass(frozen=True)
class SubmitDescription:
    """Submit commands that are alike for all jobs, and one item per job.

    Attributes
    ----------
    commands : dict of str to str
        Submit commands in their final, quoted form; ``+Name`` for ClassAd attributes. They refer to
        the item as ``$(worker_name)``.
    worker_names : tuple of str
        One job each, in this order.
    spool : bool
        The jobs' files are sent to the schedd, which need not see our file systems. The output stays
        there until it is fetched.
    files : mapping of str to str
        Name and content of input files that whoever submits puts in place before.
    """

    commands: dict[str, str]
    worker_names: tuple[str, ...] = field(default_factory=tuple)
    spool: bool = False
    files: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """Text that ``condor_submit`` takes."""
        lines = [f"{name} = {value}" for name, value in self.commands.items()]
        return "\n".join([*lines, "queue worker_name from (", *self.worker_names, ")", ""])


class Schedd(Protocol):
    """One schedd. Every method is one transaction or query, whatever the number of jobs.

    Raises
    ------
    ScheddUnavailableError
        By every method: it could not be reached, or does not know who we are; nothing was done.
    ScheddSilentError
        By every method: it was asked and has not answered; what it did is unknown.
    """

    @property
    def name(self) -> str:
        """The schedd's name, empty until it is known."""

    async def submit(self, description: SubmitDescription) -> list[str]:
        """Submit one job per worker name, in one transaction.

        Returns
        -------
        list of str
            Job ids ``ClusterId.ProcId``, in the order of ``description.worker_names``.

        Raises
        ------
        SubmitRefusedError
            No job exists; holds the schedd's own words.
        """

    async def query(self, gateway: str, cluster: str = "") -> list[ObservedJob]:
        """Every job in the queue that carries this gateway's instance id; of one cluster if it is named."""

    async def act(self, action: Action, job_ids: Sequence[str]) -> int:
        """Remove, hold or release exactly these jobs; how many were found to act on.

        Raises
        ------
        ActionRefusedError
        """

    async def ended(self, job_ids: Sequence[str]) -> list[EndedJob]:
        """How jobs ended that are in the queue no more; those that the history lacks are left out."""

    async def fetch(self, job_ids: Sequence[str], sandbox: str) -> list[str]:
        """Bring the output of completed spooled jobs back, and let them leave the queue.

        To be called as often as one likes: other jobs are left alone, and a job whose output cannot be
        brought back leaves the queue without it after some tries.

        Parameters
        ----------
        job_ids : sequence of str
        sandbox : str
            The directory that the output goes to, whichever directory the jobs were submitted from.

        Returns
        -------
        list of str
            Ids of those whose output has come back now.

        Raises
        ------
        OutputError
            That of some could not be brought back; it will be tried again. Others may have been.
        """

    async def close(self) -> None:
        """Give back threads and processes."""


@runtime_checkable
class Settles(Protocol):
    """A schedd of which it may turn out late which one of the pool it is."""

    async def settle(self, gateway: str, lost: Sequence[str]) -> None:
        """Find out which schedd it is, if its name is not known: before jobs are submitted, or looked for.

        Parameters
        ----------
        gateway : str
            Instance id that the jobs carry.
        lost : sequence of str
            Names of clusters that may have jobs already, of which nobody knows what schedd has them: they
            are looked for.

        Raises
        ------
        ScheddUnavailableError, ScheddSilentError
            Not now; nothing was submitted.
        """


@runtime_checkable
class RenewsX509(Protocol):
    """A schedd whose jobs may have their user's X.509 proxy. For spooled jobs it takes a while each."""

    async def renew_x509(self, cluster: str, path: str, until: float) -> int:
        """Let all jobs of a cluster have a renewed X.509 proxy; to be called until none is left.

        Parameters
        ----------
        cluster : str
            Name of the cluster.
        path : str
            The file that they were submitted with; it has been renewed in its place. Spooled jobs get it
            whichever file they were submitted with.
        until : float
            When it ends now, seconds since the epoch.

        Returns
        -------
        int
            How many jobs there was no time for.

        Raises
        ------
        NotRenewedError
            Some could not be given it; the others were.
        ScheddUnavailableError, ScheddSilentError
        """
