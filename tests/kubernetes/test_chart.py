"""The chart on a real Kubernetes, with the image of deploy/Containerfile."""

from __future__ import annotations

import base64
import os
import re
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.config
import pytest
from dask_gateway import BasicAuth, Gateway, GatewayCluster, JupyterHubAuth
from helm_python import Config
from tests.kubernetes.conftest import REGISTRY, REPOSITORY
from tests.support.chart import CHART, COMBINATIONS, RELEASE
from tests.support.console import commands, run
from tests.support.hub import CLOSED, OPEN, running_hub
from tests.support.kubernetes import NODE_ADDRESS, Kubernetes, unavailable
from tests.support.pool import Pool
from tests.support.postgres import NoPostgresError, running_postgres
from tests.support.sessions import people_submit
from tests.support.waiting import eventually

from htcdaskgateway import HTCGateway
from htcdaskgateway.errors import AuthenticationError
from htcdaskgateway.launchers.kubernetes.permissions import RULES

IMAGE, TAG = "registry.local/htcdaskgateway", "test"  # as `kube gateway-image` names it
ACCOUNT = f"{RELEASE}-htcdaskgateway"
GATEWAY, PROXY, SCHEDULER = (f"{ACCOUNT}-{part}" for part in ("gateway", "proxy", "scheduler"))
STATE_OWNER = 65532  # uid of the image
STATE = "/var/lib/htcdaskgateway/state"

# Several tests share a node.
FEW_CORES = {"name": "scheduler", "resources": {"requests": {"cpu": "100m"}}}
ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "admin" / "backup-and-keys.md"
ARCHIVE = re.compile(r"htcdaskgateway-\d{8}T\d{6}Z\.tar\.gz")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
def image(kubernetes: Kubernetes) -> None:
    """The node has the gateway's image, or a skip. scripts/test-kubernetes has loaded it."""
    if not kubernetes.own:
        unavailable(f"{IMAGE}:{TAG} is in no registry that this cluster can pull from")
    try:
        eventually("image", lambda: f"{IMAGE}:{TAG}" in kubernetes.images(), 40, 1)
    except TimeoutError:
        unavailable(f"the node has no {IMAGE}:{TAG} (tests/kube/kube gateway-image, and load)")


@pytest.mark.parametrize("values", COMBINATIONS.values(), ids=COMBINATIONS.keys())
def test_the_api_server_takes_every_manifest(
    kubernetes: Kubernetes, namespace: str, values: dict[str, Any]
) -> None:
    if "namespace" in values.get("schedulers", {}):
        values = {**values, "schedulers": {**values["schedulers"], "namespace": namespace}}
    with Config(kubeconfig_path=str(kubernetes.kubeconfig), namespace=namespace) as helm:
        # Without a Route, which is OKD's: tests/unit/deploy holds it against OKD's API.
        plain = {name: value for name, value in values.items() if name != "route"}
        release = helm.install(str(CHART), RELEASE, plain, namespace=namespace, dry_run="server")
    manifests = release["manifest"]
    said = kubernetes.kubectl("apply", "--dry-run=server", "-n", namespace, "-f", "-", text=manifests)
    assert said.count("(server dry run)") == manifests.count("\nkind: ")


