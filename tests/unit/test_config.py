from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files

import dask.config
import pytest
import yaml

from htcdaskgateway import config
from htcdaskgateway.config import setting
from htcdaskgateway.errors import ConfigurationError

NAMES = ("image", "image-registry", "image-root", "check-versions", "apptainer")


@pytest.fixture(autouse=True)
def _own_configuration() -> Iterator[None]:
    """Not that of the person who runs the tests."""
    with dask.config.set({"htcdaskgateway": {}}):
        yield


def test_the_file_of_defaults_names_every_setting_and_decides_none() -> None:
    text = (files("htcdaskgateway") / "htcdaskgateway.yaml").read_text()
    (given,) = yaml.safe_load(text).values()
    assert set(NAMES) <= set(given)
    condor = given.pop("condor")
    assert {*given.values(), *condor.values()} == {None}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_set_is_what_the_gateway_says(name: str) -> None:
    assert setting(name, "the gateway's") == "the gateway's"
    with dask.config.set({f"htcdaskgateway.{name}": None}):
        assert setting(name, "the gateway's") == "the gateway's"
    with dask.config.set({f"htcdaskgateway.{name.replace('-', '_')}": "mine"}):
        assert setting(name, "the gateway's") == "mine"


def test_an_environment_variable_of_dask() -> None:
    code = (
        "from htcdaskgateway.config import setting; print(setting('image-root'), setting('check-versions'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "PYTHONPATH": ":".join(sys.path),
            "DASK_HTCDASKGATEWAY__IMAGE_ROOT": "/images",
            "DASK_HTCDASKGATEWAY__CHECK_VERSIONS": "off",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.stdout.strip(), ran.returncode) == ("/images off", 0), ran.stderr


def test_the_word_off_of_yaml_is_understood() -> None:
    with dask.config.set(yaml.safe_load("htcdaskgateway: {check-versions: off}")):
        assert setting("check-versions") == "off"


@pytest.mark.parametrize("value", [7, True, ["a"], {"a": 1}, False])
def test_what_is_no_text_is_refused(value: object) -> None:
    with dask.config.set({"htcdaskgateway.image": value}), pytest.raises(ConfigurationError) as caught:
        setting("image")
    assert str(caught.value) == (
        f"htcdaskgateway.image in Dask's configuration must be text, not {value!r}.\n"
        "Put it in quotation marks."
    )


def test_defaults_win_over_nothing_that_a_person_has_set() -> None:
    config._put_in_defaults.cache_clear()
    with dask.config.set({"htcdaskgateway.image": "mine:1"}):
        assert setting("image") == "mine:1"
