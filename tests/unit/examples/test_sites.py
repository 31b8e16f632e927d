"""The sites' examples are what they say: each file is loaded by what reads it at a site."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dask_gateway_server.auth import JupyterHubAuthenticator
from tests.unit.examples.gateway_files import load
from tests.unit.examples.units import Unit, made_by_tmpfiles
from traitlets import TraitError

import htcdaskgateway
from htcdaskgateway.condor.quoting import check_line
from htcdaskgateway.server import HTCondorBackend

ROOT = Path(__file__).parents[3]
SITES = ROOT / "examples" / "sites"
ONE_HOST = SITES / "single-host"
CONFIG = ONE_HOST / "etc" / "htcdaskgateway" / "dask_gateway_config.py"
UNITS = sorted((ONE_HOST / "systemd").iterdir())
CLIENT_FILES = sorted(SITES.glob("*/etc/dask/*.yaml"))


def run(*command: str | Path, **options: Any) -> str:
    """What it says, on either stream; AssertionError if it fails."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, **options,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def needed(program: str) -> str:
    path = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What systemd would give the units."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    for name in ("proxy-token", "tls.crt", "tls.key"):
        (directory / name).write_text(f"{name}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    return directory


def changed(file: Path, old: str, new: str, place: Path) -> Path:
    text = file.read_text()
    assert old in text
    place.write_text(text.replace(old, new))
    return place


# -- one host: the gateway's configuration ---------------------------------------------------------------


@pytest.mark.usefixtures("credentials")
def test_the_configuration_is_one_that_the_gateway_takes() -> None:
    app, backend = load(CONFIG)
    assert issubclass(app.authenticator_class, JupyterHubAuthenticator)
    assert isinstance(backend, HTCondorBackend)
    assert app.config.Proxy.api_token == "proxy-token"


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("old", "new", "error", "words"),
    [
        ("worker_contact = ", "worker_kontact = ", AssertionError, "HTCondorBackend.worker_kontact"),
        ("c.LocalLauncher.host", "c.LokalLauncher.host", AssertionError, "LokalLauncher.host"),
        ('apptainer_binds = ["/cvmfs"]', "apptainer_binds = 1", TraitError, "apptainer_binds"),
        ("max_workers = 200", 'max_workers = "200"', TraitError, "max_workers"),
        ('"gateway-proxy"', '"by pigeon"', TraitError, "worker_contact"),
    ],
)
def test_a_slip_in_it_would_be_seen(
    tmp_path: Path, old: str, new: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        load(changed(CONFIG, old, new, tmp_path / "config.py"))


@pytest.mark.usefixtures("credentials")
def test_what_the_site_adds_to_jobs_can_be_said_to_htcondor() -> None:
    _, backend = load(CONFIG)
    for name, value in backend.cluster_config_class(parent=backend).submit_commands.items():
        check_line(value, name)


# -- one host: the units ---------------------------------------------------------------------------------


def verify(files: list[Path], place: Path) -> str:
    """What systemd says of the units, with programs in the place of those that are not on this machine."""
    programs = ["/opt/htcdaskgateway/bin/dask-gateway-server", "/usr/sbin/condor_master"]
    programs += ["/usr/local/sbin/htcdaskgateway-backup"]
    for file in files:
        text = file.read_text()
        for program in programs:
            text = text.replace(program, "/bin/true")
        (place / file.name).write_text(text)
    return run(needed("systemd-analyze"), "verify", *sorted(place.iterdir()))


def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    assert verify(UNITS, tmp_path) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("KillMode=process", "KillMod=process"),
        ("OOMPolicy=continue", "OOMPolicy=maybe"),
        ("Restart=on-failure", "Restart=sometimes"),
    ],
)
def test_systemd_would_say_so(tmp_path: Path, old: str, new: str) -> None:
    mine = changed(ONE_HOST / "systemd" / "htcdaskgateway.service", old, new, tmp_path / "mine.service")
    (tmp_path / "place").mkdir()
    assert "mine.service" in verify([mine], tmp_path / "place")


