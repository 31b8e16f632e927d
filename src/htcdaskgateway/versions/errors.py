"""What is raised, or warned of, where versions do not agree."""

from __future__ import annotations

from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.versions.table import VersionTable


class VersionMismatchError(HTCDaskError):
    """What must agree between notebook, image, scheduler and workers does not.

    Parameters
    ----------
    subject : str
        What does not fit, the beginning of the sentence.
    table : VersionTable

    Attributes
    ----------
    displayed : bool
        The table was shown in the notebook already: the traceback then goes without it.
    """

    def __init__(self, subject: str, table: VersionTable) -> None:
        self.subject, self.table = subject, table
        self.displayed = False
        names = table.differing
        what = " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
        verb = "differs" if len(names) == 1 else "differ"
        super().__init__(f"{subject} does not fit this notebook: {what} {verb}.")

    def __str__(self) -> str:
        return f"{self.sentence}\n{self.table}"

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: no traceback, where the fault is in no line of code."""
        text = self.sentence if self.displayed else str(self)
        return f"{type(self).__name__}: {text}".splitlines()


class VersionMismatchWarning(UserWarning):
    """The same, where ``check_versions="warn"`` goes ahead."""
