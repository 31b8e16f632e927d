"""What ``htcdask check`` says of each part, from what was seen of it. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from htcdaskgateway.cli.remedies import in_a_shell
from htcdaskgateway.client.images import Choice, comparison
from htcdaskgateway.client.slot_match import Found
from htcdaskgateway.credentials.errors import CredentialError, CredentialMissingError
from htcdaskgateway.credentials.policy import Rule, Use, judge
from htcdaskgateway.credentials.tokens import BearerToken
from htcdaskgateway.credentials.words import TOKEN, TOKEN_MEND, X509_MEND, duration
from htcdaskgateway.credentials.x509 import X509Proxy
from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.versions import MUST_AGREE

ENDS_SOON = 3600.0  # seconds
LITTLE_SPACE = 100 * 2**20  # bytes
OFF = 'check_versions="off" starts it without a look at its files.'


class Level(str, enum.Enum):
    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    UNUSED = "unused"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """What there is to say of one part.

    Attributes
    ----------
    part : str
        Such as ``gateway``.
    level : Level
        ``unused``: this site, or this machine, does without it.
    text : str
    remedy : str
    facts : mapping of str to str
    """

    part: str
    level: Level
    text: str
    remedy: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "level": str(self.level), "facts": dict(self.facts)}


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing has failed."""
    return all(finding.level is not Level.FAILURE for finding in findings)


def of_error(part: str, error: Exception, level: Level = Level.FAILURE) -> Finding:
    """Say what an error says."""
    if isinstance(error, HTCDaskError):
        facts = {name: str(value) for name, value in error.facts.items()}
        return Finding(part, level, error.sentence, in_a_shell(error.remedy), facts)
    return Finding(part, level, f"{type(error).__name__}: {error}".rstrip(": "))


def of_silence(part: str, seconds: float) -> Finding:
    """Say that a part took too long."""
    remedy = f"`htcdask check --seconds {max(60, 4 * seconds):g}` waits longer."
    return Finding(part, Level.FAILURE, f"no answer within {seconds:g} s", remedy)


def as_information(finding: Finding) -> Finding:
    """Give what was seen where no gateway says whether the site wants it: nothing of it has failed."""
    if finding.level is Level.FAILURE:
        return replace(finding, level=Level.WARNING)
    if finding.level is Level.UNUSED:
        return replace(
            finding, text=f"there is no {finding.part}; the gateway would say whether one is needed"
        )
    return finding


def of_gateway(address: str, server: Mapping[str, Any], status: str) -> Finding:
    """Say what answers at an address."""
    version = str(server.get("version", "of an unknown version"))
    text = f"dask-gateway {version} answers at {address}"
    if status != "pass":
        return Finding("gateway", Level.WARNING, f"{text}, and says of itself: {status or 'nothing'}")
    return Finding("gateway", Level.OK, text)


def of_stranger(gateway: Finding) -> Finding:
    """Say that a gateway is none of this package."""
    remedy = "Its clusters can be used; it tells neither of HTCondor nor of images."
    return Finding("gateway", Level.WARNING, f"{gateway.text}, and is no HTCDaskGateway.", remedy)


def of_slots(found: Found) -> Finding:
    """Say whether a job would match a slot of the pool."""
    if found.match is None and found.problem:
        return Finding("slots", Level.WARNING, f"It is not known whether a job would match: {found.problem}")
    if found.match is None:
        return Finding("slots", Level.UNUSED, "workers are processes, without HTCondor")
    facts = {"a worker needs": str(found.match.need)}
    if found.match.can_match and found.match.with_room:
        return Finding("slots", Level.OK, found.match.sentence.rstrip("."), facts=facts)
    level = Level.WARNING if found.match.can_match else Level.FAILURE
    return Finding("slots", level, found.match.sentence, found.match.remedy, facts)