@pytest.mark.parametrize("file", [file for file in UNITS if file.suffix == ".service"], ids=lambda f: f.name)
def test_every_setting_is_where_it_counts(file: Path) -> None:
    """A key in the wrong section, or twice with different values, is silently something else."""
    unit = Unit.read(file)
    adding_up = {"Environment", "LoadCredential", "SystemCallFilter"}
    keys = [(section, key) for section, key, _ in unit.settings if key not in adding_up]
    assert len(keys) == len(set(keys))
    assert {section for section, _, _ in unit.settings} <= {"Unit", "Service", "Install"}
    in_service = {key for section, key, _ in unit.settings if section == "Service"}
    assert not {"After", "Wants", "Description", "WantedBy"} & in_service


def test_the_gateway_can_become_other_users_and_leaves_schedulers_alone() -> None:
    unit = Unit.read(ONE_HOST / "systemd" / "htcdaskgateway.service")
    assert unit.one("KillMode") == "process"
    assert unit.one("OOMPolicy") == "continue"
    assert {"setuid", "setgid"} <= set(unit.capabilities)
    # Each of these implies NoNewPrivileges=yes for a unit with User=: sudo would fail. systemd.exec(5)
    implying = (
        "SystemCall", "Restrict", "Lock", "MemoryDeny", "PrivateDevices", "ProtectKernel", "ProtectClock",
        "ProtectHostname", "DynamicUser",
    )  # fmt: skip
    assert not [key for _, key, _ in unit.settings if key.startswith(implying) and key != "RestartSec"]
    assert unit.one("NoNewPrivileges") == "no"
    # It would be emptied when the gateway stops, and the schedulers' files with it.
    assert not unit.all("PrivateTmp")


def test_the_gateway_proxy_does_not_stop_with_the_gateway() -> None:
    unit = Unit.read(ONE_HOST / "systemd" / "htcdaskgateway-proxy.service")
    tied = {"Requires", "BindsTo", "PartOf", "Requisite"}
    assert not [key for section, key, _ in unit.settings if section == "Unit" and key in tied]
    assert unit.command[1] == "proxy"


def test_units_and_configuration_mean_the_same_files() -> None:
    etc = {str(Path("/etc/htcdaskgateway") / path.name) for path in CONFIG.parent.iterdir()}
    units = [Unit.read(file) for file in UNITS if file.suffix == ".service"]
    named = {word for unit in units for word in [*unit.command, *unit.environment.values()]}
    assert {word for word in named if word.startswith("/etc/htcdaskgateway")} <= etc
    gateway = Unit.read(ONE_HOST / "systemd" / "htcdaskgateway.service")
    text = CONFIG.read_text()
    assert 'LocalLauncher.directory = "/var/spool/htcdaskgateway"' in text
    assert "/var/spool/htcdaskgateway" in gateway.one("ReadWritePaths").split()
    assert (
        "D     /var/spool/htcdaskgateway          1730 root    dask-users"
        in (ONE_HOST / "tmpfiles.conf").read_text()
    )


@pytest.mark.parametrize("file", [file for file in UNITS if file.suffix == ".service"], ids=lambda f: f.name)
def test_what_a_unit_writes_to_is_there_before_it_starts(file: Path) -> None:
    """Else systemd does not start it: 226/NAMESPACE."""
    unit = Unit.read(file)
    there = {made.path for made in made_by_tmpfiles(ONE_HOST / "tmpfiles.conf")} | {"/tmp", "/var/tmp"}
    writes = {path for value in unit.all("ReadWritePaths") for path in value.split()}
    assert writes <= there | set(unit.state_directories)


# -- one host: sudo, accounts, directories, HTCondor -----------------------------------------------------


def test_the_rule_for_sudo_is_one(tmp_path: Path) -> None:
    visudo = needed("visudo")
    rule = ONE_HOST / "etc" / "htcdaskgateway" / "sudoers"
    run(visudo, "-cf", rule)
    with pytest.raises(AssertionError, match="syntax error"):
        run(visudo, "-cf", changed(rule, "NOPASSWD:", "NOPASSWD", tmp_path / "sudoers"))


