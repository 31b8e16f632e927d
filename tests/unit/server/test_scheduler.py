"""What the launcher is asked to start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from htcdaskgateway.launchers.base import SchedulerPorts
from htcdaskgateway.server.scheduler import TOKEN_FILE, at_ports, scheduler_spec


def test_only_the_ports_change() -> None:
    command = [
        "dask", "scheduler", "--port", "0", "--host", "::", "--dashboard-address", "::0",
        "--dg-api-address", ":::0", "--dg-idle-timeout", "0",
    ]  # fmt: skip
    given = list(command)
    ports = SchedulerPorts(scheduler=8786, dashboard=8787, api=8788)
    assert at_ports(command, ports, "10.0.0.1") == [
        "dask", "scheduler", "--port", "8786", "--host", "::", "--dashboard-address", "10.0.0.1:8787",
        "--dg-api-address", "10.0.0.1:8788", "--dg-idle-timeout", "0",
    ]  # fmt: skip
    assert command == given


def test_secrets_are_in_files_alone() -> None:
    site: Any = SimpleNamespace(
        get_tls_paths=lambda cluster: ("dask.crt", "dask.pem"),
        get_scheduler_command=lambda cluster: ["dask", "scheduler"],
        get_scheduler_env=lambda cluster: {"DASK_GATEWAY_API_TOKEN": cluster.token, "A": "b"},
        image_of_scheduler=lambda image: None,
        inherited_environment={"PATH": "/bin"},
    )
    config = SimpleNamespace(get=lambda name, other: other, scheduler_cores=2, scheduler_memory=3)
    cluster: Any = SimpleNamespace(
        name="c", username="alice", config=config, token="SECRET1", tls_cert=b"CERT", tls_key=b"SECRET2"
    )
    spec = scheduler_spec(site, cluster)
    assert dict(spec.files) == {"dask.crt": "CERT", "dask.pem": "SECRET2", TOKEN_FILE: "SECRET1"}
    assert dict(spec.environment) == {"DASK_GATEWAY_API_TOKEN": TOKEN_FILE, "A": "b"}
    assert (spec.cluster, spec.user, spec.cores, spec.memory) == ("c", "alice", 2, 3)
    assert "SECRET" not in repr(spec)
