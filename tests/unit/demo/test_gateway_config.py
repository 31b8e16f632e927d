from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
from traitlets.config import PyFileConfigLoader

from htcdaskgateway.demo.gateway_config import (
    GatewaySettings,
    configuration,
    new_settings,
    write_configuration,
)
from htcdaskgateway.demo.pool import Pool

PASSWORD = "not to be seen"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / 'it\'s "odd" \\'
    path.mkdir(mode=0o700)
    return path


def settings(directory: Path, pool: Pool | None = None) -> GatewaySettings:
    return GatewaySettings(directory, "analyst", PASSWORD, 41000, pool or Pool(), workers=3, outlives=True)


def load(one: GatewaySettings) -> dict[str, dict[str, object]]:
    write_configuration(one)
    loaded = PyFileConfigLoader(one.config_file.name, path=str(one.directory)).load_config()
    return {section: dict(values) for section, values in loaded.items()}


def test_it_is_read_as_it_was_meant(directory: Path) -> None:
    found = load(settings(directory))
    assert found["SimpleAuthenticator"] == {"password": PASSWORD}
    assert found["Proxy"] == {"address": "127.0.0.1:41000"}
    assert found["DaskGateway"]["address"] == "127.0.0.1:0"
    assert found["LocalLauncher"]["single_user"] == "analyst"
    assert found["LocalLauncher"]["host"] == "127.0.0.1"
    assert found["HTCondorBackend"]["state_directory"] == f"{directory}/state"
    assert found["HTCondorBackend"]["stop_clusters_on_shutdown"] is True
    assert found["HTCondorAccess"] == {"interface": "processes", "schedd_name": "", "slots": 3}
    assert "submit_commands" not in found["HTCondorClusterConfig"]


def test_with_htcondor(directory: Path) -> None:
    found = load(settings(directory, Pool("schedd@host", "host", elsewhere=True)))
    assert found["HTCondorAccess"]["interface"] == "bindings"
    assert found["HTCondorAccess"]["schedd_name"] == "schedd@host"
    # workers must come to this host: the gateway listens at loopback
    commands = found["HTCondorClusterConfig"]["submit_commands"]
    assert commands == {"requirements": 'TARGET.Machine == "host"'}


def test_every_option_is_one_of_the_gateways(directory: Path) -> None:
    from dask_gateway_server.app import DaskGateway
    from dask_gateway_server.auth import SimpleAuthenticator
    from dask_gateway_server.proxy import Proxy

    from htcdaskgateway.launchers.local import LocalLauncher
    from htcdaskgateway.server import HTCondorBackend
    from htcdaskgateway.server.condor_access import HTCondorAccess
    from htcdaskgateway.server.traits import HTCondorClusterConfig

    classes = {
        one.__name__: one
        for one in (
            DaskGateway, SimpleAuthenticator, Proxy, LocalLauncher, HTCondorBackend, HTCondorAccess,
            HTCondorClusterConfig,
        )
    }  # fmt: skip
    for section, values in load(settings(directory, Pool("s", "m", elsewhere=True))).items():
        known = classes[section].class_traits(config=True)
        assert set(values) <= set(known), section
        for name, value in values.items():
            if not name.endswith("_class"):
                known[name]._validate(classes[section].__new__(classes[section]), value)


def test_the_password_is_in_one_private_file(directory: Path) -> None:
    one = settings(directory)
    write_configuration(one)
    holders = [path.name for path in directory.iterdir() if path.is_file() and PASSWORD in path.read_text()]
    assert holders == ["password"]
    assert PASSWORD not in repr(one)
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_gateway_that_is_not_kept_ends_with_the_demo(directory: Path) -> None:
    assert "end_with_demo" not in configuration(settings(directory))
    assert "end_with_demo" in configuration(new_settings(directory, Pool(), 1, outlives=False))


def test_new_settings_are_free_and_random(directory: Path) -> None:
    one, two = (new_settings(directory, Pool(), 1, outlives=True) for _ in range(2))
    assert one.password != two.password
    assert len(one.password) >= 32
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", one.port))
