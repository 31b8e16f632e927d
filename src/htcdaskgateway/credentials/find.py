"""The user's credentials as a site's policy wants them: found, read, judged; and copied for jobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from htcdaskgateway.credentials import tokens, x509
from htcdaskgateway.credentials.errors import (
    CredentialChangedError,
    CredentialError,
    CredentialMissingError,
)
from htcdaskgateway.credentials.files import identify, read_private, write_private
from htcdaskgateway.credentials.frames import drop_frames
from htcdaskgateway.credentials.policy import Choice, Policy, Use, choose
from htcdaskgateway.credentials.tokens import BearerToken, read_token
from htcdaskgateway.credentials.watch import Decision, Watch, has_changed, look
from htcdaskgateway.credentials.words import TOKEN_MEND, X509, X509_MEND, mending, word
from htcdaskgateway.credentials.x509 import X509Proxy, read_x509


def look_for_x509(policy: Policy, environ: Mapping[str, str], uid: int) -> X509Proxy | CredentialError | None:
    """Read the user's X.509 proxy; None if the policy does not want it, the error if it cannot be used."""
    if policy.x509.use is Use.NEVER:
        return None
    command = policy.x509.command or X509_MEND
    if policy.x509.vo:
        command = command.replace("{vo}", word(policy.x509.vo))
    try:
        return read_x509(environ, uid, command)
    except CredentialError as error:
        return error


def look_for_token(
    policy: Policy, environ: Mapping[str, str], uid: int
) -> BearerToken | CredentialError | None:
    """Read the user's bearer token; None if the policy does not want it, the error if it cannot be used."""
    if policy.token.use is Use.NEVER:
        return None
    try:
        return read_token(environ, uid, policy.token.command or TOKEN_MEND)
    except CredentialError as error:
        return error


def find_credentials(policy: Policy, environ: Mapping[str, str], uid: int, now: float) -> Choice:
    """Find what jobs are to be given.

    Parameters
    ----------
    policy : Policy
    environ : mapping of str to str
        The user's environment.
    uid : int
        Whose credentials: files of others are refused.
    now : float
        Seconds since the epoch.

    Raises
    ------
    CredentialError
        One that the policy requires is not there or will not do. Nothing was submitted.
    """
    return choose(policy, look_for_x509(policy, environ, uid), look_for_token(policy, environ, uid), now)


def look_again(
    watch: Watch, policy: Policy, environ: Mapping[str, str], uid: int, warn_before: float, now: float
) -> Decision:
    """Look whether what jobs have is to be renewed; reads the user's file if it changed.

    Parameters
    ----------
    watch : Watch
        From `start`, or from the last decision.
    policy, environ, uid, now
        As for `find_credentials`.
    warn_before : float
        Seconds before the end of what the jobs have.
    """
    path = watch.credential.path
    file = identify(path) if path else None
    found: X509Proxy | BearerToken | CredentialError | None = None
    rule = policy.x509 if isinstance(watch.credential, X509Proxy) else policy.token
    if has_changed(watch, file):
        look_for = look_for_x509 if rule is policy.x509 else look_for_token
        found = look_for(policy, environ, uid)
    return look(watch, file, found, rule, warn_before, now)


@drop_frames
def copy_credential(
    credential: X509Proxy | BearerToken,
    environ: Mapping[str, str],
    uid: int,
    directory: Path,
    name: str,
) -> Path:
    """Put a copy of exactly this credential into a private directory, mode 0600, in one step.

    Parameters
    ----------
    credential : X509Proxy or BearerToken
        What was read and judged.
    environ, uid
        As it was found with.
    directory : Path
        Of mode 0700 and our own; no link.
    name : str
        Its file name there; what has that name is replaced.

    Returns
    -------
    Path
        The copy. HTCondor's shadow notices it by its time of change, in whole seconds.

    Raises
    ------
    CredentialError
        It is not there any more, or another one.
    SandboxError
        The directory is not private or cannot be written.
    """
    if isinstance(credential, BearerToken):
        content = _token(credential, environ, uid)
        same = tokens.parse_token(content, credential.path).fingerprint == credential.fingerprint
    else:
        content = _content(credential, uid)
        same = x509.parse_x509(content, credential.path).fingerprint == credential.fingerprint
    if not same:
        raise CredentialChangedError(credential.about.kind, credential.about.place)
    return write_private(content, directory, name)


def _token(credential: BearerToken, environ: Mapping[str, str], uid: int) -> bytes:
    if credential.path:
        return _content(credential, uid)
    return environ.get(tokens.VARIABLE, "").strip().encode("utf-8", "surrogateescape")


def _content(credential: X509Proxy | BearerToken, uid: int) -> bytes:
    kind = credential.about.kind
    command = mending(X509_MEND if kind == X509 else TOKEN_MEND, credential.about.vo, credential.path)
    found = read_private(kind, credential.path, uid, command)
    if found is None:
        raise CredentialMissingError(kind, (credential.path,), "", command)
    return found[0]
