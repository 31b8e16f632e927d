"""The admin guide and the sites' pages: links lead somewhere, and what is to be pasted is taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.examples.chart import images, notes, render
from tests.unit.examples.gateway_files import no_strangers
from traitlets.config import Config

from htcdaskgateway.launchers.kubernetes import KubernetesLauncher
from htcdaskgateway.launchers.kubernetes.permissions import RULES
from htcdaskgateway.launchers.local import LocalLauncher
from htcdaskgateway.server import HTCondorBackend
from htcdaskgateway.server.condor_access import HTCondorAccess
from htcdaskgateway.server.traits import HTCondorClusterConfig

ROOT = Path(__file__).parents[3]
ADMIN = ROOT / "docs" / "admin"
PAGES = [*sorted(ADMIN.glob("*.md")), *sorted((ROOT / "examples" / "sites").glob("*/README.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
KUBERNETES = ADMIN / "install-kubernetes.md"
EAF = ROOT / "examples" / "sites" / "eaf-like"
MINIMUM = {"image": {"name": "registry.example.org/htcdaskgateway"}}


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in FENCE.findall(page.read_text()) if found == language]


def anchors(page: Path) -> set[str]:
    """Of its headings, as the forges make them."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(link)
    assert not dead


@pytest.mark.parametrize("page", sorted(ADMIN.glob("*.md")), ids=lambda page: page.stem)
def test_the_chart_takes_the_values(page: Path) -> None:
    for text in blocks(page, "yaml"):
        if not text.startswith("# "):  # it names the file that it is for
            assert render({**MINIMUM, **yaml.safe_load(text)})


@pytest.mark.parametrize("page", sorted(ADMIN.glob("*.md")), ids=lambda page: page.stem)
def test_the_gateway_knows_the_settings(page: Path) -> None:
    classes: list[Any] = [
        HTCondorBackend, HTCondorAccess, HTCondorClusterConfig, LocalLauncher, KubernetesLauncher,
    ]  # fmt: skip
    for text in blocks(page, "python"):
        config = Config()
        code = compile(text, str(page), "exec")
        if "c." in text and "HTCGateway" not in text and "JupyterHub" not in text:
            exec(code, {"c": config})
            no_strangers(config, classes)


@pytest.mark.parametrize("page", sorted(ADMIN.glob("*.md")), ids=lambda page: page.stem)
def test_settings_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`c\.(\w+)\.(\w+)", page.read_text())
    known = {
        cls.__name__: cls for cls in (HTCondorBackend, HTCondorAccess, HTCondorClusterConfig, LocalLauncher)
    }
    known["KubernetesLauncher"] = KubernetesLauncher
    strangers = [
        f"c.{name}.{trait}"
        for name, trait in named
        if name in known and trait not in known[name].class_trait_names(config=True)
    ]
    assert not strangers


def least() -> dict[str, Any]:
    """The values that the page begins with."""
    found: dict[str, Any] = yaml.safe_load(blocks(KUBERNETES, "yaml")[0])
    return found


def block_of(page: Path, first: str) -> Any:
    """The settings that a page shows for another file, which their first line names."""
    [found] = [text for text in blocks(page, "yaml") if text.startswith(first)]
    return yaml.safe_load(found)


@pytest.mark.parametrize(
    ("page", "values"),
    [(KUBERNETES, least()), (ADMIN / "install-okd.md", yaml.safe_load((EAF / "values.yaml").read_text()))],
    ids=["kubernetes", "okd"],
)
def test_what_was_pushed_is_what_pods_ask_for(page: Path, values: dict[str, Any]) -> None:
    """A registry may have one name for who pushes and another for who pulls; the rest is the same."""
    [pushed] = re.findall(r"^\$ podman push (\S+)$", page.read_text(), re.MULTILINE)
    asked = images(render(values))
    assert {image.partition("/")[2] for image in asked} == {pushed.partition("/")[2]}
    assert f" -t {pushed} " in page.read_text()


def test_helm_ends_with_what_the_page_shows() -> None:
    [shown] = [text for text in blocks(KUBERNETES, "console") if "helm " in text and "NOTES:" in text]
    assert shown.partition("NOTES:\n")[2].strip() == notes(least())


def test_notebooks_are_told_where_the_gateway_is() -> None:
    told = block_of(KUBERNETES, "# /etc/dask/gateway.yaml")
    assert yaml.safe_load(notes(least()).partition("/etc/dask/gateway.yaml:\n")[2]) == told
    [ingress] = [one for one in render(least()) if one["kind"] == "Ingress"]
    [host] = ingress["spec"]["tls"][0]["hosts"]
    assert told["gateway"]["address"] == f"https://{host}"
    assert told["gateway"]["proxy-address"] == f"gateway://{least()['proxy']['publicAddress']}"


def test_the_hub_gives_notebooks_the_scope() -> None:
    """As in the example, which JupyterHub's own code is asked about."""
    told = block_of(KUBERNETES, "# values of JupyterHub's chart")["hub"]
    example = yaml.safe_load((EAF / "hub-values.yaml").read_text())["hub"]
    assert told == {name: example[name] for name in told}
    assert set(told) == {"services", "loadRoles"}
    assert "dask-gateway" in told["services"]


def test_helm_warns_of_tokens_in_the_clear() -> None:
    assert "in the clear" not in notes(least())
    assert "in the clear" in notes({"ingress": {"enabled": True, "host": "dask.example.org"}})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_files_of_this_repository_are_named_from_its_top(page: Path) -> None:
    """In one directory all along."""
    shown = [
        word
        for block in blocks(page, "console")
        for word in re.findall(r"(?:-f |--from-file=)([\w./-]+)", block)
    ]
    missing = [word for word in shown if word not in ("-", "values.yaml") and not (ROOT / word).exists()]
    assert not missing


def test_the_permissions_shown_are_those_that_the_gateway_asks_for() -> None:
    shown = re.findall(
        r"^([\w/]+) +\[\] +\[\] +\[([a-z ]+)\]$", (ADMIN / "install-kubernetes.md").read_text(), re.M
    )
    assert {(verb, resource) for resource, verbs in shown for verb in verbs.split()} == set(RULES)
