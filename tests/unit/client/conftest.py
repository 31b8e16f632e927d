"""A gateway that answers as ours does and starts nothing, and images that are directories."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dask.config
import pytest
from aiohttp import web

from htcdaskgateway import HTCGateway
from htcdaskgateway.versions import versions_here

REGISTRY = "registry.example.org"


@pytest.fixture(autouse=True)
def _own_configuration() -> Iterator[None]:
    """Not that of the person who runs the tests."""
    with dask.config.set({"htcdaskgateway": {}, "gateway.cluster.options": {}}):
        yield


def option(field: str, default: str) -> dict[str, Any]:
    return {"field": field, "label": field, "default": default, "spec": {"type": "string"}}


class Answers:
    """What a gateway answers, on a port of its own.

    Attributes
    ----------
    site : dict or None
        Of ``GET /api/v1/site``; None: there is no such route.
    submitted : list of dict
        Cluster options of each cluster that was asked for.
    more : dict
        Answers of further paths to GET: HTTP status and content; what is not there is not found.
    asked : list of str
        Those paths, with their queries.
    """

    def __init__(self, site: dict[str, Any] | None) -> None:
        self.site, self.submitted = site, list[dict[str, Any]]()
        self.options = [option("image", "site/default:1")]
        self.more: dict[str, tuple[int, Any]] = {}
        self.asked: list[str] = []
        self.url = ""

    async def get_more(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        status, content = self.more.get(request.path, (404, {"error": "404: Not Found"}))
        return web.json_response(content, status=status)

    async def get_site(self, request: web.Request) -> web.Response:
        if self.site is None:
            return web.json_response({"error": "404: Not Found"}, status=404)
        return web.json_response(self.site)

    async def get_options(self, request: web.Request) -> web.Response:
        return web.json_response({"cluster_options": self.options})

    async def submit(self, request: web.Request) -> web.Response:
        self.submitted.append((await request.json())["cluster_options"])
        return web.json_response({"name": f"c{len(self.submitted)}"}, status=201)

    async def serve(self, ready: Callable[[], None], end: asyncio.Event) -> None:
        app = web.Application()
        app.router.add_get("/api/v1/site", self.get_site)
        app.router.add_get("/api/v1/options", self.get_options)
        app.router.add_post("/api/v1/clusters/", self.submit)
        app.router.add_get("/{path:.*}", self.get_more)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
        ready()
        await end.wait()
        await runner.cleanup()


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    """A gateway with the runtime apptainer, whose image root is this test's."""
    gateway = Answers(
        {
            "runtime": "apptainer",
            "image": "site/default:1",
            "image_registry": REGISTRY,
            "image_root": str(tmp_path / "root"),
            "registry_aliases": {"docker.io": "registry.hub.docker.com"},
            "check_versions": "error",
        }
    )
    ready, loop, end = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[gateway.serve(ready.set, end)])
    thread.start()
    assert ready.wait(10)
    yield gateway
    loop.call_soon_threadsafe(end.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def client(answers: Answers) -> Iterator[HTCGateway]:
    with HTCGateway(answers.url) as gateway:
        yield gateway


MakeImage = Callable[..., Path]


@pytest.fixture
def make_image(tmp_path: Path) -> MakeImage:
    """``make_image("name:tag", dask="1.0")``: an image with these versions, otherwise those of the tests."""

    def make(name: str, registry: str = REGISTRY, **versions: str) -> Path:
        return write_image(tmp_path / "root" / registry / name, versions)

    return make


def write_image(image: Path, versions: Mapping[str, str]) -> Path:
    installed = {**versions_here(), **{name.replace("_", "-"): value for name, value in versions.items()}}
    python = ".".join(installed.pop("python").split(".")[:2])
    bin_directory, packages = image / "opt/env/bin", image / f"opt/env/lib/python{python}/site-packages"
    bin_directory.mkdir(parents=True)
    packages.mkdir(parents=True)
    program = bin_directory / f"python{python}"
    program.write_text("")
    program.chmod(0o755)
    (bin_directory / "python3").symlink_to(program.name)
    dask = bin_directory / "dask"
    dask.write_text("#!/opt/env/bin/python3\n")
    dask.chmod(0o755)
    environment = image / ".singularity.d/env"
    environment.mkdir(parents=True)
    (environment / "10-docker2singularity.sh").write_text('export PATH="/opt/env/bin:/usr/bin:/bin"\n')
    for name, version in installed.items():
        if version:
            info = packages / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir()
            metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            (info / "METADATA").write_text(metadata)
            (info / "RECORD").write_text(f"{info.name}/METADATA,,\n")
    return image
