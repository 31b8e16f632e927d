"""The keys that the database's secrets are encrypted with."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

from htcdaskgateway.sandbox import write_private


def encryption_keys(path: Path) -> list[str]:
    """Keys for the database, one a line, newest first; made when there are none.

    Returns
    -------
    list of str
        32 bytes each, base64.
    """
    if not path.exists():
        write_private(path, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
    return path.read_text().split()
