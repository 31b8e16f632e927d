"""What an error advises in Python, as somebody in a shell does it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from htcdaskgateway.errors import HTCDaskError

CLUSTER = "CLUSTER"  # as the usage of commands has it
UNNAMED = "{cluster}"
IN_A_SHELL = (
    (re.compile(r"cluster\.scale\((\d+)\)"), r"`htcdask scale {cluster} \1`"),
    (re.compile(r"cluster\.scale\(n\)"), r"`htcdask scale {cluster} N`"),
    (re.compile(r'cluster\.logs\("([^"]*)"\)'), r"`htcdask logs {cluster} \1`"),
    (re.compile(r"cluster\.logs\(\)"), r"`htcdask logs {cluster}`"),
    (re.compile(r"cluster\.workers\(\)"), r"`htcdask workers {cluster}`"),
    (re.compile(r"gateway\.list_clusters\(\)"), r"`htcdask clusters`"),
    (re.compile(r"HTCGateway\(address=…\) and --address=URL give"), r"--address=URL gives"),
    (re.compile(r"HTCGateway\(address=…\)"), r"--address=URL"),
    (re.compile(r", or auth= of HTCGateway,"), r""),
    (re.compile(r"auth= of HTCGateway, or "), r""),
)


def in_a_shell(remedy: str, cluster: str = CLUSTER) -> str:
    """Give a remedy with commands for what there is a command for.

    Parameters
    ----------
    remedy : str
        Of an error, or of a reason why workers do not come.
    cluster : str, optional
        Name of the cluster in question, or the beginning of it.

    Examples
    --------
    >>> in_a_shell("Ask for at most 200: cluster.scale(200).", "f8afbd8b")
    'Ask for at most 200: `htcdask scale f8afbd8b 200`.'
    """
    for python, shell in IN_A_SHELL:
        remedy = python.sub(shell, remedy)
    return remedy.replace(UNNAMED, cluster)


@contextmanager
def about(cluster: str | None) -> Iterator[None]:
    """Name the cluster in what errors advise."""
    try:
        yield
    except HTCDaskError as error:
        error.remedy = in_a_shell(error.remedy, cluster or CLUSTER)
        raise
