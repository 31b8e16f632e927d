"""What the documentation tells people to type is there: methods, keywords, commands, settings, files."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import dask_gateway
import pytest
import yaml
from dask_gateway_server.options import Options
from distributed import Client
from docs._ext.error_pages import modules
from tests.unit.test_docs import PAGES, ROOT, prose
from tests.unit.test_docs_code import blocks, doctest_sources

from htcdaskgateway import HTCGateway, HTCGatewayCluster
from htcdaskgateway.cli.group import COMMANDS, htcdask
from htcdaskgateway.server import HTCondorBackend
from htcdaskgateway.server.worker_options import WorkerOptions

EVERY = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
OURS = {"gateway": HTCGateway, "cluster": HTCGatewayCluster, "client": Client}
ATTRIBUTES = {"gateway": {"address"}, "cluster": {"name", "status", "dashboard_link", "scheduler_address"}}
IMAGE_OPTIONS = {"image", "image_registry"}
SITES_OWN = {"gpus"}  # options that a page defines as an example
OLD = {ROOT / "CHANGELOG.md", ROOT / "docs/guide/migrating-from-0.1.25.md"}  # they name what is gone
REFERENCE = ROOT / "docs/reference/python.md"

_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_NAMED = re.compile(r"(?<![\w./-])(?:gateway|cluster|client)\.[a-z]\w+(?=\()")
_COMMAND = re.compile(r"^[$#] (.*)$", re.MULTILINE)


def worker_options() -> set[str]:
    fields: Options = WorkerOptions(1, 2**30, (1, 4), (1, 8), {})
    return {field.field for field in fields.fields}


def allowed(method: Callable[..., Any], name: str) -> set[str] | None:
    """Names of its keywords; None: any."""
    parameters = inspect.signature(method).parameters.values()
    names = {one.name for one in parameters}
    if name in ("new_cluster", "submit"):
        return names | worker_options() | IMAGE_OPTIONS | SITES_OWN | {"check_versions", "apptainer_image"}
    return None if any(one.kind is one.VAR_KEYWORD for one in parameters) else names


def wrong_calls(tree: ast.AST) -> Iterator[str]:
    """Give methods that do not exist, and keywords that a method does not know."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        of, name = node.value.id, node.attr
        if of in OURS and not hasattr(OURS[of], name) and name not in ATTRIBUTES.get(of, ()):
            yield f"{of}.{name}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        method: Any = None
        if isinstance(node.func, ast.Name) and node.func.id == "HTCGateway":
            method, name = dask_gateway.Gateway, "HTCGateway"
        elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            name = node.func.attr
            method = getattr(OURS.get(node.func.value.id), name, None)
        known = allowed(method, name) if method is not None else None
        if known is not None:
            yield from (f"{name}({one.arg}=)" for one in node.keywords if one.arg and one.arg not in known)


def sources(page: Path) -> Iterator[str]:
    """What is Python on a page: blocks, what is typed at a prompt, and calls in the text."""
    text = page.read_text(encoding="utf-8")
    for language, content in blocks(text):
        if language == "python":
            yield content
        elif language == "pycon":
            yield from doctest_sources(content)
    for code in _CODE.findall(prose(page)):
        if re.fullmatch(r"gateway[\w.-]+", code):  # a key of Dask's configuration, or a file
            continue
        try:
            ast.parse(code)
        except SyntaxError:  # such as `cluster.scale(…)`
            yield from _NAMED.findall(code)
        else:
            yield code


def strangers(page: Path) -> list[str]:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    found: list[str] = []
    for code in sources(page):
        tree = compile(code, str(page), "exec", flags=flags)
        assert isinstance(tree, ast.AST)
        found += wrong_calls(tree)
    return found


@EVERY
def test_methods_and_keywords_exist(page: Path) -> None:
    assert page in OLD or strangers(page) == []


@cache
def dask_gateway_defaults() -> dict[str, Any]:
    text = (files("dask_gateway") / "gateway.yaml").read_text(encoding="utf-8")
    defaults: dict[str, Any] = yaml.safe_load(text)["gateway"]
    return defaults


@cache
def own_defaults() -> dict[str, Any]:
    text = (files("htcdaskgateway") / "htcdaskgateway.yaml").read_text(encoding="utf-8")
    defaults: dict[str, Any] = yaml.safe_load(text)["htcdaskgateway"]
    return defaults


