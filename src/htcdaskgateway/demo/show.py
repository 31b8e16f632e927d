"""How a demo tells what it does; the command line has one with colours, tests a plain one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from htcdaskgateway.client.report import WorkersReport


class Step(Protocol):
    """A step that is under way. ``detail`` is what to say of it when it is done."""

    detail: str


class Show(Protocol):
    def note(self, sentence: str) -> None:
        """Something worth knowing."""

    def step(self, title: str) -> AbstractContextManager[Step]:
        """The block is a step of the demo: it is timed, and told of when it is done."""

    def workers(self, wanted: int, report: WorkersReport) -> None:
        """Something changed with the workers. Called from any thread."""

    def tasks(self, done: int, total: int) -> None:
        """So many tasks of the analysis are done."""
