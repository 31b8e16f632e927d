from __future__ import annotations

import os
from pathlib import Path

import pytest

from htcdaskgateway.demo.pool import NONE_HERE, Pool, find_pool
from htcdaskgateway.demo.run import choose
from htcdaskgateway.errors import ScheddUnavailableError


def test_sentences() -> None:
    assert Pool().sentence == NONE_HERE
    assert Pool("s@h", "h").sentence == "Workers run as HTCondor jobs of the schedd s@h."
    refused = Pool(refusal="the schedd is away")
    assert (
        refused.sentence
        == "HTCondor cannot be used: the schedd is away. Workers run as plain local processes."
    )


def test_workers_are_kept_on_this_host_where_they_could_go_elsewhere() -> None:
    assert Pool("s", "h", elsewhere=False).requirements == ""
    assert Pool("s", "h", elsewhere=True).requirements == 'TARGET.Machine == "h"'


@pytest.mark.skipif(os.geteuid() == 0, reason="root is not asked at all")
def test_a_configuration_without_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDOR_CONFIG", str(tmp_path / "absent"))
    found = find_pool()
    assert not found.usable
    assert found.refusal


def test_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDOR_CONFIG", "/dev/null")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert find_pool(0.001) == Pool(refusal="it did not answer within 0.001 s")


def test_what_was_asked_for_is_not_silently_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("CONDOR_CONFIG", "/dev/null")
    assert choose("auto").refusal == "a schedd takes no jobs of root"
    assert choose("processes") == Pool()
    with pytest.raises(ScheddUnavailableError, match="takes no jobs of root"):
        choose("htcondor")
