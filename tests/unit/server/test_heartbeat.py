from __future__ import annotations

from typing import Any

import pytest

from htcdaskgateway.server.heartbeat import Heartbeat
from htcdaskgateway.server.verdicts import Link

MESSAGE: dict[str, Any] = {
    "count": 3,
    "active_workers": ["a", "c"],
    "closing_workers": ["b"],
    "closed_workers": ["d", "a"],
    "scheduler_address": "tls://127.0.0.1:1",
    "dashboard_address": "http://127.0.0.1:2",
    "api_address": "http://127.0.0.1:3",
}


def same(names: str) -> dict[str, str]:
    """Workers whose name in Dask is their own."""
    return {name: name for name in names}


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("a", Link.LOST, Link.CONNECTED),  # it was closed once and came again
        ("b", Link.CONNECTED, Link.RETIRING),
        ("d", Link.CONNECTED, Link.LOST),
        ("d", Link.NEVER, Link.LOST),  # came and went between two heartbeats
        ("e", Link.NEVER, Link.NEVER),
        ("e", Link.CONNECTED, Link.LOST),  # a scheduler that started anew knows nobody
        ("e", Link.RETIRING, Link.LOST),
    ],
)
def test_link(name: str, before: Link, after: Link) -> None:
    assert Heartbeat.from_json(MESSAGE, same("abcde"), None).link(name, before) is after


def test_names_of_nobody_are_left_out() -> None:
    beat = Heartbeat.from_json({**MESSAGE, "active_workers": ["a", "stranger", 7]}, same("abc"), None)
    assert beat.active == {"a"}


def test_names_in_dask_are_those_of_jobs() -> None:
    message = {**MESSAGE, "active_workers": ["htcdask-worker_12_0", "htcdask-worker_13_0", "b"]}
    beat = Heartbeat.from_json(message, {"htcdask-worker_12_0": "a", "a": "a", "b": "b"}, None)
    assert beat.active == {"a", "b"}


def test_the_sites_limit_binds_a_scheduler_that_asks_for_more() -> None:
    assert Heartbeat.from_json(MESSAGE, {}, 2).count == 2
    assert Heartbeat.from_json(MESSAGE, {}, None).count == 3


@pytest.mark.parametrize(
    "change",
    [
        {"count": -1},
        {"count": "3"},
        {"count": True},
        {"count": 1.5},
        {"active_workers": None},
        {"scheduler_address": 7},
        {"api_address": "x" * 300},
    ],
)
def test_what_is_no_heartbeat_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Heartbeat.from_json({**MESSAGE, **change}, same("abc"), None)


def test_a_field_that_is_missing_is_refused() -> None:
    with pytest.raises(KeyError):
        Heartbeat.from_json({"count": 1}, same("abc"), None)


@pytest.mark.parametrize(
    ("host", "change"),
    [
        ("127.0.0.1", {}),
        ("0.0.0.0", {"api_address": "http://10.1.2.3:4"}),
        ("gateway.example.org", {"api_address": "http://10.1.2.3:4"}),
        ("127.0.0.1", {"dashboard_address": ""}),
    ],
)
def test_addresses_of_a_scheduler(host: str, change: dict[str, str]) -> None:
    Heartbeat.from_json({**MESSAGE, **change}, same("abc"), None).check_addresses(host)


@pytest.mark.parametrize(
    "change",
    [
        {"api_address": "http://169.254.169.254:80"},
        {"dashboard_address": "http://10.0.0.1:8787"},
        {"scheduler_address": "tcp://127.0.0.1:1"},
        {"scheduler_address": "tls://127.0.0.1"},
        {"api_address": "file:///etc/passwd"},
        {"api_address": "http://127.0.0.1:99999"},
    ],
)
def test_a_scheduler_does_not_lead_the_gateway_elsewhere(change: dict[str, str]) -> None:
    beat = Heartbeat.from_json({**MESSAGE, **change}, same("abc"), None)
    with pytest.raises(ValueError):  # noqa: PT011 - a port out of range is urlsplit's own
        beat.check_addresses("127.0.0.1")


def test_addresses_that_the_gateway_knows_better() -> None:
    known = {key: f"x://10.0.0.1:{port}" for port, key in enumerate(ADDRESSES, 1)}
    beat = Heartbeat.from_json(MESSAGE, same("abc"), None)
    assert beat.at(known).addresses == known
    without = Heartbeat.from_json({**MESSAGE, "dashboard_address": ""}, same("abc"), None)
    assert without.at(known).addresses == {**known, "dashboard_address": ""}


ADDRESSES = ("scheduler_address", "dashboard_address", "api_address")
