from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from tests.support.image_trees import DOCKER_ENV, SYSTEM_PATH, Link, Program, make, package, python
from tests.unit.client.conftest import Answers, answers

from htcdaskgateway.cli import gateway
from htcdaskgateway.cli import images as command
from htcdaskgateway.cli.group import htcdask
from htcdaskgateway.cli.images_show import ImagesShow
from htcdaskgateway.images import catalogue
from htcdaskgateway.images.catalogue import ImageCatalogue
from htcdaskgateway.images.reference import DOCKER_REGISTRY, ImageReference
from htcdaskgateway.images.survey import AHEAD, survey
from htcdaskgateway.versions import MUST_AGREE

__all__ = ["answers"]

HERE = {"python": "3.11.7", "dask": "2026.8.0", "distributed": "2026.8.0", "dask-gateway": "2026.3.0"}
REGISTRY = "registry.example.org"


def tree(**versions: str) -> dict[str, Any]:
    """An image with these versions, and what this environment has of the rest."""
    found = {**HERE, **versions}
    series = ".".join(found.pop("python").split(".")[:2])
    site = f"usr/local/lib/python{series}/site-packages"
    packages: dict[str, Any] = {DOCKER_ENV: f'export PATH="{SYSTEM_PATH}"\n'}
    packages |= python("usr/local", series, python3=f"python{series}")
    if found["dask"]:
        packages["usr/local/bin/dask"] = Program(f"#!/usr/local/bin/python{series}\n")
    for name, version in found.items():
        if version:
            packages |= package(site, name.replace("_", "-"), version)
    return packages


@pytest.fixture
def root(tmp_path: Path) -> Path:
    registry = tmp_path / "unpacked" / REGISTRY
    for name, image in {
        "lab/analysis:1.0-py3.11": tree(),
        "lab/analysis:0.9-py3.10": tree(python="3.10.14", dask="2024.1.0"),
        "lab/tools/plain:1": tree(dask="", distributed="", **{"dask-gateway": ""}),
        "lab/broken:1": {"etc/os-release": "ID=none\n"},
    }.items():
        path = registry / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path, image)
    return registry.parent


Run = Callable[..., Result]


@pytest.fixture
def run(root: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(command, "versions_here", lambda: HERE)
    return lambda *arguments: CliRunner().invoke(htcdask, ["images", "--root", str(root), *arguments])


def row(output: str, name: str) -> list[str]:
    found = [line.split() for line in output.splitlines() if f"{REGISTRY}/{name} " in line]
    assert len(found) == 1, output
    return found[0][1:]


def test_every_image_with_its_versions_and_whether_it_fits(run: Run) -> None:
    answer = run()
    assert answer.exit_code == 0, answer.output
    assert row(answer.output, "lab/analysis:1.0-py3.11") == [
        "3.11",
        "2026.8.0",
        "2026.8.0",
        "2026.3.0",
        "yes",
    ]
    assert row(answer.output, "lab/analysis:0.9-py3.10") == ["3.10", "2024.1.0", "2026.8.0", "2026.3.0", "no"]
    assert row(answer.output, "lab/tools/plain:1") == ["3.11", "-", "-", "-", "no"]
    assert row(answer.output, "lab/broken:1")[:4] == ["?"] * 4
    assert f"{REGISTRY}/lab/broken:1: it has no Python in" in answer.output


# What is changed in an image whose versions agree, and what is shown of it.
DOUBTS = [
    ({"usr/local/bin/dask": "not executable"}, "no", False, "there is no dask in its PATH"),
    ({".singularity.d/env/91-x.sh": ". /opt/x.sh\n"}, "yes?", True, "which is not followed"),
    (
        {".singularity.d/env/91-x.sh": "PATH=$(x):$PATH\n", "usr/local/bin/dask": ""},
        "yes?",
        True,
        "no dask in its PATH",
    ),
    ({"usr/local/bin/dask": Program("#!/bin/sh\npython3 -m dask\n")}, "yes?", True, "is not understood"),
]


@pytest.mark.parametrize(("changes", "shown", "fits", "note"), DOUBTS)
def test_doubts_are_shown(
    run: Run, root: Path, changes: dict[str, Any], shown: str, fits: bool, note: str
) -> None:
    make(root / REGISTRY / "lab/new:1", {**tree(), **changes})
    output = run("lab/").output
    lines = [line for line in output.splitlines() if f"{REGISTRY}/lab/new:1" in line]
    assert lines[0].split()[-1] == shown
    assert note in lines[1]
    assert f"{note}\n" in run("new:1").output
    data = json.loads(run("new:1", "--json").stdout)[0]
    assert (data["fits"], note in data["notes"][-1]) == (fits, True)
    assert data["executable"].startswith("/usr/local/bin/python3")
    assert ("lab/new:1" in run("--fits").output) is fits


@pytest.mark.parametrize("width", [40, 60, 70, 76, 80, 120])
def test_all_of_it_is_shown_on_a_terminal(root: Path, width: int) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, color_system=None)
    images = ImageCatalogue(root).walk()
    ImagesShow(quiet=True, output=console).findings(list(survey(images)), HERE)
    said = output.getvalue()
    lines, words = said.splitlines(), said.split()
    assert {"fits", *MUST_AGREE} <= set(words)
    assert {"yes", "no", "3.11", "3.10", "2024.1.0", "2026.8.0", "2026.3.0"} <= set(words)
    table = [line for line in lines if REGISTRY not in line]
    assert all(len(line) <= width for line in table)
    if 60 <= width <= 70:  # one after the other, each name in one line
        at = next(n for n, line in enumerate(lines) if line == f"{REGISTRY}/lab/analysis:1.0-py3.11")
        assert lines[at + 1].split()[:4] == ["fits", "yes", "python", "3.11"]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_names_can_be_read_on_a_terminal(root: Path, width: int) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, color_system=None)
    images = ImageCatalogue(root).walk()
    ImagesShow(quiet=True, output=console).findings(list(survey(images)), HERE)
    table, _, below = output.getvalue().rpartition(f"{REGISTRY}/lab/broken:1: ")
    lines = table.splitlines()
    end = next(line.index("python") for line in lines if "python" in line)
    first = "".join(line[:end].strip() for line in lines)
    assert f"{REGISTRY}/lab/analysis:1.0-py3.11" in first
    assert "it has no Python in" in below
    assert all(len(line) <= width for line in table.splitlines())


