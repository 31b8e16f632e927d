"""Renders the chart with a site's values, with Helm's own library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[3] / "deploy" / "helm" / "htcdaskgateway"


def _texts(values: dict[str, Any], release: str) -> dict[str, str]:
    helm = pytest.importorskip("helm_python", reason="helm-python-sdk is not for this machine")
    with helm.Chart.load(CHART) as chart:
        made: dict[str, str] = chart.render(values=values, name=release, namespace="dask-gateway")
    return made


def notes(values: dict[str, Any], release: str = "htcdaskgateway") -> str:
    """What Helm says at the end."""
    return _texts(values, release)["htcdaskgateway/templates/NOTES.txt"].strip()


def images(manifests: list[dict[str, Any]]) -> set[str]:
    """What the pods of the release run."""
    pods = [one["spec"]["template"]["spec"] for one in manifests if one["kind"] == "Deployment"]
    return {container["image"] for pod in pods for container in pod["containers"]}


def render(values: dict[str, Any], release: str = "htcdaskgateway") -> list[dict[str, Any]]:
    """Manifests; HelmError where the values' schema refuses them."""
    made = _texts(values, release)
    texts = [text for file, text in made.items() if file.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def gateway_config(manifests: list[dict[str, Any]], place: Path) -> Path:
    """Write what the gateway reads; its paths are those below ``place``."""
    [config] = [one for one in manifests if one["kind"] == "ConfigMap"]
    for name, text in config["data"].items():
        here = text.replace("/etc/htcdaskgateway", str(place))
        (place / name).write_text(here.replace("/run/secrets/htcdaskgateway", str(place)))
    for name in ("proxy-token", "jupyterhub-token", "encryption-keys"):
        (place / name).write_text("A" * 43 + "=\n")
    return place / "dask_gateway_config.py"
