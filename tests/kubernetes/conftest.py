"""A real Kubernetes, for the tests in this directory; `scripts/test-kubernetes` makes one around pytest.

``KUBECONFIG`` names it. Where there is none, or something in it is missing, these tests skip and say why;
``HTCDASK_REQUIRE=kubernetes`` makes failures of those skips.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.kubernetes import Kubernetes, NoKubernetesError, find_kubernetes, unavailable

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.kubernetes)


@pytest.fixture(scope="session")
def kubernetes() -> Kubernetes:
    """The cluster, or a skip."""
    try:
        return find_kubernetes(os.environ)
    except NoKubernetesError as error:
        unavailable(str(error))


@pytest.fixture
def namespace(kubernetes: Kubernetes, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own; what is in it shows if the test fails."""
    name = f"htcdask-test-{uuid.uuid4().hex[:8]}"
    kubernetes.create_namespace(name)
    failed = request.session.testsfailed
    try:
        yield name
        if request.session.testsfailed > failed:
            print(kubernetes.kubectl("get", "all,events", "-n", name))  # noqa: T201
    finally:
        kubernetes.kubectl("delete", "namespace", name, "--wait=false")
