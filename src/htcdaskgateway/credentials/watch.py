"""Whether the jobs' credential is to be renewed, because the user's file changed. Pure.

One `Watch` for each credential that jobs have; `look` compares it with what the user has now.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from htcdaskgateway.credentials.errors import (
    CredentialEndsSoonError,
    CredentialError,
    CredentialExpiredError,
    OtherIdentityError,
    VOMissingError,
)
from htcdaskgateway.credentials.files import FileIdentity
from htcdaskgateway.credentials.policy import Rule, judge
from htcdaskgateway.credentials.tokens import BearerToken
from htcdaskgateway.credentials.words import TOKEN_MEND, X509_MEND
from htcdaskgateway.credentials.x509 import X509Proxy

Credential = X509Proxy | BearerToken


class Act(str, enum.Enum):
    """What to do: nothing; give jobs the new credential; say the warning."""

    KEEP = "keep"
    RENEW = "renew"
    WARN = "warn"


@dataclass(frozen=True)
class Watch:
    """What jobs have, and what was said about it.

    Attributes
    ----------
    credential : X509Proxy or BearerToken
        What jobs have.
    seen : FileIdentity or None
        The user's file when it was last understood or warned of; None: there was none.
    doubted : bool
        It could not be used at the last look: it may have been in the middle of being written.
    reminded : type of CredentialError or None
        What was last said of the end of `credential`.
    """

    credential: Credential
    seen: FileIdentity | None = None
    doubted: bool = False
    reminded: type[CredentialError] | None = None


@dataclass(frozen=True)
class Decision:
    """What to do now, and what to remember.

    Attributes
    ----------
    act : Act
    watch : Watch
        For the next look. With `Act.RENEW` it holds the new credential: if giving that to the jobs
        fails, stay with the old one.
    warning : CredentialError or None
        With `Act.WARN`.
    """

    act: Act
    watch: Watch
    warning: CredentialError | None = None


def start(credential: Credential) -> Watch:
    """Begin to watch what jobs were given."""
    return Watch(credential, credential.file)


def has_changed(watch: Watch, file: FileIdentity | None) -> bool:
    """Say whether the user's credential must be read again, from which file is there now."""
    return file != watch.seen


def look(
    watch: Watch,
    file: FileIdentity | None,
    found: Credential | CredentialError | None,
    rule: Rule,
    warn_before: float,
    now: float,
) -> Decision:
    """Decide about what the user has now.

    Parameters
    ----------
    watch : Watch
    file : FileIdentity or None
        Which file is there now; None: none.
    found : credential, CredentialError or None
        What was read of it, or what is wrong with it; None if `has_changed` says no.
    rule : Rule
        Its ``minimum`` is for submitting: a renewed credential may be shorter.
    warn_before : float
        A warning comes when the jobs' credential ends within this many seconds.
    now : float
        Seconds since the epoch.
    """
    default = X509_MEND if isinstance(watch.credential, X509Proxy) else TOKEN_MEND
    if isinstance(found, CredentialError):
        if not watch.doubted:
            return Decision(Act.KEEP, replace(watch, doubted=True))
        return Decision(Act.WARN, replace(watch, doubted=False, seen=file), found)
    if found is None:
        return _remind(watch, rule.filled(default, watch.credential.about), warn_before, now)
    watch = replace(watch, doubted=False, seen=found.file)
    if found.fingerprint != watch.credential.fingerprint:
        problem = judge(replace(rule, minimum=0), found, default, now)
        problem = problem or _worse(watch.credential, found, rule.filled(default, found.about))
        if problem:
            return Decision(Act.WARN, watch, problem)
        if found.not_after > watch.credential.not_after:
            return Decision(Act.RENEW, start(found))
    return _remind(watch, rule.filled(default, watch.credential.about), warn_before, now)


def _worse(old: Credential, new: Credential, command: str) -> CredentialError | None:
    if new.identity != old.identity:
        return OtherIdentityError(new.about, old.identity)
    if isinstance(old, X509Proxy) and isinstance(new, X509Proxy) and (lost := old.vos - new.vos):
        return VOMissingError(new.about, min(lost), new.note, command)
    return None


def _remind(watch: Watch, command: str, warn_before: float, now: float) -> Decision:
    about = watch.credential.about
    warning: CredentialError | None = None
    if about.until <= now:
        warning = CredentialExpiredError(about, now, command)
    elif about.until <= now + warn_before:
        warning = CredentialEndsSoonError(about, now, command)
    if warning is None or watch.reminded is type(warning):
        return Decision(Act.KEEP, watch)
    return Decision(Act.WARN, replace(watch, reminded=type(warning)), warning)
