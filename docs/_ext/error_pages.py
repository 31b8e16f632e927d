"""A page for each error of the package: its head comes from the class, cause and remedy are written by hand.

As a Sphinx extension it warns, and so ends the build, where a page is missing or is not what the class is.
`python -m docs._ext.error_pages`, from the root of the clone, writes what can be written.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs._ext.error_examples import EXAMPLES

import htcdaskgateway
from htcdaskgateway.credentials.errors import CredentialError
from htcdaskgateway.errors import CondorError, HTCDaskError
from htcdaskgateway.launchers.kubernetes.errors import KubernetesError

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGES = Path(__file__).parents[1] / "errors"
PROSE = "## Cause\n"
EMPTY = "\n(to be written)\n\n## What to do\n\n(to be written)\n"
INDEX = """# Error messages

A message is one sentence, what was seen, and what to do. Each has a page: look for its class or its sentence.
All are classes below [`HTCDaskError`](HTCDaskError.md): `except HTCDaskError` catches every one.

```{toctree}
:hidden:
:glob:
*
```
"""


def modules() -> Iterator[str]:
    """Names of all modules that are there to be imported."""
    for module in pkgutil.walk_packages(htcdaskgateway.__path__, "htcdaskgateway."):
        if not module.name.endswith(".__main__"):
            yield module.name


def classes() -> list[type[HTCDaskError]]:
    """Give the errors of the package."""
    found: dict[str, type[HTCDaskError]] = {}
    for name in modules():
        for kind in vars(importlib.import_module(name)).values():
            if inspect.isclass(kind) and issubclass(kind, HTCDaskError) and kind.__module__ == name:
                found[kind.__name__] = kind
    return [found[name] for name in sorted(found)]


def head(error: HTCDaskError) -> str:
    """Write the page down to what is written by hand."""
    kind = type(error)
    summary = (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("``", "`")
    above = [f"`{one.__name__}`" for one in kind.__mro__[1:] if one not in (Exception, BaseException, object)]
    caught = f", and is caught as {', '.join(above)} too" if above else ""
    return (
        f"# {kind.__name__}\n\n{summary}\n\n```text\n{kind.__name__}: {error}\n```\n\n"
        f"It is `{kind.__module__}.{kind.__name__}`{caught}.\n\n"
    )


def page(error: HTCDaskError, now: str = "") -> str:
    """Write a page anew, with the prose that it has."""
    return head(error) + PROSE + (now.partition(PROSE)[2] or EMPTY)


def group(kind: type[HTCDaskError]) -> str:
    below = {CondorError: "HTCondor", CredentialError: "Credentials", KubernetesError: "Kubernetes"}
    for base, title in below.items():
        if issubclass(kind, base):
            return title
    within = {"images": "Images and versions", "versions": "Images and versions", "demo": "The demo"}
    return within.get(kind.__module__.split(".")[1], "Gateway and clusters")


def index(examples: Iterable[HTCDaskError]) -> str:
    """Write the page that lists them by what they are about."""
    titles = [
        "Gateway and clusters",
        "Images and versions",
        "Credentials",
        "HTCondor",
        "Kubernetes",
        "The demo",
    ]
    lines = {title: [f"\n## {title}\n\n"] for title in titles}
    for error in examples:
        name = type(error).__name__
        lines[group(type(error))].append(f"- [{name}]({name}.md): `{error.sentence}`\n")
    return INDEX + "".join(line for title in titles for line in lines[title])


def wanted(examples: Iterable[HTCDaskError], directory: Path = PAGES) -> dict[Path, str]:
    """Give each page as it should be, by its path."""
    examples = list(examples)
    pages = {}
    for error in examples:
        path = directory / f"{type(error).__name__}.md"
        pages[path] = page(error, path.read_text(encoding="utf-8") if path.exists() else "")
    return {**pages, directory / "index.md": index(examples)}


def complaints(
    kinds: Iterable[type[HTCDaskError]], examples: Iterable[HTCDaskError], directory: Path = PAGES
) -> list[str]:
    """Say what is not as it should be: one sentence each."""
    examples = list(examples)
    shown = {type(error).__name__ for error in examples}
    said = [
        f"{kind.__module__}.{kind.__name__} has no example in docs/_ext/error_examples.py."
        for kind in kinds
        if kind.__name__ not in shown
    ]
    pages = wanted(examples, directory)
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            said.append(f"docs/errors/{path.name} is not what the class is now: scripts/docs --write.")
        elif EMPTY in text or (path.name != "index.md" and "\n## What to do\n" not in text):
            said.append(f"docs/errors/{path.name} does not say what to do.")
    said += [
        f"docs/errors/{path.name} is of no error that there is."
        for path in sorted(directory.glob("*.md"))
        if path not in pages
    ]
    return said


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at the pages before they are read."""
    from sphinx.util import logging

    def check(_: Sphinx) -> None:
        for said in complaints(classes(), EXAMPLES):
            logging.getLogger(__name__).warning(said)

    app.connect("builder-inited", check)
    return {"parallel_read_safe": True}


def main() -> None:
    for path, text in wanted(EXAMPLES).items():
        path.write_text(text, encoding="utf-8")
    sys.stdout.writelines(f"{one}\n" for one in complaints(classes(), EXAMPLES))


if __name__ == "__main__":
    main()
