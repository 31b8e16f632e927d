"""Who the session says it is, where that cannot be said."""

from __future__ import annotations

import importlib.util
import json
import traceback
from typing import Any

import dask.config
import pytest
from click.testing import CliRunner
from dask_gateway.auth import BasicAuth, GatewayAuth, JupyterHubAuth, KerberosAuth

from htcdaskgateway import HTCGateway
from htcdaskgateway.cli.group import htcdask
from htcdaskgateway.cli.remedies import in_a_shell
from htcdaskgateway.errors import InvalidRequestError

HERE = "http://127.0.0.1:9"
SECRET = "pa{ss}word"


def configured(kind: object, **keywords: Any) -> dask.config.set:
    return dask.config.set({"gateway.auth.type": kind, "gateway.auth.kwargs": keywords})


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)


without_kerberos = pytest.mark.skipif(bool(importlib.util.find_spec("kerberos")), reason="kerberos is there")
WRONG = [
    ("nonsense", {}, "No module named 'nonsense'", "basic, jupyterhub or kerberos"),
    ("nonsense.A", {}, "No module named 'nonsense'", "package.module.Class"),
    ("json.Nothing", {}, "Failed to import json.Nothing", "basic, jupyterhub or kerberos"),
    ("json", {}, "'module' object is not callable", "basic, jupyterhub or kerberos"),
    ("json.dumps", {}, "dumps() missing 1 required positional argument", "basic, jupyterhub or kerberos"),
    ("dask.config.collect", {}, "auth must be instance of GatewayAuth", "basic, jupyterhub or kerberos"),
    (5, {}, "Unknown auth value 5", "basic, jupyterhub or kerberos"),
    ("", {}, "Empty module name", "basic, jupyterhub or kerberos"),
    ("jupyterhub", {}, "No JupyterHub API token", "export JUPYTERHUB_API_TOKEN=…"),
    ("jupyterhub", {"username": "me"}, "keyword argument 'username'", "Take out of gateway.auth.kwargs"),
    ("basic", {"password": SECRET}, "gateway.auth.kwargs.password cannot be filled in", "{{ for a brace"),
    pytest.param("kerberos", {}, "module kerberos", "dask-gateway[kerberos]", marks=without_kerberos),
]


@pytest.mark.parametrize(("kind", "keywords", "why", "remedy"), WRONG)
def test_what_cannot_be_made(kind: object, keywords: dict[str, Any], why: str, remedy: str) -> None:
    with configured(kind, **keywords), pytest.raises(InvalidRequestError) as caught:
        HTCGateway(HERE)
    assert caught.value.sentence.startswith("There can be no client of this gateway: ")
    assert why in caught.value.sentence
    assert caught.value.facts["gateway.auth.type"] == repr(str(kind))
    assert remedy in caught.value.remedy
    shown = "".join(traceback.format_exception(caught.value))
    assert "ss}" not in shown
    assert "KeyError" not in shown
    with configured(kind, **keywords):  # a command says the same, without a traceback
        ran = CliRunner().invoke(htcdask, ["clusters", "--address", HERE])
    assert isinstance(ran.exception, SystemExit)
    caught.value.remedy = in_a_shell(caught.value.remedy)
    assert ran.output == f"Error: {caught.value}\n"


def test_keywords_that_are_no_mapping() -> None:
    with (
        dask.config.set({"gateway.auth.kwargs": ["a"]}),
        pytest.raises(InvalidRequestError, match=r"gateway.auth.kwargs is no mapping\.\n  auth: 'basic'"),
    ):
        HTCGateway(HERE, auth="basic")


@without_kerberos
def test_an_object_that_needs_what_is_not_there() -> None:
    with pytest.raises(InvalidRequestError, match="module kerberos"):
        HTCGateway(HERE, auth=KerberosAuth())


class Own(GatewayAuth):
    """Of a site."""


@pytest.mark.parametrize(
    ("kind", "keywords", "made"),
    [
        ("basic", {"username": "me"}, BasicAuth),
        ("jupyterhub", {"api_token": "{HOME}"}, JupyterHubAuth),
        (f"{__name__}.Own", {}, Own),
        (Own, {}, Own),
    ],
)
def test_what_can_be_made(
    kind: object, keywords: dict[str, Any], made: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    with configured(kind, **keywords), HTCGateway(HERE) as gateway:
        assert type(gateway.auth) is made
        assert json.dumps(vars(gateway.auth)).count("{") == 1  # filled in
    own = Own()
    with configured("nonsense"), HTCGateway(HERE, None, None, own) as gateway:
        assert gateway.auth is own
    with pytest.raises(TypeError, match="nonsense"):
        HTCGateway(HERE, nonsense=1)  # the caller's own mistake stays what it is
