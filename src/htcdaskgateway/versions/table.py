"""Environments side by side: aligned text, and HTML for a notebook. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from htcdaskgateway.versions.names import MUST_AGREE, SHOWN, agree

ABSENT = "-"
MUST, MAY = "must agree", "differs"


@dataclass(frozen=True)
class Column:
    """One environment.

    Attributes
    ----------
    title : str
        Such as ``notebook`` or ``workers (4)``.
    versions : mapping of str to str
        By package, lower case with ``-``, and ``python``. Empty if nothing is known of it.
    note : str
        What else there is to say of it, such as why nothing is known.
    """

    title: str
    versions: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, repr=False)
class VersionTable:
    """Versions in the notebook, the image, the scheduler and the workers.

    Attributes
    ----------
    columns : tuple of Column
    remedy : tuple of str
        Lines that say what to do now.
    """

    columns: tuple[Column, ...]
    remedy: tuple[str, ...] = ()

    @property
    def _known(self) -> list[Column]:
        return [column for column in self.columns if column.versions]

    def _agrees_on(self, name: str) -> bool:
        return agree(name, (column.versions.get(name, "") for column in self._known))

    @property
    def differing(self) -> tuple[str, ...]:
        """Names that must agree and do not."""
        return tuple(name for name in MUST_AGREE if not self._agrees_on(name))

    @property
    def agrees(self) -> bool:
        """Whether all of these can work together, as far as it is known."""
        return not self.differing

    @property
    def rows(self) -> list[tuple[str, tuple[str, ...], str]]:
        """Name, version in each column, and the mark: what must agree, then what some column has."""
        shown = [name for name in SHOWN if any(name in column.versions for column in self.columns)]
        return [
            (
                name,
                tuple(self._cell(column, name) for column in self.columns),
                "" if self._agrees_on(name) else MUST if name in MUST_AGREE else MAY,
            )
            for name in (*MUST_AGREE, *shown)
        ]

    @staticmethod
    def _cell(column: Column, name: str) -> str:
        return column.versions.get(name, ABSENT if column.versions else "?")

    @property
    def notes(self) -> list[str]:
        return [f"{column.title}: {column.note}" for column in self.columns if column.note]

    def __str__(self) -> str:
        lines = [("", tuple(column.title for column in self.columns), ""), *self.rows]
        left = max(len(name) for name, _, _ in lines)
        widths = [max(len(line[1][index]) for line in lines) for index in range(len(self.columns))]
        text = []
        for name, cells, mark in lines:
            aligned = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
            text.append(f"  {name:<{left}}  {aligned}  {mark}".rstrip())
        return "\n".join([*text, *(f"  {note}" for note in self.notes), *self.remedy])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        # Colours that can be read on white and on black: only backgrounds, and those half transparent.
        line = "padding:0.15em 0.8em;text-align:left;border-bottom:1px solid rgba(128,128,128,0.35)"
        tints = {MUST: ";background:rgba(220,50,47,0.22)", MAY: ";background:rgba(200,150,0,0.14)", "": ""}
        titles = "".join(f'<th style="{line}">{escape(column.title)}</th>' for column in self.columns)
        rows = []
        for name, cells, mark in self.rows:
            weight = ";font-weight:bold" if mark == MUST else ""
            style = f'style="{line}{tints[mark]}{weight}"'
            body = "".join(f"<td {style}>{escape(cell)}</td>" for cell in (*cells, mark))
            rows.append(f'<tr><th scope="row" {style}>{escape(name)}</th>{body}</tr>')
        below = [*self.notes, *self.remedy]
        return (
            '<table style="border-collapse:collapse;margin:0.5em 0">'
            f'<thead><tr><th style="{line}"></th>{titles}<th style="{line}"></th></tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table>"
            + "".join(f'<div style="white-space:pre-wrap">{escape(text)}</div>' for text in below)
        )
