"""Entry point of ``htcdask``: says in a sentence what no command can go on without."""

from __future__ import annotations

import os
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
    except ValueError:
        words = trouble_of_dask()
        if not words:
            raise
        sys.exit(f"Error: {words}")
    except OSError:
        words = trouble_of_output()
        if not words:
            raise
        sys.exit(f"Error: {words}")


def trouble_of_dask() -> str:
    """Say why Dask cannot read its configuration, which it does when it is imported; empty if it can."""
    from htcdaskgateway.errors import ConfigurationError

    try:
        import dask.config  # noqa: F401 - once more: what failed before fails again
    except ValueError as error:
        sentence = "Dask's configuration cannot be read."
        remedy = "Mend that file. Besides DASK_CONFIG, files of /etc/dask and ~/.config/dask are read."
        return str(ConfigurationError(sentence, {"dask says": str(error)}, remedy))
    return ""


def trouble_of_output() -> str:
    """Say why standard output takes no more, as a disk that is full; empty if it does."""
    try:
        sys.stdout.write("\n")  # what failed before may still wait to be written, or be lost: once more
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes the rest at its end
        return f"Standard output cannot be written to: {error.strerror}."
    return ""