def of_credential(
    kind: str, rule: Rule, found: X509Proxy | BearerToken | CredentialError | None, now: float
) -> Finding:
    """Say whether a credential will do, as the site wants it.

    Parameters
    ----------
    kind : str
        ``X.509 proxy`` or ``bearer token``.
    rule : Rule
        Of the site.
    found : credential, CredentialError or None
    now : float
        Seconds since the epoch.
    """
    if rule.use is Use.NEVER or found is None:
        return Finding(kind, Level.UNUSED, "jobs of this site get none from this machine")
    needed = rule.use is Use.REQUIRED
    if isinstance(found, CredentialMissingError) and not needed and not found.named:
        return Finding(kind, Level.UNUSED, "there is none, and the site requires none")
    mend = TOKEN_MEND if kind == TOKEN else X509_MEND
    bad = Level.FAILURE if needed else Level.WARNING
    if isinstance(found, CredentialError):
        return of_error(kind, found, bad)
    if problem := judge(rule, found, mend, now):
        return of_error(kind, problem, bad)
    left = found.time_left(now)
    about = found.about
    text, facts = f"{about.who}, valid for {duration(left)}", about.facts()
    if left < ENDS_SOON:
        return Finding(kind, Level.WARNING, text, f"Renew it: {rule.filled(mend, about)}", facts)
    return Finding(kind, Level.OK, text, facts=facts)


def of_image_root(root: str, entries: int) -> Finding:
    """Say whether images are there; ``entries`` of the directory."""
    if not entries:
        remedy = f"`ls {root}` shows what is there; `cvmfs_config probe` whether CVMFS is mounted."
        return Finding("CVMFS", Level.FAILURE, f"{root} is empty.", f"{remedy} {OFF}")
    return Finding("CVMFS", Level.OK, f"images below {root}", facts={"registries": str(entries)})


def of_apptainer(program: str, version: str) -> Finding:
    """Say whether images can be started here; ``version`` empty: they cannot."""
    if version:
        return Finding("Apptainer", Level.OK, version)
    remedy = "Workers do not need it here: they have that of their execute points."
    text = f"there is no program {program!r} here, which `htcdask images --run` would need"
    return Finding("Apptainer", Level.WARNING, text, remedy)


def of_image(choice: Choice) -> Finding:
    """Say whether the image that a cluster would get fits this Python environment."""
    if choice.image is None:
        return Finding("image", Level.UNUSED, "workers run without images")
    name = str(choice.image)
    if choice.contents is None:
        return Finding("image", Level.WARNING, f"{name} was not read. {choice.unread}".rstrip())
    table = comparison(choice)
    fits = "`htcdask images --fits` lists images that fit this Python environment."
    if not table.agrees:
        rows = {row: " here, ".join(cells) for row, cells, _ in table.rows if row in table.differing}
        facts = {row: f"{versions} in the image" for row, versions in rows.items()}
        return Finding("image", Level.FAILURE, f"{name} does not fit this environment.", fits, facts)
    if choice.contents.runs_dask is False:
        why = choice.contents.notes[0]  # what is in front of it would leave it in doubt
        return Finding("image", Level.FAILURE, f"{name} cannot start workers: {why}.", fits)
    versions = dict(table.columns[-1].versions)
    facts = {row: versions[row] for row in MUST_AGREE if versions.get(row)}
    if choice.contents.notes:
        doubts = "; ".join(choice.contents.notes)
        return Finding("image", Level.WARNING, f"{name}: {doubts}", facts=facts)
    return Finding("image", Level.OK, f"{name} fits this environment", facts=facts)


def of_sandbox(path: str, parent: str, writable: bool, free: int) -> Finding:
    """Say whether clusters could have their directories.

    Parameters
    ----------
    path : str
        Of a cluster's.
    parent : str
        Of the directories above it, the last one that is there.
    writable : bool
        Whether directories can be made in it.
    free : int
        Bytes.
    """
    if not writable:
        remedy = "Set htcdaskgateway.sandbox in Dask's configuration to a place that you may write to."
        return Finding("sandbox", Level.FAILURE, f"No directory can be made in {parent}.", remedy)
    if free < LITTLE_SPACE:
        remedy = "What workers write comes back to it: make room."
        text = f"{parent} has {free / 2**20:.0f} MiB left."
        return Finding("sandbox", Level.WARNING, text, remedy)
    return Finding("sandbox", Level.OK, path)
