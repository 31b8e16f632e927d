"""What the documentation names is there: pages, sections, pictures, settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from dask_gateway_server.app import DaskGateway
from dask_gateway_server.auth import JupyterHubAuthenticator
from dask_gateway_server.proxy.core import Proxy
from traitlets.config import Configurable

from htcdaskgateway.launchers.kubernetes import KubernetesLauncher
from htcdaskgateway.launchers.local import LocalLauncher
from htcdaskgateway.server import HTCondorBackend
from htcdaskgateway.server.condor_access import HTCondorAccess
from htcdaskgateway.server.traits import HTCondorClusterConfig

ROOT = Path(__file__).parents[2]
GUIDE = sorted((ROOT / "docs/guide").glob("*.md"))
PARTS = ("benchmarks", "deploy", "docs", "examples", "tests")
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(page for part in PARTS for page in sorted((ROOT / part).rglob("*.md"))),
]
NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))
FIRST = [ROOT / "docs/index.md", ROOT / "README.md"]
ARCHITECTURE = ROOT / "docs/explanation/architecture.md"

_CODE = re.compile(r"^(```+).*?^\1$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_SETTING = re.compile(r"\bc\.([A-Z]\w+)\.([a-z]\w*)")

BACKEND: Any = HTCondorBackend
CONFIGURED: dict[str, type[Configurable]] = {
    "DaskGateway": DaskGateway,
    "Backend": BACKEND,
    "HTCondorBackend": BACKEND,
    "ClusterConfig": HTCondorClusterConfig,
    "HTCondorClusterConfig": HTCondorClusterConfig,
    "HTCondorAccess": HTCondorAccess,
    "JupyterHubAuthenticator": JupyterHubAuthenticator,
    "KubernetesLauncher": KubernetesLauncher,
    "LocalLauncher": LocalLauncher,
    "Proxy": Proxy,
}
OF_OTHERS = {"JupyterHub", "Spawner"}  # which is not installed for these tests


def prose(page: Path) -> str:
    return _CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The names that a page's headings have on GitHub and in MyST."""
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(page)))
    return {heading.strip().replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Files of the project that a page links to, each with the section."""
    for link in _LINK.findall(prose(page)):
        if not re.match(r"[a-z]+:", link):
            target, _, section = link.partition("#")
            yield ((page.parent / target).resolve() if target else page), section


def broken(page: Path) -> list[str]:
    return [
        f"{target}#{section}"
        for target, section in links(page)
        if not target.is_relative_to(ROOT)
        or not target.exists()
        or (section and section not in anchors(target))
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_links_of_notebooks_lead_somewhere(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    files = [link.partition("#")[0] for link in _LINK.findall(text) if not re.match(r"[a-z]+:", link)]
    assert text
    assert [file for file in files if not (notebook.parent / file).exists()] == []


def test_a_broken_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "a.md"
    page.write_text(
        "# Of `me`, and you\n[1](b.md) [2](#no) [3](#of-me-and-you) [4](../x) [5](https://x.org/y)\n"
    )
    assert [one.rpartition("/")[2] for one in broken(page)] == ["b.md#", "a.md#no", "x#"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pictures_are_described(page: Path) -> None:
    assert [path for words, path in _PICTURE.findall(prose(page)) if len(words.split()) < 4] == []


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.name)
def test_each_page_of_the_guide_is_linked_from_the_first_one(page: Path) -> None:
    assert page in {target for first in FIRST for target, _ in links(first)}


@pytest.mark.parametrize(
    "title",
    [
        "How it works", "Logging in", "Using the default image", "Using another image",
        "Using another registry", "Shutting down", "What it can do", "When versions do not match",
        "Credentials", "Logs and the sandbox", "After a kernel restart", "Watching workers come",
        "Migrating from htcdaskgateway 0.1.25",
        "The three images", "My workers stay idle", "More memory or cores per worker",
        "Send my own code and files", "Use a GPU", "Run longer than my X.509 proxy", "Analyse NanoAOD",
        "Use it from a script", "Connect from another machine", "JupyterHub and JupyterLab",
        "Example notebooks",
    ],
)  # fmt: skip
def test_the_guide_has_this_page(title: str) -> None:
    assert f"# {title}" in [page.read_text(encoding="utf-8").partition("\n")[0] for page in GUIDE]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_of_the_gateway_exist(page: Path) -> None:
    named = set(_SETTING.findall(page.read_text(encoding="utf-8")))
    unknown = [
        f"c.{of}.{name}"
        for of, name in named
        if of not in OF_OTHERS
        if of not in CONFIGURED or name not in CONFIGURED[of].class_traits(config=True)
    ]
    assert unknown == []


def modules_named(text: str) -> Iterator[str]:
    """Paths in the first column of tables of modules, below the package."""
    for header, rows in re.findall(
        r"^\| module([^|\n]*)\|[^\n]*\n\|---[^\n]*\n((?:\|[^\n]*\n)+)", text, re.MULTILINE
    ):
        base = "".join(re.findall(r"`([\w/]+/)`", header))
        for row in rows.splitlines():
            folder = base
            for name in re.findall(r"`([\w/]+(?:\.py|/))`", row.split("|")[1]):
                if "/" in name.rstrip("/"):
                    folder = base + name.rpartition("/")[0] + "/"
                    yield base + name
                else:
                    yield base + name if name.endswith("/") else folder + name


def test_modules_of_the_architecture_exist() -> None:
    named = list(modules_named(ARCHITECTURE.read_text(encoding="utf-8")))
    package = ROOT / "src/htcdaskgateway"
    assert len(named) > 40
    assert [name for name in named if not (package / name).exists()] == []


def test_modules_are_found_in_a_table() -> None:
    table = "| module of `a/b/` | what |\n|---|---|\n| `c.py`, `d/e.py`, `f.py` | x |\n| `g.py` | `h.py` |\n"
    assert list(modules_named(table)) == ["a/b/c.py", "a/b/d/e.py", "a/b/d/f.py", "a/b/g.py"]


def keys(mapping: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in mapping.items():
        yield from keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]


def table(header: str) -> set[str]:
    """Names in the first column of the architecture's table with this header."""
    _, _, rest = ARCHITECTURE.read_text(encoding="utf-8").partition(f"| `{header}` |")
    rows, _, _ = rest.partition("\n\n")
    return {name for row in rows.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_settings_of_the_session_are_all_in_the_table() -> None:
    defaults = (files("htcdaskgateway") / "htcdaskgateway.yaml").read_text(encoding="utf-8")
    assert table("htcdaskgateway.") == set(keys(yaml.safe_load(defaults)["htcdaskgateway"]))


@pytest.mark.parametrize(
    ("header", "kind"), [("c.HTCondorBackend.", BACKEND), ("c.HTCondorAccess.", HTCondorAccess)]
)
def test_settings_in_the_tables_exist(header: str, kind: Any) -> None:
    named = table(header)
    assert len(named) > 3
    assert named <= set(kind.class_traits(config=True))
