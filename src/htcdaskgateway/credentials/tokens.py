"""The user's bearer token: found by WLCG Bearer Token Discovery, its claims read and not verified."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import os.path
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from htcdaskgateway.credentials.der import UnusableError
from htcdaskgateway.credentials.errors import CredentialGarbledError, CredentialMissingError
from htcdaskgateway.credentials.files import FileIdentity, read_private
from htcdaskgateway.credentials.frames import drop_frames
from htcdaskgateway.credentials.words import TOKEN, TOKEN_MEND, About, mending

VARIABLE, FILE_VARIABLE = "BEARER_TOKEN", "BEARER_TOKEN_FILE"

# Web servers refuse longer ones.
MOST_CHARACTERS = 2**16

_WHITE_SPACE = b" \t\n\r\v\f"
_JWT = re.compile(rb"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class BearerToken:
    """What a token says, without the token.

    Attributes
    ----------
    path : str
        Its file, absolute; empty if the environment holds it.
    subject, issuer : str
    scopes : tuple of str
    not_before, not_after : float
        Seconds since the epoch.
    fingerprint : str
        SHA-256 of the token.
    file : FileIdentity or None
    """

    path: str
    subject: str
    issuer: str
    scopes: tuple[str, ...]
    not_before: float
    not_after: float
    fingerprint: str
    file: FileIdentity | None = None

    @property
    def identity(self) -> str:
        return f"{self.subject} of {self.issuer}"

    @property
    def about(self) -> About:
        return About(TOKEN, self.path or f"${VARIABLE}", self.identity, "", self.not_after)

    def time_left(self, now: float) -> float:
        """Say for how many seconds more it is valid; negative if it has ended."""
        return self.not_after - now


def token_files(environ: Mapping[str, str], uid: int) -> Iterator[str]:
    """Name the files that may hold a user's token, in the order of discovery."""
    if named := environ.get(FILE_VARIABLE):
        yield os.path.abspath(named)  # noqa: PTH100 - Path has none that follows no link
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield os.path.join(os.path.abspath(runtime), f"bt_u{uid}")  # noqa: PTH100, PTH118 - likewise
    yield f"/tmp/bt_u{uid}"  # noqa: S108 - where WLCG has it


@drop_frames
def read_token(environ: Mapping[str, str], uid: int, command: str = TOKEN_MEND) -> BearerToken:
    """Find and read a user's bearer token; its times are not judged.

    Parameters
    ----------
    environ : mapping of str to str
        The user's environment.
    uid : int
        Whose it is.
    command : str
        What makes a new one, for messages.

    Raises
    ------
    CredentialError
        There is none, or the first that there is cannot be used.
    """
    filled = mending(command)
    if environ.get(VARIABLE, "").strip():
        return parse_token(environ[VARIABLE].encode("utf-8", "surrogateescape"), "", command)
    places = tuple(token_files(environ, uid))
    for path in places:
        found = read_private(TOKEN, path, uid, filled)
        if found is None or not found[0].strip(_WHITE_SPACE):
            continue
        return replace(parse_token(found[0], path, command), file=found[1])
    raise CredentialMissingError(
        TOKEN, (f"${VARIABLE}", *places), FILE_VARIABLE if environ.get(FILE_VARIABLE) else "", filled
    )


@drop_frames
def parse_token(content: bytes, path: str, command: str = TOKEN_MEND) -> BearerToken:
    """Read the claims of a token, a JWT; white space around it is left out.

    Raises
    ------
    CredentialError
        It is no JWT, or does not say until when it is valid.
    """
    text = content.strip(_WHITE_SPACE)
    try:
        claims = _claims(text)
        scope = claims.get("scope", "")
        scopes = scope if isinstance(scope, list) else str(scope).split()
        return BearerToken(
            path=path,
            subject=str(claims.get("sub", "")),
            issuer=str(claims.get("iss", "")),
            scopes=tuple(str(one) for one in scopes),
            not_before=_time(claims, "nbf", 0),
            not_after=_time(claims, "exp"),
            fingerprint=hashlib.sha256(text).hexdigest(),
        )
    except UnusableError as error:
        raise CredentialGarbledError(TOKEN, path or f"${VARIABLE}", str(error), mending(command)) from None


def _claims(text: bytes) -> Mapping[str, Any]:
    match = _JWT.fullmatch(text) if len(text) <= MOST_CHARACTERS else None
    if not match:
        raise UnusableError("it is no JWT (three parts, with dots between them)")
    padded = match[1] + b"=" * (-len(match[1]) % 4)
    try:
        claims = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, binascii.Error, RecursionError):
        raise UnusableError("its claims cannot be read") from None
    if not isinstance(claims, dict):
        raise UnusableError("its claims cannot be read")
    return claims


def _time(claims: Mapping[str, Any], name: str, missing: float | None = None) -> float:
    value = claims.get(name, missing)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnusableError(f"it has no time {name!r}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise UnusableError(f"its time {name!r} is no number of seconds")
    return seconds
