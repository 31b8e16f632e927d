"""Which HTCondor a session uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.config
import pytest

from htcdaskgateway.client.condor_access import Schedds, configured_access
from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.bindings import BindingsSchedd
from htcdaskgateway.condor.choice import ScheddLoad
from htcdaskgateway.condor.errors import NoScheddError
from htcdaskgateway.condor.processes import ProcessSchedd
from htcdaskgateway.condor.schedd import Schedd
from htcdaskgateway.condor.tools import ToolsSchedd
from htcdaskgateway.errors import ConfigurationError


def configured(**settings: Any) -> Access:
    with dask.config.set({"htcdaskgateway.condor": settings}):
        return configured_access()


@pytest.fixture
def _no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.usefixtures("_no_tools")
def test_without_configuration() -> None:
    assert configured_access() == Access("bindings")


def test_all_settings() -> None:
    tools = {"condor_submit": "/usr/local/bin/condor_submit"}
    access = configured(interface="Tools", schedd="s@h", pool="cm:9618", timeout=5, tools=tools)
    assert access == Access("tools", "s@h", "cm:9618", programs=tools, timeout=5.0)


@pytest.mark.parametrize(
    ("schedd", "name", "names", "constraint"),
    [
        ("", "", (), ""), ("s@h", "s@h", (), ""), ("any", "", (), "true"),
        (" a@h  b@h\n", "", ("a@h", "b@h"), ""), (["a@h", "b@h"], "", ("a@h", "b@h"), ""),
        (["s@h"], "s@h", (), ""), (["any"], "", (), "true"), ([], "", (), ""), (None, "", (), ""),
    ],
)  # fmt: skip
def test_schedds(schedd: object, name: str, names: tuple[str, ...], constraint: str) -> None:
    access = configured(interface="tools", schedd=schedd)
    assert (access.schedd_name, access.schedd_names, access.schedd_constraint) == (name, names, constraint)


@pytest.mark.parametrize(
    "settings",
    [
        {"interface": "magic"}, {"interface": 1}, {"schedd": 5}, {"schedd": ["a@h", 5]}, {"schedd": [""]},
        {"schedd": ["-all"]}, {"schedd": {"a@h": 1}}, {"schedd": "-all"}, {"timeout": "5"},
        {"timeout": 0}, {"pool": "cm"}, {"tools": "condor_submit"}, {"tools": {"condor_submit": 1}},
        {"tools": ["x"]},
    ],
)  # fmt: skip
@pytest.mark.usefixtures("_no_tools")
def test_unusable_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        configured(**settings)


@pytest.mark.parametrize("where", ["PATH", "setting", "nowhere"])
@pytest.mark.parametrize("bindings", [True, False])
def test_auto(where: str, bindings: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs first: a site may have wrapped them, and wants them used."""
    program = tmp_path / "condor_submit"
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) if where == "PATH" else "/nowhere")
    if not bindings:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    tools = {"condor_submit": str(program)} if where == "setting" else {}
    if where == "nowhere" and not bindings:
        with pytest.raises(ConfigurationError, match="neither condor_submit in PATH nor"):
            configured(tools=tools)
    else:
        assert configured(tools=tools).interface == ("bindings" if where == "nowhere" else "tools")


def test_bindings_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="there is no Python package htcondor2"):
        configured(interface="bindings")


@pytest.mark.parametrize(
    ("interface", "kind"),
    [("bindings", BindingsSchedd), ("tools", ToolsSchedd), ("processes", ProcessSchedd)],
)
async def test_each_schedd_is_made_once(interface: str, kind: type[Schedd]) -> None:
    schedds = Schedds(Access(interface))
    default = await schedds.of("")
    assert type(default) is kind
    assert await schedds.of("") is default
    named = await schedds.of("s@h")
    assert await schedds.of("s@h") is named
    await schedds.close()


async def test_a_schedd_is_known_by_the_name_that_it_turned_out_to_have() -> None:
    """The gateway sends it back as the one that has the cluster's jobs."""
    schedds = Schedds(Access("processes", schedd_constraint="true"))
    default = await schedds.of("")
    assert await schedds.of("local processes") is default
    await schedds.close()


class Pool(Access):
    def _collector(self) -> Any:
        return self

    async def schedds(self, constraint: str = "") -> list[ScheddLoad]:
        return [ScheddLoad("a@h"), ScheddLoad("b@h", duty_cycle=0.99)]

    async def close(self) -> None:
        return


async def test_one_of_several_is_chosen_where_the_gateway_names_none() -> None:
    schedds = Schedds(Pool("tools", schedd_constraint="true"))
    chosen = await schedds.of("")
    assert chosen.name == "a@h"
    assert (await schedds.of("b@h")).name == "b@h"  # busy or not: it has the jobs
    assert await schedds.of("a@h") is chosen
    with pytest.raises(NoScheddError, match="b@h"):
        await Schedds(Pool("tools", schedd_names=("b@h",))).of("")