def test_other_names_of_a_registry(run: Run, root: Path) -> None:
    make(root / DOCKER_REGISTRY, {})
    make(root / DOCKER_REGISTRY / "plain:1", tree())
    for arguments in (["--registry", "docker.io"], ["docker.io/plain"], ["docker.io/pl*"]):
        found = json.loads(run("--json", *arguments).stdout)
        assert [image["image"] for image in found] == [f"{DOCKER_REGISTRY}/plain:1"]


def test_where_a_dangling_image_leads(run: Run, root: Path) -> None:
    make(root / REGISTRY, {"gone:1": Link("../.flat/1234")})
    error = json.loads(run("gone:1", "--json").stdout)[0]["error"]
    assert "it is a link to '../.flat/1234', which is not there" in error


def test_images_are_run_by_the_program_that_is_given(run: Run, tmp_path: Path) -> None:
    answer = run("--run", "--apptainer", str(tmp_path / "none"))
    assert answer.exit_code == 1
    assert answer.output.startswith(
        f"Error: --run needs Apptainer, and there is no program '{tmp_path}/none'"
    )
    make(tmp_path, {"own": Program("#!/bin/sh\necho to run it is not wanted\n")})
    assert "to run it is not wanted" in run("plain", "--run", "--apptainer", str(tmp_path / "own")).output
    with dask.config.set({"htcdaskgateway.apptainer": str(tmp_path / "own")}):
        assert "to run it is not wanted" in run("plain", "--run").output


