"""What a site names in the configuration of dask-labextension."""

from __future__ import annotations

import dask.config
import pytest
from dask_gateway.client import GatewaySecurity
from distributed import Client
from tests.unit.client.conftest import Answers

from htcdaskgateway import labextension
from htcdaskgateway.client.errors import ClusterFailedError
from htcdaskgateway.errors import InvalidRequestError

NAME = "315cb362d1614f73bb89c27f6737b6e7"
HUB = "https://hub.example.org/services/dask-gateway"


@pytest.mark.parametrize(
    ("base_url", "between"),
    [("/user/analyst/", "/user/analyst"), ("/user/a@b.c/lab/", "/user/a@b.c/lab"), ("/", "")],
)
def test_links(base_url: str, between: str) -> None:
    link = labextension.for_panes(f"{HUB}/clusters/{NAME}/status", base_url)
    assert link == f"{HUB}/api/v1/dashboards/{NAME}{between}/proxy/status"


def report(status: str, **keys: str | None) -> dict[str, object]:
    return {
        "name": NAME, "options": {}, "status": status, "dashboard_route": None,
        "start_time": 0, "stop_time": None, **keys,
    }  # fmt: skip


def test_keys_of_a_cluster(answers: Answers) -> None:
    path = f"/api/v1/clusters/{NAME}"
    answers.more[path] = 200, report("RUNNING", tls_cert="CERTIFICATE", tls_key="KEY")
    with dask.config.set({"gateway.address": answers.url, "gateway.auth.type": "basic"}):
        keys = labextension.security({"address": f"gateway://127.0.0.1:1/{NAME}"})
        assert isinstance(keys, GatewaySecurity)
        assert (keys.tls_cert, keys.tls_key) == ("CERTIFICATE", "KEY")
        answers.more[path] = 200, report("STOPPED")
        with pytest.raises(ClusterFailedError, match="it is stopped"):
            labextension.security({"address": f"gateway://127.0.0.1:1/{NAME}"})
        answers.more.clear()
        with pytest.raises(InvalidRequestError, match="Not Found"):
            labextension.security({"address": f"gateway://127.0.0.1:1/{NAME}"})


def test_other_schedulers_are_not_ours() -> None:
    for address in ("tcp://127.0.0.1:8786", "tls://[::1]:8786", "inproc://1", ""):
        assert labextension.security({"address": address}) is None


def test_a_client_asks_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the configuration of the guide says, by the name that it has there."""
    asked: list[object] = []

    def security(about: dict[str, object]) -> None:
        asked.append(about)
        raise InvalidRequestError("Asked.")

    monkeypatch.setattr(labextension, "security", security)
    name = f"{labextension.__name__}.security"
    loader = dask.config.set({"distributed.client.security-loader": name})
    with loader, pytest.raises(InvalidRequestError, match="Asked"):
        Client(f"gateway://127.0.0.1:1/{NAME}")
    assert asked == [{"address": f"gateway://127.0.0.1:1/{NAME}"}]
