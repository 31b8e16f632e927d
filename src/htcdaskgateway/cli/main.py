"""Entry point of ``htcdask``: says in one sentence what is not installed."""

from __future__ import annotations

import sys

# Modules of each extra that a command imports, and the extra that brings them.
EXTRAS = {
    "click": "cli",
    "rich": "cli",
    "numpy": "demo",
    "awkward": "demo",
    "uproot": "demo",
    "matplotlib": "demo",
    "dask_gateway_server": "server",
    "htcondor2": "condor",
}


def main() -> None:
    """Run ``htcdask`` with the arguments of this process."""
    try:
        from htcdaskgateway.cli.group import htcdask

        htcdask(prog_name="htcdask")
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        sys.exit(f"Error: {module} is not installed: pip install 'htcdaskgateway[{EXTRAS[module]}]'")
