"""From a request for workers to the submit description of their jobs. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from htcdaskgateway.condor.ads import X509_UNTIL
from htcdaskgateway.condor.quoting import attribute_value, check_line, instance_id, submit_value
from htcdaskgateway.condor.schedd import SubmitDescription
from htcdaskgateway.errors import ConfigurationError, InvalidRequestError, shown

EXECUTABLE = "start_worker.sh"
INPUT_FILES = ("dask.crt", "dask.pem", "worker.env")
EVENT_LOG = "events.log"
WORKER_EVENT_LOG = "worker-$(worker_name).log"  # the schedd keeps spooled jobs apart from each other
OUTPUT_LIFETIME = 86400  # seconds that it keeps the output of a spooled job which nobody fetches
X509_GRACE = 3600  # seconds after the end of an idle job's X.509 proxy in which its user may renew it

# An argument of the job and a part of file names: it begins with no "-" and is no "..".
_WORKER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# HTCondor refuses white space only, and takes quotation marks for a part of the name.
_ACCOUNTING_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}")
_COMMAND = re.compile(r"(?:\+|[Mm][Yy]\.)?([A-Za-z_][A-Za-z0-9_]*)")
# Beginnings of lines that the submit language does not take for a command.
_STATEMENTS = {"include", "if", "elif", "else", "endif", "use", "error", "warning"}
# Other spellings of commands that `worker_jobs` sets, what would change the jobs' number or files, and
# what HTCondor sets or replaces itself. Written as `_normal` gives them.
_ALSO_RESERVED = frozenset({
    "cmd", "args", "arguments2", "argumentsv2", "in", "input", "stdin", "out", "stdout", "err", "stderr",
    "ulog", "userlog", "iwd", "jobiwd", "remoteinitialdir", "jobuniverse", "transferexecutable",
    "transferinput", "transferoutput", "transferin", "transferout", "transfererr", "transfererror",
    "transferoutputremaps", "outputdestination", "streamout", "streamerr", "dontencryptinputfiles",
    "encryptinputfiles", "requestcpu", "jobnotification", "batchname", "maxmaterialize", "maxidle",
    "materializemaxidle", "owner", "user", "clusterid", "procid", "jobstatus",
    "leaveinqueue", "leavejobinqueue",
    "x509userproxy", "usex509userproxy", "x509userproxysubject", "x509userproxyemail", "x509userproxyvoname",
    "x509userproxyexpiration", "x509userproxyfirstfqan", "x509userproxyfqan",
    "workername", "dollar", "cluster", "process", "node", "item", "itemindex", "row", "step",
})  # fmt: skip


@dataclass(frozen=True)
class JobRequest:
    """What a submitter is asked to start.

    Attributes
    ----------
    gateway : str
        Instance id of the gateway: its jobs are found by it.
    cluster_name, user : str
        Whose workers these are.
    cores : int
    memory, disk : int
        Bytes; ``disk=0`` leaves it to the site.
    sandbox : str
        The cluster's directory on the access point, absolute.
    worker_names : tuple of str
        One job each.
    batch_name : str
        How `condor_q` groups the jobs.
    worker_lifetime : int
        A job is removed when it has run this many seconds; 0: no limit.
    held_lifetime : int
        A job is removed when it was held this many seconds.
    idle_lifetime : int
        A job is removed when it has waited for a slot this many seconds; 0: no limit.
    lease : int
        For how many seconds a job outlives the contact between access point and execute point; 0:
        HTCondor's default.
    spool : bool
        The schedd need not see the sandbox: input is sent to it, output fetched from it. There is an
        event log per worker then, instead of one for all.
    accounting_group_user : str
        Who the jobs are accounted to; empty: the account that submits.
    submit_commands : mapping of str to str
        What the site adds: submit commands, and ``+Name`` for ClassAd attributes, as in a submit file.
    """

    gateway: str
    cluster_name: str
    user: str
    cores: int
    memory: int
    sandbox: str
    worker_names: tuple[str, ...]
    batch_name: str = ""
    disk: int = 0
    worker_lifetime: int = 0
    held_lifetime: int = 600
    idle_lifetime: int = 0
    lease: int = 0
    spool: bool = False
    accounting_group_user: str = ""
    submit_commands: Mapping[str, str] = field(default_factory=dict)


def worker_jobs(request: JobRequest) -> SubmitDescription:
    """Make the submit description of a request's jobs.

    Raises
    ------
    InvalidRequestError
        A value of the request cannot be said to HTCondor as it is.
    ConfigurationError
        A submit command of the site cannot be used.
    """
    sandbox = submit_value(_sandbox(request.sandbox), "The sandbox path")
    commands = {
        "universe": "vanilla",
        "executable": f"{sandbox}/{EXECUTABLE}",
        "arguments": "$(worker_name) $(ClusterId).$(ProcId)",
        "initialdir": sandbox,
        "output": "worker-$(worker_name).out",
        "error": "worker-$(worker_name).err",
        "log": EVENT_LOG,
        "stream_output": "false",
        "stream_error": "false",
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT",
        "transfer_input_files": ", ".join(INPUT_FILES),
        "encrypt_input_files": ", ".join(INPUT_FILES),
        "transfer_output_files": '""',
        "request_cpus": str(_at_least(1, request.cores, "cores")),
        "request_memory": str(-(-_at_least(1, request.memory, "memory") // 2**20)),
        "getenv": "false",
        "notification": "never",
        "periodic_remove": _periodic_remove(request),
        "+HTCDaskGateway": attribute_value(instance_id(request.gateway), "The gateway's instance id"),
        "+HTCDaskCluster": attribute_value(request.cluster_name, "The cluster name"),
        "+HTCDaskWorker": '"$(worker_name)"',
        "+HTCDaskUser": attribute_value(request.user, "The user name"),
        "+JobBatchName": attribute_value(request.batch_name or request.cluster_name, "The batch name"),
        "+isDaskJob": "True",
    }
    if _at_least(0, request.disk, "disk"):
        commands["request_disk"] = str(-(-request.disk // 2**10))
    if _at_least(0, request.lease, "lease"):
        commands["job_lease_duration"] = str(request.lease)
    if request.spool:
        commands["log"] = WORKER_EVENT_LOG
        commands["leave_in_queue"] = (
            "JobStatus == 4 && (StageOutFinish ?: 0) < EnteredCurrentStatus"
            f" && time() - EnteredCurrentStatus < {OUTPUT_LIFETIME}"
        )
    reserved = {_normal(name) for name in [*commands, "request_disk", "job_lease_duration"]}
    if user := request.accounting_group_user:
        commands["accounting_group_user"] = _accounting_user(user)
        reserved |= {"accountinggroupuser", "acctgroupuser"}
    commands |= _site_commands(request.submit_commands, reserved | _ALSO_RESERVED)
    return SubmitDescription(commands, _worker_names(request.worker_names), request.spool)


def _periodic_remove(request: JobRequest) -> str:
    held = _at_least(1, request.held_lifetime, "held_lifetime")
    terms = [f"(JobStatus =?= 5 && time() - EnteredCurrentStatus > {held})"]
    if lifetime := _at_least(0, request.worker_lifetime, "worker_lifetime"):
        terms.append(f"(JobStatus =?= 2 && time() - JobCurrentStartDate > {lifetime})")
    # Of a cluster that has ended, and whose session has gone, nobody else removes those that wait.
    if idle := _at_least(0, request.idle_lifetime, "idle_lifetime"):
        terms.append(f"(JobStatus =?= 1 && time() - EnteredCurrentStatus > {idle})")
    terms.append(f"(JobStatus =?= 1 && time() - ({X509_UNTIL} ?: time()) > {X509_GRACE})")
    return " || ".join(terms)


def _at_least(least: int, value: int, what: str) -> int:
    # bool is an int, and a float's text may be "nan" or "1e9"
    if type(value) is not int or value < least:
        raise InvalidRequestError(
            f"{what} is {shown(str(value))}: it must be a whole number, at least {least}."
        )
    return value


def _sandbox(path: str) -> str:
    check_line(path, "The sandbox path")
    if path in ("/", "") or path != posixpath.normpath("/" + path.lstrip("/")):
        raise InvalidRequestError(f"The sandbox path {shown(path)} is not absolute and normal.")
    if '"' in path:
        raise InvalidRequestError(f"The sandbox path {shown(path)} holds a quotation mark.")
    return path


def _worker_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not _WORKER_NAME.fullmatch(name):
            raise InvalidRequestError(
                f"The worker name {shown(name)} is not made of 1 to 64 letters, digits and '._-'."
            )
    if not names:
        raise InvalidRequestError("The request names no worker.")
    if len(set(names)) != len(names):
        raise InvalidRequestError("The request names a worker twice.", {"workers": " ".join(names)})
    return tuple(names)


def _accounting_user(user: str) -> str:
    if not _ACCOUNTING_USER.fullmatch(user):
        raise InvalidRequestError(f"Jobs cannot be accounted to the user {shown(user)}.")
    return user


def _normal(name: str) -> str:
    """Make a command's name the same as that of the attribute it sets: HTCondor ignores case."""
    return re.sub(r"^(\+|my\.)", "", name.lower()).replace("_", "")


def _site_commands(commands: Mapping[str, str], reserved: set[str]) -> dict[str, str]:
    for name, value in commands.items():
        match = _COMMAND.fullmatch(name)
        if not match or match[1].lower() in _STATEMENTS or match[1].lower().startswith("queue"):
            raise ConfigurationError(f"{shown(name)} is not the name of a submit command.")
        if _normal(name) in reserved or _normal(name).startswith("htcdask"):
            raise ConfigurationError(
                f"The submit command {shown(name)} = {shown(value)} cannot be set: the gateway sets it."
            )
        check_line(value, f"The value of submit command {shown(name)},", ConfigurationError)
        if value.rstrip().endswith("\\"):
            raise ConfigurationError(f"The submit command {name} = {shown(value)} ends with a backslash.")
    return {name: value.strip() for name, value in commands.items()}
