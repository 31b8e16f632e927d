"""Where a real scheduler of a pod's listens: it does not know whether its pod has IPv4, IPv6 or both."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dask_gateway_server.backends.db_base import DBBackendBase
from dask_gateway_server.tls import new_keypair
from tests.support.ports import free_port
from tests.support.waiting import eventually

from htcdaskgateway.launchers.base import SchedulerPorts
from htcdaskgateway.launchers.kubernetes import KubernetesLauncher
from htcdaskgateway.server.scheduler import at_ports

TLS = "DASK_DISTRIBUTED__COMM__TLS__"


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.timeout(90)
def test_it_listens_at_every_address(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    ports = SchedulerPorts(*(free_port() for _ in range(3)))
    config = SimpleNamespace(
        scheduler_cmd=[sys.executable, "-m", "dask", "scheduler"], adaptive_period=3, idle_timeout=0
    )
    site: Any = SimpleNamespace(default_host=KubernetesLauncher.host, cluster_heartbeat_period=15)
    cluster: Any = SimpleNamespace(config=config)
    command = at_ports(DBBackendBase.get_scheduler_command(site, cluster), ports, site.default_host)
    certificate, key = new_keypair("c1")
    (tmp_path / "dask.crt").write_bytes(certificate)
    (tmp_path / "dask.pem").write_bytes(key)
    environment = {
        **os.environ,
        "DASK_GATEWAY_CLUSTER_NAME": "c1",
        "DASK_GATEWAY_API_URL": "http://127.0.0.1:9/api",
        "DASK_GATEWAY_API_TOKEN": "token",
        f"{TLS}CA_FILE": "dask.crt",
        f"{TLS}SCHEDULER__CERT": "dask.crt",
        f"{TLS}SCHEDULER__KEY": "dask.pem",
    }
    with (tmp_path / "log").open("wb") as log:
        scheduler = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for port, hosts in (
            (ports.scheduler, ["127.0.0.1", "::1"]),
            (ports.api, ["127.0.0.1", "::1"]),
            (ports.dashboard, ["127.0.0.1"]),  # distributed lets it listen at no IPv6 address
        ):
            for host in hosts:
                eventually(f"{host} {port}", partial(answers, host, port), 40)
    except TimeoutError as error:
        raise AssertionError((tmp_path / "log").read_text()) from error
    finally:
        os.killpg(scheduler.pid, signal.SIGKILL)
        scheduler.wait(10)