def keys(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of a configuration's keys; Dask takes both spellings of a hyphen."""
    for name, value in mapping.items():
        yield f"{prefix}{name}".replace("_", "-")
        if isinstance(value, Mapping):
            yield from keys(value, f"{prefix}{name}.")


def unknown_keys(given: Mapping[str, Any]) -> list[str]:
    known = {"htcdaskgateway": own_defaults(), "gateway": dask_gateway_defaults()}
    free = ("auth.kwargs.", "cluster.options.", "condor.tools.")
    return [
        f"{section}.{key}"
        for section, defaults in known.items()
        for key in keys(given.get(section) or {})
        if key not in set(keys(defaults)) and not key.startswith(free)
    ]


@EVERY
def test_settings_of_sessions_exist(page: Path) -> None:
    for language, content in blocks(page.read_text(encoding="utf-8")):
        if language == "yaml" and page.parent.name != "admin":  # there it is values of the chart
            for document in yaml.safe_load_all(content):
                assert not isinstance(document, dict) or unknown_keys(document) == []
    named = re.findall(r"`htcdaskgateway\.([a-z][a-z_.-]*[a-z])`", prose(page))
    assert [name for name in named if not is_there(name)] == []


def is_there(name: str) -> bool:
    """Whether Dask's configuration has this key, or the package this module or what is in it."""
    if name == "yaml" or name in set(keys(own_defaults())):
        return True
    module, _, rest = f"htcdaskgateway.{name}".rpartition(".")
    for path, attribute in ((f"{module}.{rest}", ""), (module, rest)):
        try:
            found = importlib.import_module(path)
        except ImportError:
            continue
        return not attribute or hasattr(found, attribute)
    return False


def typed(page: Path) -> Iterator[str]:
    """Give the commands that a page tells people to type."""
    for language, content in blocks(page.read_text(encoding="utf-8")):
        if language == "console":
            yield from _COMMAND.findall(content.replace("\\\n", " "))
        elif language in ("sh", "bash"):
            yield from content.splitlines()
    yield from _CODE.findall(prose(page))


def refused(command: str) -> str:
    """Say what this command has that there is not; empty: nothing, or it is no command of this project."""
    words = shlex.split(command, comments=True) if command.count("'") % 2 == 0 else command.split()
    if words[:1] == ["htcdask"] and len(words) > 1:
        name, *arguments = words[1:]
        if name.startswith("-"):
            return ""
        found = htcdask.get_command(click.Context(htcdask), name) if name in COMMANDS else None
        if found is None:
            return f"htcdask {name}"
        try:
            found.make_parser(click.Context(found)).parse_args([one for one in arguments if one != "…"])
        except click.UsageError as error:
            return f"{command}: {error.message}"
    if words[:1] == ["make"] and len(words) > 1 and words[1] not in targets():
        return command
    if (
        words
        and re.fullmatch(r"(scripts|tests|benchmarks|\.ci)/[\w/.-]+", words[0])
        and not (ROOT / words[0]).exists()
    ):
        return command
    return ""


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def all_refused(commands: Iterable[str]) -> list[str]:
    return [why for why in map(refused, commands) if why]


@EVERY
def test_commands_exist(page: Path) -> None:
    assert all_refused(typed(page)) == []


@cache
def raised() -> set[str]:
    """Names of what is raised and warned of: here, in Python, in Dask."""
    found: set[str] = set()
    for name in modules():
        found |= set(vars(importlib.import_module(name)))
    return found | set(dir(builtins)) | set(dir(dask_gateway)) | {"TraitError"}


def unknown_errors(text: str) -> set[str]:
    return set(re.findall(r"\b[A-Z]\w+(?:Error|Warning)\b", text)) - raised()


@EVERY
def test_errors_exist(page: Path) -> None:
    assert page in OLD or unknown_errors(page.read_text(encoding="utf-8")) == set()


def test_a_wrong_error_is_found() -> None:
    text = "`except HTCDaskError`, LimitError: 3, an ImageDoubtWarning, LimitsError"
    assert unknown_errors(text) == {"LimitsError"}


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("kind", [HTCGateway, HTCGatewayCluster])
def test_the_reference_has_every_public_name(kind: type) -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    _, _, section = text.partition(f"\n## {kind.__name__}\n")
    section, _, _ = section.partition("\n## ")
    assert section
    assert [name for name in public(kind) if not re.search(rf"\b{name}\b", section)] == []


def test_the_reference_has_what_is_imported_from_the_package() -> None:
    shown = set(re.findall(r"^\.\. auto\w+:: (\w+)", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(importlib.import_module("htcdaskgateway").__all__) <= shown


def test_the_reference_has_every_option() -> None:
    section = (
        REFERENCE.read_text(encoding="utf-8").partition("## Options of a cluster")[2].partition("\n## ")[0]
    )
    options = worker_options() | IMAGE_OPTIONS
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == options
    backend: Any = HTCondorBackend
    settings = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| `.*\|(.*)\|$", section, re.MULTILINE))))
    assert settings <= set(backend.class_traits(config=True))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("cluster.sclae(3)", ["cluster.sclae"]),
        ("gateway.new_cluster(imag='x')", ["new_cluster(imag=)"]),
        ("cluster.wait_for_workers(1, timout=3)", ["wait_for_workers(timout=)"]),
        ("HTCGateway(adress='x')", ["HTCGateway(adress=)"]),
        ("gateway.new_cluster(worker_cores=2, image='x').scale(1); client.submit(f, key='k')", []),
        ("cluster.dashboard_link", []),
    ],
)  # fmt: skip
def test_a_wrong_call_is_found(code: str, said: list[str]) -> None:
    assert list(wrong_calls(ast.parse(code))) == said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("htcdask chek", ["htcdask chek"]),
        ("htcdask logs NAME --tial 3", ["htcdask logs NAME --tial 3: No such option '--tial'."]),
        ("htcdask scale NAME 10 --wait 600", []),
        ("make tset", ["make tset"]),
        ("make test ARGS='-k x'", []),
        ("scripts/nothing --there", ["scripts/nothing --there"]),
        ("ls scripts/nothing", []),
    ],
)
def test_a_wrong_command_is_found(command: str, said: list[str]) -> None:
    assert [
        one.partition(" Did you")[0].replace(": No such option: --tial", ": No such option '--tial'.")
        for one in all_refused([command])
    ] == said


def test_a_wrong_setting_is_found() -> None:
    given = {
        "htcdaskgateway": {"imgae": 1, "condor": {"tools": {"condor_q": "/x"}}},
        "gateway": {"auth": {"typ": 1}},
    }
    assert unknown_keys(given) == ["htcdaskgateway.imgae", "gateway.auth.typ"]
    assert is_there("check-versions")
    assert is_there("client.errors.WorkersMissingError")
    assert not is_there("client.errors.NoSuchError")
    assert not is_there("no-such-key")