HTCDASK = "from htcdaskgateway.cli.main import main; main()"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")  # noqa: PTH110 - a device
@pytest.mark.parametrize("options", [["--json"], []])
def test_output_that_cannot_be_written(root: Path, options: list[str]) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - likewise
        done = subprocess.run(
            [sys.executable, "-c", HTCDASK, "images", "--root", str(root), *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: Standard output cannot be written to: No space left on device.\n"


HANGS = """
import threading
from htcdaskgateway.images import survey
survey.read_image = lambda path, **options: threading.Event().wait(60)
found = survey.survey([(None, "/image")] * 20)
import signal
main = threading.main_thread().ident
threading.Timer(0.5, signal.pthread_kill, [main, signal.SIGINT]).start()
next(found)
"""


def test_a_file_system_that_hangs_does_not_keep_python_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, timeout=30, check=False)
    assert b"KeyboardInterrupt" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["analysis"], ["lab/analysis:0.9-py3.10", "lab/analysis:1.0-py3.11"]),
        (["lab/*:1"], ["lab/broken:1", "lab/tools/plain:1"]),
        ([f"{REGISTRY}/lab/?roken:*"], ["lab/broken:1"]),
        (["--fits"], ["lab/analysis:1.0-py3.11"]),
        (["--registry", REGISTRY, "plain"], ["lab/tools/plain:1"]),
    ],
)
def test_what_is_listed(run: Run, arguments: list[str], names: list[str]) -> None:
    answer = run("--json", *arguments)
    assert [image["image"] for image in json.loads(answer.stdout)] == [f"{REGISTRY}/{name}" for name in names]


def test_json_says_what_differs_and_what_cannot_be_read(run: Run, root: Path) -> None:
    found = {image["image"].rpartition("/")[2]: image for image in json.loads(run("--json").stdout)}
    old = found["analysis:0.9-py3.10"]
    assert old["path"] == str(root / REGISTRY / "lab/analysis:0.9-py3.10")
    assert (old["fits"], old["differing"], old["error"]) == (False, ["python", "dask"], "")
    assert old["versions"]["distributed"] == "2026.8.0"
    assert found["analysis:1.0-py3.11"]["fits"] is True
    broken = found["broken:1"]
    assert (broken["fits"], broken["versions"], broken["differing"]) == (False, {}, [])
    assert "it has no Python in" in broken["error"]


def test_one_image_is_compared_package_by_package(run: Run) -> None:
    output = run("0.9").output
    assert re.search(r"python +3\.11\.7 +3\.10(\.14)? +must agree", output)
    assert re.search(r"dask +2026\.8\.0 +2024\.1\.0 +must agree", output)


def test_nothing_found_is_a_failure_that_says_what_was_looked_for(run: Run, root: Path) -> None:
    answer = run("coffea", "--fits", "--registry", REGISTRY)
    assert answer.exit_code == 1
    expected = f"No image of {REGISTRY} below {root} has 'coffea' in its name and fits this environment."
    assert answer.output == f"Error: {expected}\n"
    assert json.loads(run("coffea", "--json").stdout) == []


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    answer = CliRunner().invoke(htcdask, ["images", "--root", str(tmp_path / "cvmfs")])
    assert answer.exit_code == 1
    assert f"Error: The image root {tmp_path}/cvmfs is not mounted" in answer.output


def test_how_the_root_may_be_written(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(root.parent))
    with dask.config.set({"htcdaskgateway.image-root": f"~/{root.name}"}):
        for arguments in ([], ["--root", ""], ["--root", f"~/{root.name}"]):
            assert json.loads(CliRunner().invoke(htcdask, ["images", "--json", *arguments]).stdout)
    monkeypatch.setattr(catalogue, "DEFAULT_ROOT", str(tmp_path / "default"))
    monkeypatch.chdir(root)
    with dask.config.set({"htcdaskgateway.image-root": ""}):
        answer = CliRunner().invoke(htcdask, ["images"])
    assert f"The image root {tmp_path}/default is not mounted" in answer.output


