"""The example for a Hub on OKD: the chart takes its values, the gateway the result, the Hub its entry."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from dask_gateway_server.auth import JupyterHubAuthenticator
from tests.unit.examples.chart import gateway_config, render
from tests.unit.examples.gateway_files import load
from traitlets import TraitError

from htcdaskgateway.launchers.kubernetes import KubernetesLauncher

SITE = Path(__file__).parents[3] / "examples" / "sites" / "eaf-like"
SERVICE = "access:services!service=dask-gateway"


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((SITE / name).read_text())
    return found


def test_the_chart_takes_the_values_and_the_gateway_what_it_makes_of_them(tmp_path: Path) -> None:
    app, backend = load(gateway_config(render(read("values.yaml")), tmp_path))
    assert issubclass(app.authenticator_class, JupyterHubAuthenticator)
    assert backend.launcher_class is KubernetesLauncher
    assert (backend.submitter, backend.worker_contact) == ("session", "gateway-proxy")
    assert backend.worker_contact_address == "192.0.2.222:8786"
    assert backend.worker_cores_limits == (1, 4)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["condor", "submiter"], "session", "submiter"),
        (["proxy", "replicas"], "two", "replicas"),
        (["schedulerService", "type"], "Pigeon", "type"),
    ],
)
def test_the_chart_would_refuse_a_slip(path: list[str], value: object, words: str) -> None:
    values = copy.deepcopy(read("values.yaml"))
    values[path[0]][path[1]] = value
    with pytest.raises(Exception, match=words):
        render(values)


@pytest.mark.parametrize(
    ("trait", "value", "error"), [("x509_voo", "cms", AssertionError), ("x509", "maybe", TraitError)]
)
def test_so_would_the_gateway(tmp_path: Path, trait: str, value: str, error: type[Exception]) -> None:
    values = copy.deepcopy(read("values.yaml"))
    values["gateway"]["config"]["HTCondorBackend"][trait] = value
    with pytest.raises(error, match=trait):
        load(gateway_config(render(values), tmp_path))


def test_notebooks_are_told_the_addresses_that_the_chart_makes() -> None:
    values, client = read("values.yaml"), read("etc/dask/gateway.yaml")["gateway"]
    manifests = render(values)
    services = {one["metadata"]["name"]: one["spec"] for one in manifests if one["kind"] == "Service"}
    host, _, rest = client["address"].removeprefix("http://").partition(".")
    assert rest == "dask-gateway.svc.cluster.local"
    assert [port["port"] for port in services[host]["ports"]] == [80]
    [route] = [one for one in manifests if one["kind"] == "Route"]
    assert client["public-address"] == f"https://{route['spec']['host']}"
    [balancer] = [spec for spec in services.values() if spec.get("type") == "LoadBalancer"]
    public = f"{balancer['loadBalancerIP']}:{balancer['ports'][0]['port']}"
    assert client["proxy-address"] == f"gateway://{public}"
    assert values["proxy"]["publicAddress"] == public


def test_nothing_asks_for_an_account_that_okd_would_refuse() -> None:
    pods = [
        one["spec"]["template"]["spec"] for one in render(read("values.yaml")) if one["kind"] == "Deployment"
    ]
    assert pods
    for pod in pods:
        contexts = [pod.get("securityContext", {}), *(c["securityContext"] for c in pod["containers"])]
        assert not [key for one in contexts for key in one if key in ("runAsUser", "runAsGroup", "fsGroup")]


def hub_settings() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Services and roles as JupyterHub's chart gives them to the Hub: by name, in its own configuration."""
    hub = read("hub-values.yaml")["hub"]
    services = [{"name": name, **one} for name, one in hub["services"].items()]
    return services, [{"name": name, **one} for name, one in hub["loadRoles"].items()]


def test_a_notebook_of_the_hub_may_use_the_service() -> None:
    """With JupyterHub's own code: may the token that a notebook gets do what the gateway asks for?"""
    pytest.importorskip("jupyterhub", reason="JupyterHub is not installed")
    from jupyterhub import orm, roles, scopes  # type: ignore[import-untyped,import-not-found,unused-ignore]
    from jupyterhub.app import JupyterHub  # type: ignore[import-untyped,import-not-found,unused-ignore]

    services, wanted = hub_settings()
    app = JupyterHub(services=[{**one, "api_token": "x" * 32} for one in services], load_roles=wanted)
    assert app.services[0]["name"] == "dask-gateway"
    session = orm.new_session_factory("sqlite://")()
    try:
        for role in roles.get_default_roles():
            roles.create_role(session, role)
        session.add_all([orm.Service(name="dask-gateway"), orm.OAuthClient(identifier="jupyterhub")])
        user = orm.User(name="analyst")
        session.add(user)
        session.commit()
        roles.assign_default_roles(session, user)

        def notebook() -> set[str]:
            server_role = orm.Role.find(session, "server")
            # access:servers!server means a server that runs; there is none here
            allowed = [scope for scope in server_role.scopes if not scope.endswith("!server")]
            token = user.new_api_token(scopes=allowed, note="notebook")
            return set(scopes.get_scopes_for(orm.APIToken.find(session, token)))

        assert SERVICE not in notebook()  # it is not so by default
        for role in app.load_roles:
            roles.create_role(session, role)
        assert SERVICE in notebook()
    finally:
        engine = session.get_bind()
        session.close()
        engine.dispose()
