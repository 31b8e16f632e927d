"""The admin guide and the sites' pages: links lead somewhere, and what is to be pasted is taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.examples.chart import render
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


def test_the_permissions_shown_are_those_that_the_gateway_asks_for() -> None:
    shown = re.findall(
        r"^([\w/]+) +\[\] +\[\] +\[([a-z ]+)\]$", (ADMIN / "install-kubernetes.md").read_text(), re.M
    )
    assert {(verb, resource) for resource, verbs in shown for verb in verbs.split()} == set(RULES)
