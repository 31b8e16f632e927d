"""The versions of this Python process."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from htcdaskgateway.versions.names import MUST_AGREE, SHOWN


def versions_here() -> dict[str, str]:
    """Versions of what is compared, as far as it is installed here; imports none of it."""
    found = {"python": platform.python_version()}
    for name in (*MUST_AGREE, *SHOWN):
        if name == "python":
            continue
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
