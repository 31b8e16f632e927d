"""One person's token as the only identity of HTCondor's clients: not the account's, nor other tokens."""

from __future__ import annotations

import base64
import datetime
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from htcdaskgateway.errors import ConfigurationError

_LARGEST = 64 * 1024  # bytes of a token file
_FILES = 20  # of a directory of tokens that are described


class TokenIdentity:
    """Environment in which HTCondor's clients show these IDTOKENs, and nothing else.

    Parameters
    ----------
    path : str or Path
        A token file, or a directory of token files, of one user: private to this account.

    Raises
    ------
    ConfigurationError
        It is not there, cannot be read, or others can read it. The token itself is in no message.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        _check(self.path)
        # HTCondor takes directories only. A link, so that a renewed token is taken as well, and no second
        # copy lies about; a directory of ours, so that no other token lies beside it.
        self._directory = Path(tempfile.mkdtemp(prefix="htcdask-token-"))  # 0700
        tokens = self._directory / "tokens"
        if self.path.is_dir():
            tokens.symlink_to(self.path.absolute())
        else:
            tokens.mkdir(0o700)
            (tokens / "token").symlink_to(self.path.absolute())

    @property
    def environment(self) -> dict[str, str]:
        nothing = str(self._directory / "nothing")
        return {
            "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
            "_CONDOR_SEC_TOKEN_DIRECTORY": str(self._directory / "tokens"),
            # An account that can read the pool's key would otherwise make itself a token of HTCondor's
            # own, as root on a schedd's host can.
            "_CONDOR_SEC_PASSWORD_DIRECTORY": nothing,
            "_CONDOR_SEC_TOKEN_POOL_SIGNING_KEY_FILE": nothing,
            "_CONDOR_SEC_TOKEN_SYSTEM_DIRECTORY": nothing,
        }

    def close(self) -> None:
        """Remove what was made; the token stays."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def __str__(self) -> str:
        """Path, and what the tokens say of themselves, for messages."""
        try:
            files = [self.path]
            if self.path.is_dir():
                files = [file for file in sorted(self.path.iterdir())[:_FILES] if file.is_file()]
            said = [_about(file.read_bytes()[:_LARGEST]) for file in files]
        except OSError as error:
            return f"{self.path} ({error.strerror})"
        return f"{self.path} ({'; '.join(said) or 'no token'})"

    __repr__ = __str__


def _check(path: Path) -> None:
    try:
        found = path.stat()
        with os.scandir(path) if stat.S_ISDIR(found.st_mode) else path.open("rb"):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"The token {str(path)!r} cannot be read.", {"the system says": error.strerror}
        ) from error
    if stat.S_ISREG(found.st_mode) and found.st_size > _LARGEST:
        raise ConfigurationError(f"{str(path)!r} is no token: it has {found.st_size} bytes.")
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ConfigurationError(f"{str(path)!r} is no token: it is neither a file nor a directory.")
    if found.st_mode & 0o077:
        raise ConfigurationError(
            f"The token {str(path)!r} is open to others.",
            {"owner": f"uid {found.st_uid}", "mode": f"{found.st_mode & 0o7777:04o}"},
            f"chmod go= {path}",
        )


def _about(content: bytes) -> str:
    """Subject and expiry of the first token, without a check of its signature: HTCondor's part."""
    claims = _claims(content)
    if not claims:
        return "no token that can be read"
    subject = claims.get("sub")
    said = subject if isinstance(subject, str) and subject.isprintable() else "no subject"
    expires = claims.get("exp")
    if isinstance(expires, (int, float)) and 0 < expires < 2**33:
        when = datetime.datetime.fromtimestamp(expires, datetime.timezone.utc)
        said += f", expires {when:%Y-%m-%d %H:%M:%S} UTC"
    return said[:200]


def _claims(content: bytes) -> Mapping[str, object]:
    """The middle one of three parts, which is not secret; the last one is what makes it a token."""
    parts = content.split(b"\n")[0].strip().split(b".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