class Site:
    """A release of the chart, as an admin and a user of the site see it."""

    def __init__(self, kubernetes: Kubernetes, helm: Config, namespace: str, address: str) -> None:
        self.kubernetes, self.helm, self.namespace = kubernetes, helm, namespace
        self.values: dict[str, Any] = {
            "image": {"name": IMAGE, "tag": TAG, "pullPolicy": "Never"},
            "gateway": {
                "internalUrl": f"http://{address}:8000",
                "service": {"clusterIP": address},
                "auth": {"type": "simple"},
                "config": {
                    "HTCondorBackend": {
                        "image": f"{IMAGE}:{TAG}", "check_versions": "off", "db_cleanup_period": 1,
                        "cluster_status_period": 1,
                    },
                    "KubernetesLauncher": {"image_pull_patience": 2, "stop_grace": 1},
                },
            },
            "schedulers": {
                "address": "cluster-ip", "imagePullPolicy": "Never", "memory": {"request": "512M"},
                "podTemplate": {"spec": {"containers": [FEW_CORES]}},
            },
            "schedulerService": {"type": "ClusterIP"},
            "proxy": {"publicAddress": "dask.example.org:8786"},
        }  # fmt: skip

    def install(self, how: str = "install", **more: Any) -> None:
        self.values.update(more)
        action = {"install": self.helm.install, "upgrade": self.helm.upgrade}[how]
        action(str(CHART), RELEASE, self.values, namespace=self.namespace)
        for deployment in (GATEWAY, PROXY):
            self.kubectl("rollout", "status", f"deployment/{deployment}", "--timeout=120s", deadline=130)

    def kubectl(self, *arguments: str, deadline: float = 60) -> str:
        return self.kubernetes.kubectl("-n", self.namespace, *arguments, deadline=deadline)

    def pods(self, component: str) -> set[str]:
        """Uids of the pods of a part that are to stay."""
        found = self.kubernetes.objects(
            "pods", self.namespace, f"--selector=app.kubernetes.io/component={component}"
        )
        return {p["metadata"]["uid"] for p in found if "deletionTimestamp" not in p["metadata"]}

    def log(self) -> str:
        return self.kubectl("logs", f"deployment/{GATEWAY}", "--all-containers")

    def logs(self) -> str:
        selector = "--selector=app.kubernetes.io/instance=dask"
        return self.kubectl("logs", selector, "--all-containers", "--prefix", "--tail=80", "--ignore-errors")

    def address(self, service: str) -> str:
        return self.kubectl("get", "service", service, "-o", "jsonpath={.spec.clusterIP}")

    def client(self, user: str = "analyst") -> Gateway:
        eventually("the gateway answers", self.answers, 60)
        return Gateway(
            f"http://{self.address(PROXY)}",
            proxy_address=f"gateway://{self.address(SCHEDULER)}:8786",
            auth=BasicAuth(user),
        )

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address(PROXY)}/api/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def volume(kubernetes: Kubernetes, namespace: str, tmp_path: Path) -> Iterator[None]:
    """A volume for the release's claim, and no other: a directory of this machine.

    Of kind ``local``: of a ``hostPath`` the kubelet leaves groups and modes alone, as of no other storage.
    """
    [node] = [one["metadata"]["name"] for one in kubernetes.objects("nodes", namespace)]
    tmp_path.chmod(0o711)
    directory = tmp_path / "state"
    directory.mkdir()
    os.chown(directory, STATE_OWNER, 0)
    for parent in directory.parents[:4]:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    manifest = f"""
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {namespace}}}
spec:
  capacity: {{storage: 5Gi}}
  accessModes: [ReadWriteOnce]
  claimRef: {{namespace: {namespace}, name: {ACCOUNT}-state}}
  local: {{path: {directory}}}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{node}]}}]
"""
    kubernetes.kubectl("apply", "-f", "-", text=manifest)
    yield
    kubernetes.kubectl("delete", "persistentvolume", namespace, "--wait=false")