def test_the_root_of_the_configuration(run: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dask.config.set({"htcdaskgateway.image-root": str(root)}):
        answer = CliRunner().invoke(htcdask, ["images", "--json", "plain"])
    assert [image["fits"] for image in json.loads(answer.stdout)] == [False]


def test_more_images_than_are_read_at_a_time_come_in_order(tmp_path: Path) -> None:
    make(tmp_path / "image", tree())
    number = 3 * AHEAD
    images = [(ImageReference(REGISTRY, "lab/a", str(tag)), tmp_path / "image") for tag in range(number)]
    images[5] = (images[5][0], tmp_path / "absent")
    findings = list(survey(images))
    assert [finding.reference.tag for finding in findings] == [str(tag) for tag in range(number)]
    assert [finding.reference.tag for finding in findings if finding.error] == ["5"]


def test_progress_counts_on_a_terminal_and_is_silent_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    show = ImagesShow()
    assert show.quiet
    with show.progress() as step:
        step("lab/a:1")
    assert capsys.readouterr() == ("", "")
    show.notes, show.quiet = Console(stderr=True, force_terminal=True, width=80), False
    with show.progress() as step:
        for _ in range(3):
            step("lab/a:1")
    assert "3 images read" in capsys.readouterr().err


def test_a_thousand_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "versions_here", lambda: HERE)
    lab = tmp_path / "unpacked" / REGISTRY / "lab"
    lab.mkdir(parents=True)
    kinds = [tree(), tree(dask="2024.1.0"), tree(python="3.10.14"), tree(dask="")]
    for number in range(1000):
        make(lab / f"analysis:{number}", kinds[number % len(kinds)])
    terminal = io.StringIO()

    class Shown(ImagesShow):
        def __init__(self, quiet: bool = False) -> None:
            super().__init__(quiet)
            self.notes, self.quiet = Console(file=terminal, force_terminal=True, width=80), quiet

    monkeypatch.setattr("htcdaskgateway.cli.images_show.ImagesShow", Shown)
    answer = CliRunner().invoke(htcdask, ["images", "--root", str(tmp_path / "unpacked")])
    assert answer.exit_code == 0, answer.output
    found = {words[0]: words[-1] for words in map(str.split, answer.stdout.splitlines()) if len(words) == 6}
    expected = {
        f"{REGISTRY}/lab/analysis:{number}": "no" if number % len(kinds) else "yes" for number in range(1000)
    }
    assert {name: fits for name, fits in found.items() if name != "image"} == expected
    assert "1000 images read" in terminal.getvalue()


def test_names_of_columns(run: Run) -> None:
    assert re.search(" +".join(("image", *MUST_AGREE, "fits")), run().output)


class Site:
    """A gateway that tells of its site, at the address of Dask's configuration."""

    def __init__(self, answer: Answers, root: Path) -> None:
        self.answer = answer
        answer.site = {"runtime": "apptainer", "image_root": str(root), "worker_program": "/opt/start"}

    def images(self, *arguments: str) -> Result:
        with dask.config.set({"gateway.address": self.answer.url, "gateway.auth.type": "basic"}):
            return CliRunner().invoke(htcdask, ["images", *arguments])


@pytest.fixture
def site(answers: Answers, root: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(command, "versions_here", lambda: HERE)
    return Site(answers, root)


def test_workers_that_are_not_dask(site: Site, root: Path) -> None:
    """What the gateway starts is looked for, where it says that images are."""
    make(root / REGISTRY / "lab/own:1", {**tree(), "opt/start": Program("#!/usr/local/bin/python3.11\n")})
    ran = site.images("--json")
    assert ran.stderr == ""
    found = {image["image"].rpartition("/")[2]: image for image in json.loads(ran.stdout)}
    assert found["own:1"]["fits"] is True
    assert found["analysis:1.0-py3.11"]["fits"] is False
    assert found["analysis:1.0-py3.11"]["notes"] == ["there is no /opt/start"]
    with dask.config.set({"htcdaskgateway.image-root": str(root.parent / "other")}):
        assert f"The image root {root.parent}/other is not mounted" in site.images().output


def test_workers_that_are_not_dask_are_asked_for(site: Site, tmp_path: Path) -> None:
    make(tmp_path, {"own": Program('#!/bin/sh\nfor last; do :; done; echo "asked for $last"\n')})
    assert (
        "asked for /opt/start" in site.images("plain", "--run", "--apptainer", str(tmp_path / "own")).output
    )


def test_a_gateway_that_says_nothing(site: Site, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are listed all the same; who has named a gateway is told that it was not heard."""
    said = "Workers are taken for dask, as the gateway does not tell: "
    arguments = ["--root", str(root), "--json", "--fits"]
    site.answer.site = None  # of somebody else
    assert site.images(*arguments).stderr == ""
    monkeypatch.setattr(gateway, "SITE_SECONDS", 0.0)
    ran = site.images(*arguments)
    assert ran.stderr == f"{said}No answer within 0 s.\n"
    monkeypatch.undo()
    monkeypatch.setattr(command, "versions_here", lambda: HERE)
    site.answer.url = "http://127.0.0.1:1"
    ran = site.images(*arguments)
    assert ran.stderr == f"{said}No gateway answers at http://127.0.0.1:1.\n"
    assert [image["image"] for image in json.loads(ran.stdout)] == [f"{REGISTRY}/lab/analysis:1.0-py3.11"]