def test_the_rule_for_sudo_is_what_the_gateway_runs() -> None:
    """Word by word: sudo compares the whole command."""
    [rule] = [line for line in (CONFIG.parent / "sudoers").read_text().splitlines() if " NOPASSWD: " in line]
    program, *arguments = rule.partition(" NOPASSWD: ")[2].split()
    assert f'LocalLauncher.python = "{program}"' in CONFIG.read_text()
    place = Path(htcdaskgateway.__file__).parent / "launchers" / "scheduler_process.py"
    assert place.exists()
    assert arguments[0] == "-I"
    assert arguments[1].endswith("/site-packages/htcdaskgateway/launchers/scheduler_process.py")
    assert rule.startswith("htcdask ALL=(%dask-users) ")


def test_accounts_and_directories_can_be_made(tmp_path: Path) -> None:
    sysusers, tmpfiles = needed("systemd-sysusers"), needed("systemd-tmpfiles")
    (tmp_path / "etc").mkdir()
    said = run(sysusers, f"--root={tmp_path}", ONE_HOST / "sysusers.conf")
    accounts = (tmp_path / "etc" / "passwd").read_text()
    assert "htcdask:" in accounts, said
    assert "dask-users:" in (tmp_path / "etc" / "group").read_text()
    said = run(tmpfiles, f"--root={tmp_path}", "--create", ONE_HOST / "tmpfiles.conf")
    assert said == ""
    modes = {
        path: (tmp_path / path).stat().st_mode & 0o7777
        for path in (
            "etc/htcdaskgateway/credentials",
            "var/spool/htcdaskgateway",
            "var/backups/htcdaskgateway",
            "var/lib/htcdaskgateway",
        )
    }
    assert list(modes.values()) == [0o700, 0o1730, 0o700, 0o700]


# -- what people's sessions read -------------------------------------------------------------------------


def paths(tree: object, above: str = "") -> set[str]:
    """Names of all settings, ``gateway.auth.type`` …; an empty mapping is a setting."""
    if not isinstance(tree, dict) or not tree:
        return {above}
    return {path for key, value in tree.items() for path in paths(value, f"{above}.{key}".lstrip("."))}


def known_settings() -> set[str]:
    """Of dask-gateway's client and of ours."""
    import dask_gateway

    files = [
        Path(dask_gateway.__file__).parent / "gateway.yaml",
        Path(htcdaskgateway.__file__).parent / "htcdaskgateway.yaml",
    ]
    return {path for file in files for path in paths(yaml.safe_load(file.read_text()))}


def strangers(settings: object) -> set[str]:
    known = known_settings()
    return {p for p in paths(settings) if not any(p == name or p.startswith(f"{name}.") for name in known)}


@pytest.mark.parametrize("file", CLIENT_FILES, ids=lambda file: f"{file.parts[-4]}-{file.name}")
def test_sessions_know_every_setting(file: Path) -> None:
    assert strangers(yaml.safe_load(file.read_text())) == set()


def test_an_unknown_setting_would_be_seen() -> None:
    settings = {
        "htcdaskgateway": {"image-rot": "/cvmfs", "condor": {"shedd": "a"}},
        "gateway": {"adress": "x"},
    }
    assert strangers(settings) == {
        "htcdaskgateway.image-rot", "htcdaskgateway.condor.shedd", "gateway.adress",
    }  # fmt: skip


@pytest.mark.parametrize("site", sorted({file.parts[-4] for file in CLIENT_FILES}))
def test_a_session_takes_the_settings(site: str, tmp_path: Path) -> None:
    """In a session of its own: Dask's configuration is one for the whole process."""
    script = (
        "from htcdaskgateway.config import setting\n"
        "from htcdaskgateway.client.condor_access import configured_access\n"
        "from htcdaskgateway.client.settings import number\n"
        "for name in ('image', 'image-registry', 'image-root', 'check-versions', 'apptainer', 'sandbox'):\n"
        "    setting(name)\n"
        "number('sandbox-days', 14, 0)\n"
        "print(configured_access())\n"
        "print('taken')\n"
    )
    env = {"DASK_CONFIG": str(SITES / site / "etc" / "dask"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    source = str(Path(htcdaskgateway.__file__).parents[1])
    assert "taken" in run(sys.executable, "-c", script, env={**env, "PYTHONPATH": source})
