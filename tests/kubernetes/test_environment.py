"""What tests/kube/README.md claims of the cluster that the recipe makes."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.support.kubernetes import BUSYBOX, NODE_ADDRESS, Kubernetes
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def _own(kubernetes: Kubernetes) -> None:
    if not kubernetes.own:
        pytest.skip("this cluster is not of tests/kube")


def pod(name: str, script: str, **more: Any) -> str:
    container = {
        "name": "c", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", script],
        **more.pop("container", {}),
    }  # fmt: skip
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "restartPolicy": "Never",
                "containers": [container],
                **more,
            },
        }
    )


def seen(kubernetes: Kubernetes, namespace: str, name: str, words: str, deadline: float = 60) -> None:
    def there() -> bool:
        status = kubernetes.kubectl("get", "pod", name, "-n", namespace, "-o", "jsonpath={.status}")
        return words in status

    eventually(f"{words} in the status of {name}", there, deadline, 0.3)


def fetch(address: str, port: int) -> str:
    with socket.create_connection((address, port), timeout=2) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while block := connection.recv(4096):
            answer += block
    return answer.decode()


def test_a_pod_runs_with_a_secret_and_answers_at_its_service(kubernetes: Kubernetes, namespace: str) -> None:
    kubernetes.kubectl("create", "secret", "generic", "s", "--from-literal=word=hello", "-n", namespace)
    script = "mkdir /www; cat /secret/word > /www/index.html; exec httpd -f -p 8080 -h /www"
    mounted = {"volumeMounts": [{"name": "s", "mountPath": "/secret"}]}
    volumes = [{"name": "s", "secret": {"secretName": "s"}}]
    kubernetes.kubectl(
        "apply", "-n", namespace, "-f", "-", text=pod("web", script, container=mounted, volumes=volumes)
    )
    kubernetes.kubectl("expose", "pod", "web", "--port=80", "--target-port=8080", "-n", namespace)
    seen(kubernetes, namespace, "web", '"Running"')
    [service] = kubernetes.objects("services", namespace)

    def answer() -> str:
        try:
            return fetch(service["spec"]["clusterIP"], 80)
        except OSError:
            return ""

    assert "hello" in eventually("the service answers", answer, 20)


def test_a_pod_reaches_the_nodes_address_and_not_its_loopback(kubernetes: Kubernetes, namespace: str) -> None:
    with socket.create_server((NODE_ADDRESS, 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"from the node\n")

        threading.Thread(target=serve, daemon=True).start()
        script = f"nc -w 5 {NODE_ADDRESS} {port} </dev/null; nc -w 1 127.0.0.1 {port} || echo refused"
        kubernetes.kubectl("apply", "-n", namespace, "-f", "-", text=pod("p", script))
        seen(kubernetes, namespace, "p", '"Succeeded"')
    assert kubernetes.kubectl("logs", "p", "-n", namespace).split("\n")[0] == "from the node"
    assert "refused" in kubernetes.kubectl("logs", "p", "-n", namespace)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"container": {"image": "registry.local/none:1"}}, "ErrImageNeverPull"),
        ({"container": {"command": ["false"]}}, '"exitCode":1'),
        ({"nodeSelector": {"no": "such-node"}}, "Unschedulable"),
    ],
)
def test_what_goes_wrong_elsewhere_goes_wrong_here(
    kubernetes: Kubernetes, namespace: str, more: dict[str, Any], words: str
) -> None:
    kubernetes.kubectl("apply", "-n", namespace, "-f", "-", text=pod("p", "sleep 100", **more))
    seen(kubernetes, namespace, "p", words)


def test_quota_and_permissions_are_enforced(kubernetes: Kubernetes, namespace: str) -> None:
    kubernetes.kubectl("create", "quota", "q", "--hard=pods=0", "-n", namespace)

    def refused() -> bool:
        try:
            kubernetes.kubectl(
                "apply", "-n", namespace, "-f", "-", "--dry-run=server", text=pod("p", "sleep 1")
            )
        except RuntimeError as error:
            return "exceeded quota" in str(error)
        return False

    eventually("the quota is enforced", refused, 20)
    account = f"--as=system:serviceaccount:{namespace}:default"
    with pytest.raises(RuntimeError, match="cannot list resource"):
        kubernetes.kubectl("get", "secrets", "-n", namespace, account)


def test_an_image_of_a_directory(kubernetes: Kubernetes, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (tmp_path / "busybox").chmod(0o755)
    kubernetes.add_image("registry.local/mine:1", tmp_path)
    mine = {"image": "registry.local/mine:1", "command": ["/busybox", "echo", "of my own"]}
    kubernetes.kubectl("apply", "-n", namespace, "-f", "-", text=pod("p", "", container=mine))
    seen(kubernetes, namespace, "p", '"Succeeded"')
    assert kubernetes.kubectl("logs", "p", "-n", namespace) == "of my own\n"


def test_no_way_leads_out() -> None:
    with pytest.raises(OSError, match="unreachable"):
        socket.create_connection(("192.0.2.1", 80), timeout=2)


def test_namespaces_of_ordinary_accounts_reach_pods() -> None:
    """What Apptainer makes for a job that runs here."""
    command = ["runuser", "-u", "nobody", "--", "unshare", "--user", "--map-root-user", "--mount", "--pid"]
    done = subprocess.run(
        [*command, "--fork", "--mount-proc", "sh", "-c", "echo $$; curl -sk https://10.96.0.1/version"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout.startswith("1\n")
    assert '"gitVersion": "v1.20' in done.stdout
