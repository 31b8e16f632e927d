"""The Kubernetes that the tests run against: of ``tests/kube``, or a person's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.support.waiting import eventually

RECIPE = Path(__file__).parents[1] / "kube" / "kube"
IN_SANDBOX = Path("/run/htcdask-kube-sandbox")
NODE_ADDRESS = "10.123.0.1"  # of the recipe's node; what listens there is reached from pods
BUSYBOX = "registry.local/busybox:1"  # on the recipe's node; its wget crashes, nc and httpd work


HOW = "Run `make test-kubernetes` as root on Debian 12, or set KUBECONFIG to a cluster for tests."


def unavailable(reason: str) -> NoReturn:
    """Skip for this reason, or fail if the caller wants these tests to run."""
    if "kubernetes" in os.environ.get("HTCDASK_REQUIRE", "").split(","):
        pytest.fail(f"HTCDASK_REQUIRE has kubernetes, but {reason}. {HOW}", pytrace=False)
    pytest.skip(f"{reason}. {HOW}")


class NoKubernetesError(Exception):
    """There is none here; holds why."""


@dataclass(frozen=True)
class Kubernetes:
    """A cluster that answers.

    Attributes
    ----------
    kubeconfig : Path
        With its administrator's rights; self-contained.
    own : bool
        It is the recipe's: pods have images that the tests give to its node, and no other.
    """

    kubeconfig: Path
    own: bool

    def kubectl(self, *arguments: str, text: str = "", deadline: float = 60) -> str:
        """Run kubectl; its standard output, all of its output in the error.

        Parameters
        ----------
        text : str
            Its standard input.
        """
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={self.kubeconfig}", *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=deadline,
            check=False,
        )
        if done.returncode:
            words = f"{done.stdout}\n{done.stderr}".strip()
            raise RuntimeError(f"kubectl {' '.join(arguments)} ended with {done.returncode}: {words}")
        return done.stdout

    def objects(self, kinds: str, namespace: str, *arguments: str) -> list[dict[str, Any]]:
        """Objects of these kinds, ``pods,services``, as they are."""
        found = self.kubectl("get", kinds, "-n", namespace, "-o", "json", *arguments)
        return list(json.loads(found)["items"])

    def images(self) -> set[str]:
        """Names of the images that the nodes say they have: a node says so every 10 s."""
        nodes = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        return {name for node in nodes for one in node["status"].get("images", ()) for name in one["names"]}

    def create_namespace(self, name: str, deadline: float = 30) -> None:
        """Make a namespace; pods are admitted once its service account is there, for which this waits."""
        self.kubectl("create", "namespace", name)
        self.wait_for_service_account(name, deadline)

    def wait_for_service_account(self, namespace: str, deadline: float = 30) -> None:
        def there() -> str:
            return self.kubectl("get", "serviceaccount", "default", "-n", namespace, "--ignore-not-found")

        eventually(f"service account of {namespace}", there, deadline)

    def uses(self, service_account: str, namespace: str) -> set[tuple[str, str, int]]:
        """What a service account has done, from the recipe's audit log: verb, resource, HTTP status."""
        log = Path(os.environ["HTCDASK_KUBE_STATE"], "log", "audit.log")
        user = f"system:serviceaccount:{namespace}:{service_account}"
        found = set()
        for event in map(json.loads, log.read_text().splitlines()):
            if event["user"]["username"] == user and (target := event.get("objectRef")):
                resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
                found.add((event["verb"], resource, int(event.get("responseStatus", {}).get("code", 0))))
        return found

    def token(self, service_account: str, namespace: str) -> str:
        """A bearer token of a service account, for an hour."""
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        answer = self.kubectl("create", "--raw", path, "-f", "-", text=json.dumps(request))
        return str(json.loads(answer)["status"]["token"])

    def kubeconfig_of(self, token: str, file: Path, namespace: str = "default") -> Path:
        """Write a kubeconfig for this cluster that has a token and nothing of the administrator's."""
        view = self.kubectl("config", "view", "--minify", "--flatten", "-o", "json")
        config = json.loads(view)
        config["users"] = [{"name": "bearer", "user": {"token": token}}]
        context = {"cluster": config["clusters"][0]["name"], "user": "bearer", "namespace": namespace}
        config["contexts"] = [{"name": "bearer", "context": context}]
        config["current-context"] = "bearer"
        file.write_text(json.dumps(config))
        file.chmod(0o600)
        return file

    def add_image(self, name: str, rootfs: Path) -> None:
        """Make a directory, or an uncompressed tar, an image of the recipe's node."""
        if not self.own:
            raise NoKubernetesError(f"{name} would have to be in a registry that this cluster can pull from")
        run_recipe("image", name, str(rootfs), deadline=300)


def run_recipe(*arguments: str, deadline: float = 120, **settings: str) -> str:
    """Run a command of the recipe; its standard output."""
    done = subprocess.run(
        [str(RECIPE), *arguments],
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=deadline,
        check=False,
    )
    if done.returncode:
        words = f"{done.stdout}{done.stderr}".strip()
        raise RuntimeError(f"kube {' '.join(arguments)} ended with {done.returncode}: {words}")
    return done.stdout


def find_kubernetes(environment: Mapping[str, str]) -> Kubernetes:
    """Give the cluster that ``KUBECONFIG`` names; only that, for tests change what they find."""
    named = environment.get("KUBECONFIG", "")
    if not named:
        raise NoKubernetesError("KUBECONFIG names no Kubernetes")
    if shutil.which("kubectl") is None:
        raise NoKubernetesError("kubectl is not in PATH")
    found = Kubernetes(Path(named), own=IN_SANDBOX.exists())
    try:
        found.kubectl("get", "--raw", "/readyz", deadline=30)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        raise NoKubernetesError(f"the Kubernetes of KUBECONFIG={named} does not answer: {error}") from error
    return found


@contextmanager
def running_apiserver(controllers: str = "") -> Iterator[tuple[Kubernetes, Callable[[str, str], None]]]:
    """Run an API server of the recipe by itself: nothing runs pods. No sandbox and no root is needed.

    Parameters
    ----------
    controllers : str
        Controllers beside it, such as ``serviceaccount,namespace,garbagecollector``.

    Yields
    ------
    Kubernetes, and a function that signals one of its processes: ``signal("apiserver", "STOP")``.
    """
    directory = Path(tempfile.mkdtemp(prefix="htcdask-apiserver-"))
    try:
        run_recipe("apiserver", "up", str(directory), HTCDASK_KUBE_CONTROLLERS=controllers)

        def signal(process: str, name: str) -> None:
            pid = (directory / f"{process}.pid").read_text().strip()
            subprocess.run(["kill", f"-{name}", pid], check=True)

        yield Kubernetes(directory / "kubeconfig", own=False), signal
    finally:
        run_recipe("apiserver", "down", str(directory))
