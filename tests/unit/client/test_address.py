"""Where a gateway is, and what is said if nobody knows."""

from __future__ import annotations

import pickle
import re
from typing import Any

import dask.config
import pytest

from htcdaskgateway import HTCGateway, HTCGatewayCluster
from htcdaskgateway.client.address import check_addresses
from htcdaskgateway.client.errors import NoAddressError
from htcdaskgateway.errors import InvalidRequestError

HERE = "http://127.0.0.1:1"
TEXT = """\
There is no gateway to ask: no address was given, and Dask's configuration has none.
  looked for: the argument, gateway.address, the environment variable DASK_GATEWAY__ADDRESS
HTCGateway(address=…) and --address=URL give it once; for good, as an example:
export DASK_GATEWAY__ADDRESS=https://dask.example.org"""


def configured(**values: Any) -> dask.config.set:
    keys = ("address", "public-address", "proxy-address", "http-client.proxy")
    return dask.config.set({f"gateway.{key}": values.get(re.sub("[-.]", "_", key)) for key in keys})


@pytest.mark.parametrize("address", [None, ""])
def test_no_address(address: str | None) -> None:
    with configured():
        for make in (
            lambda: HTCGateway(address),
            lambda: HTCGatewayCluster(address=address),
            lambda: HTCGatewayCluster.from_name("c1", address=address),
        ):
            with pytest.raises(NoAddressError) as caught:
                make()
            assert isinstance(caught.value, ValueError)  # as dask-gateway's is
            assert str(caught.value) == TEXT
    assert str(pickle.loads(pickle.dumps(caught.value))) == TEXT


def test_an_empty_one_of_the_configuration() -> None:
    with configured(address=""), pytest.raises(NoAddressError):
        HTCGateway()


WRONG = [
    (
        {"address": "http://{HOST}:8000"},
        "gateway.address names the environment variable HOST, which is not set.",
    ),
    (
        {"address": HERE, "public_address": "https://hub{BELOW}x"},
        "gateway.public-address names the environment variable BELOW, which is not set.",
    ),
    ({"address": HERE, "proxy_address": "{"}, "gateway.proxy-address is no address: "),
    ({"address": HERE, "proxy_address": "{}"}, "gateway.proxy-address is no address: "),
    ({"address": HERE, "proxy_address": "{A.b}"}, "gateway.proxy-address is no address: "),
    (
        {"address": HERE, "http_client_proxy": "http://{HOST}:3128"},
        "gateway.http-client.proxy names the environment variable HOST, which is not set.",
    ),
    ({"address": 8000}, "The address of a gateway is text, not 8000."),
    ({"address": "http://{A}:x"}, "'http://a:x' is no address: Port could not be cast to integer value"),
]


@pytest.mark.parametrize(("values", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_no_good_one(values: dict[str, Any], sentence: str) -> None:
    with configured(**values), pytest.raises(InvalidRequestError) as caught:
        check_addresses(None, {"A": "a"})
    assert caught.value.sentence.startswith(sentence)


def test_good_ones() -> None:
    with configured(address="http://{A}:8000", proxy_address=8786):
        check_addresses(None, {"A": "a"})
        check_addresses("https://dask.example.org", {"A": "a"})
    with configured(address="http://{NOT_SET}"):
        check_addresses(HERE, {})  # the argument is what counts
    with pytest.raises(InvalidRequestError, match="is text, not 5"):
        check_addresses(5, {})


def test_no_token_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN", raising=False)
    with pytest.raises(InvalidRequestError, match="no client of this gateway: No JupyterHub API token"):
        HTCGateway(HERE, auth="jupyterhub")