@pytest.fixture
def site(
    kubernetes: Kubernetes, namespace: str, image: None, volume: None, request: pytest.FixtureRequest
) -> Iterator[Site]:
    address = f"10.96.201.{uuid.uuid4().int % 200 + 10}"
    with Config(kubeconfig_path=str(kubernetes.kubeconfig), namespace=namespace) as helm:
        found = Site(kubernetes, helm, namespace, address)
        failed = request.session.testsfailed
        yield found
        if request.session.testsfailed > failed:
            print(found.logs())  # noqa: T201 - for a test that failed
        helm.uninstall(RELEASE, timeout=60, ignore_not_found=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mismatched versions")  # the patch level of Python
def test_a_cluster_lives_through_an_upgrade_and_every_permission_is_used(
    site: Site, kubernetes: Kubernetes
) -> None:
    site.install()
    with site.client() as gateway:
        with pytest.raises(Exception, match="failed to start"):
            gateway.new_cluster(image=f"{IMAGE}:none")
        cluster: GatewayCluster = gateway.new_cluster(shutdown_on_close=False)
        with cluster.get_client(set_as_default=False) as client:
            assert client.run_on_scheduler(os.getuid) == 1000
            before = {part: site.pods(part) for part in ("gateway", "gateway-proxy", "scheduler")}
            assert all(len(pods) == 1 for pods in before.values())

            site.values["gateway"]["loglevel"] = "DEBUG"
            site.install("upgrade")
            after = {part: site.pods(part) for part in before}
            assert after["gateway"] != before["gateway"]
            assert after["gateway-proxy"] == before["gateway-proxy"]
            assert after["scheduler"] == before["scheduler"]
            assert client.run_on_scheduler(os.getuid) == 1000  # the connection has not been cut
        eventually("the gateway answers", site.answers, 60)
        assert [report.name for report in gateway.list_clusters()] == [cluster.name]
        gateway.stop_cluster(cluster.name)
        eventually("no scheduler", lambda: not site.pods("scheduler"), 60)
        cluster.close()
        other = gateway.new_cluster(shutdown_on_close=False)
        site.kubectl("delete", "pod", "--selector=app.kubernetes.io/component=scheduler")
        eventually("the cluster has failed", lambda: not gateway.list_clusters(), 60)
        other.close()
    selector = "--selector=app.kubernetes.io/managed-by=htcdaskgateway"
    eventually(
        "nothing left",
        lambda: not kubernetes.objects("pods,services,secrets", site.namespace, selector),
        60,
    )

    done = kubernetes.uses(ACCOUNT, site.namespace)
    asked = {(verb, resource) for verb, resource, _ in done if resource != "selfsubjectaccessreviews"}
    assert asked <= set(RULES), "the gateway asked for more than the chart permits"
    # Asked for only where a service has lost its secret: tests/kubernetes/test_launcher_api.py
    seldom = {("delete", "services")}
    assert set(RULES) - seldom <= asked, "the chart permits what the gateway never asked for"
    assert not [one for one in done if one[2] == 403]


@pytest.mark.slow
def test_the_state_is_the_gateways_alone_at_every_start(site: Site) -> None:
    site.install()
    look = f"cd {STATE}; stat -c '%A %u %n' . keys gateway.sqlite"
    before = site.kubectl("exec", f"deployment/{GATEWAY}", "--", "sh", "-c", look)
    for times in range(2):
        # As a kubelet has it whose driver knows no fsGroupChangePolicy: the second time by hand.
        if times:
            opened = f"chmod -R g+rwX {STATE}"
            site.kubectl("exec", f"deployment/{GATEWAY}", "--", "sh", "-c", opened)
        site.kubectl("rollout", "restart", f"deployment/{GATEWAY}")
        site.kubectl("rollout", "status", f"deployment/{GATEWAY}", "--timeout=120s", deadline=130)
        assert site.kubectl("exec", f"deployment/{GATEWAY}", "--", "sh", "-c", look) == before
    assert [line[4:] for line in before.splitlines()] == [
        f"--S--- {STATE_OWNER} .", f"------ {STATE_OWNER} keys", f"------ {STATE_OWNER} gateway.sqlite",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mismatched versions")  # the patch level of Python
def test_a_backup_is_made_and_restored_as_the_guide_says(site: Site, tmp_path: Path) -> None:
    ours = {
        "-n dask-gateway": f"-n {site.namespace}",
        "htcdaskgateway-gateway": GATEWAY,
        "htcdaskgateway-state": f"{ACCOUNT}-state",
        "registry.example.org/htcdaskgateway:1.0.0": f"{IMAGE}:{TAG}",
    }
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {**os.environ, "KUBECONFIG": str(site.kubernetes.kubeconfig)}
    archive = ""

    def follow(part: str) -> None:
        nonlocal archive
        for theirs, our in ours.items():
            part = part.replace(theirs, our)
        for shown in commands(part):
            command = ARCHIVE.sub(archive, shown) if archive else shown
            said = run(command, tmp_path, environment, 130)
            print(f"$ {command}\n{said}")  # noqa: T201 - what the page shows
            archive = archive or Path(said.strip()).name

    backup, _, restore = GUIDE.read_text().partition("## Restore")
    site.install()
    with site.client() as gateway:
        kept: GatewayCluster = gateway.new_cluster(shutdown_on_close=False)
        [before] = site.pods("scheduler")
        follow(backup)
        assert ARCHIVE.fullmatch(archive)
        later = gateway.new_cluster(shutdown_on_close=False)
        with kept.get_client(set_as_default=False) as client:
            follow(restore)
            eventually("the gateway answers", site.answers, 60)
            assert [report.name for report in gateway.list_clusters()] == [kept.name]
            eventually("only the scheduler that is known", lambda: site.pods("scheduler") == {before}, 60)
            assert client.run_on_scheduler(os.getuid) == 1000  # nobody has noticed
        gateway.stop_cluster(kept.name)
        eventually("no scheduler", lambda: not site.pods("scheduler"), 60)
        for cluster in (kept, later):
            cluster.close()


@pytest.mark.slow
def test_with_an_external_postgresql_nothing_is_lost_with_the_pod(site: Site) -> None:
    keys = f"--from-literal=keys={base64.b64encode(os.urandom(32)).decode()}"
    try:
        with running_postgres("postgres", NODE_ADDRESS) as server:
            url = f"--from-literal=url={server.listen_url(uuid.uuid4().hex)}"
            site.kubectl("create", "secret", "generic", "database", url)
            site.kubectl("create", "secret", "generic", "keys", keys)
            site.values["gateway"] |= {
                "persistence": {"enabled": False},
                "database": {"urlSecret": {"name": "database"}},
                "encryptionKeysSecret": {"name": "keys"},
            }
            site.install()
            with site.client() as gateway:
                cluster = gateway.new_cluster(shutdown_on_close=False)
                site.kubectl("rollout", "restart", f"deployment/{GATEWAY}")
                site.kubectl("rollout", "status", f"deployment/{GATEWAY}", "--timeout=90s", deadline=100)
                eventually("the gateway answers", site.answers, 60)
                assert [report.name for report in gateway.list_clusters()] == [cluster.name]
                gateway.stop_cluster(cluster.name)
                eventually("no scheduler", lambda: not site.pods("scheduler"), 60)
                cluster.close()
            site.helm.uninstall(RELEASE, timeout=60, wait="watcher")
    except NoPostgresError as error:
        unavailable(str(error))


@pytest.mark.slow
def test_without_one_permission_the_gateway_says_which_and_does_not_start(site: Site) -> None:
    site.helm.install(str(CHART), RELEASE, site.values, namespace=site.namespace)
    patch = '[{"op": "replace", "path": "/rules/2/verbs", "value": ["create", "list", "delete"]}]'
    site.kubectl("patch", "role", ACCOUNT, "--type=json", "-p", patch)
    site.kubectl("rollout", "restart", f"deployment/{GATEWAY}")

    def said() -> bool:
        try:
            return "it may not: watch pods" in site.log()
        except RuntimeError:  # no pod yet
            return False

    eventually("the gateway says what it lacks", said, 90, 1)


@pytest.mark.slow
def test_htcondor_credentials_are_files_of_the_gateway_alone(site: Site) -> None:
    site.kubectl("create", "secret", "generic", "tokens", "--from-literal=site=header.body.signature")
    site.kubectl("create", "secret", "generic", "people", "--from-literal=analyst=header.body.signature")
    site.install(
        condor={
            "submitter": "gateway", "collector": NODE_ADDRESS, "schedds": ["schedd.example.org"],
            "tokensSecret": "tokens", "userTokensSecret": "people", "config": "A_MACRO = of the site",
        }
    )  # fmt: skip
    values = "import htcondor2 as h; print(h.param['A_MACRO'], h.param['SEC_TOKEN_DIRECTORY'])"
    script = f"cd /run/htcdaskgateway; stat -c '%a %u %n' * */*; id -u; python -c \"{values}\""
    said = site.kubectl("exec", f"deployment/{GATEWAY}", "-c", "gateway", "--", "sh", "-c", script)
    assert said.splitlines() == [
        "2700 65532 tokens", "2700 65532 user-tokens",
        "600 65532 tokens/site", "600 65532 user-tokens/analyst",
        "65532", "of the site /run/htcdaskgateway/tokens",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_token_of_the_hub_with_the_scope_is_let_in(site: Site) -> None:
    token = "--from-literal=hub.services.dask-gateway.apiToken=of-the-service"
    site.kubectl("create", "secret", "generic", "hub", token)
    with running_hub(NODE_ADDRESS) as hub:
        site.values["gateway"]["auth"] = {"jupyterhub": {"apiUrl": f"http://{NODE_ADDRESS}:{hub}/hub/api"}}
        site.install()
        eventually("the gateway answers", site.answers, 60)
        address = f"http://{site.address(PROXY)}"
        with HTCGateway(address, proxy_address=address, auth=JupyterHubAuth(OPEN)) as gateway:
            assert gateway.list_clusters() == []
        with (
            HTCGateway(address, proxy_address=address, auth=JupyterHubAuth(CLOSED)) as gateway,
            pytest.raises(AuthenticationError, match="Unauthorized"),
        ):
            gateway.list_clusters()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mismatched versions")  # the patch level of Python
def test_workers_of_the_pool_join(site: Site, pool: Pool, image_root: Path) -> None:
    """The chart's own way: sessions submit, and all but workers and people is in Kubernetes."""
    port = 30000 + uuid.uuid4().int % 2000
    config = site.values["gateway"]["config"]
    config["HTCondorBackend"] |= {
        "image": f"{REPOSITORY}:matching", "image_registry": REGISTRY, "worker_host": NODE_ADDRESS,
    }  # fmt: skip
    config["ClusterConfig"] = {
        "scheduler_cmd": ["/opt/python/bin/dask", "scheduler"], "worker_cmd": ["dask", "worker"],
    }  # fmt: skip
    address = f"{NODE_ADDRESS}:{port}"
    site.install(schedulerService={"type": "NodePort", "nodePort": port}, proxy={"publicAddress": address})
    eventually("the gateway answers", site.answers, 60)
    with (
        people_submit(pool),
        dask.config.set({"htcdaskgateway.image-root": str(image_root)}),
        HTCGateway(
            f"http://{site.address(PROXY)}", proxy_address=f"gateway://{address}", auth=BasicAuth("analyst")
        ) as gateway,
    ):
        cluster = gateway.new_cluster()
        ours = f'HTCDaskCluster == "{cluster.name}"'
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=120)
        [worker], [job] = cluster.workers(), pool.queue(ours)
        assert worker.job_id == f"{job['ClusterId']}.{job['ProcId']}"
        assert job["Owner"] == "analyst"
        with cluster.get_client() as client:
            assert client.submit(sum, [1, 2]).result(60) == 3
        cluster.shutdown()
        eventually("no job", lambda: not pool.queue(ours), 60)
        eventually("no scheduler", lambda: not site.pods("scheduler"), 60)


@pytest.mark.slow
def test_under_a_random_uid_as_on_okd(site: Site) -> None:
    """OKD's admission sets uid and fsGroup; here a change of the manifests stands for it."""
    site.values["gateway"]["persistence"] = {"enabled": False}
    site.install(okd=True)  # Kubernetes alone takes the image's own uid then
    for deployment in (GATEWAY, PROXY):
        security = '{"runAsUser": 1000660000, "runAsGroup": 0, "fsGroup": 1000660000}'
        patch = f'{{"spec": {{"template": {{"spec": {{"securityContext": {security}}}}}}}}}'
        site.kubectl("patch", f"deployment/{deployment}", "--type=strategic", "-p", patch)
        site.kubectl("rollout", "status", f"deployment/{deployment}", "--timeout=90s", deadline=100)
    said = site.kubectl("exec", f"deployment/{GATEWAY}", "--", "id", "-u")
    assert said.strip() == "1000660000"
    with site.client() as gateway:
        assert gateway.list_clusters() == []
