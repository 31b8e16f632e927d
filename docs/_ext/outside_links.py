"""Links from the pages to files beside ``docs``, which readers on GitHub follow: here their path is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGES = Path(__file__).resolve().parents[1]
CLONE = PAGES.parent


def outside(page: Path, target: str) -> str:
    """Give the path, from the clone's root, of what is beside ``docs`` and a link leads to; else nothing.

    MyST gives targets as they are written; of Markdown files the absolute path, without its ending.
    """
    path = target.partition("#")[0]
    if not path or "://" in path:
        return ""
    for found in ((page.parent / path).resolve(), (page.parent / f"{path}.md").resolve()):
        if found.exists() and found.is_relative_to(CLONE) and not found.is_relative_to(PAGES):
            return str(found.relative_to(CLONE))
    return ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Take such links away before they are looked up."""
    from sphinx import addnodes

    def shorten(_: Sphinx, doctree: nodes.document) -> None:
        page = Path(str(doctree["source"]))
        for link in [*doctree.findall(addnodes.pending_xref), *doctree.findall(addnodes.download_reference)]:
            if path := outside(page, str(link.get("reftarget", ""))):
                shown: list[nodes.Node] = [nodes.literal("", path)]
                if link.astext() not in path:
                    shown = [nodes.Text(f"{link.astext()} ("), *shown, nodes.Text(")")]
                link.replace_self(shown)

    app.connect("doctree-read", shorten, priority=100)
    return {"parallel_read_safe": True}
