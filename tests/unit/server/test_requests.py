from __future__ import annotations

from typing import Any

import pytest
from dask_gateway_server.backends.base import PublicException

from htcdaskgateway.server.backend import check_message


@pytest.mark.parametrize(
    "message",
    [
        {"op": "scale", "count": 0},
        {"op": "scale", "count": 7},
        {"op": "adapt", "minimum": None, "maximum": None, "active": True},
        {"op": "adapt", "minimum": 0, "maximum": 5, "active": True},
    ],
)
def test_what_a_scheduler_understands(message: dict[str, Any]) -> None:
    check_message(message)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"op": "scale", "count": True}, "count must be a whole number of workers, not True"),
        ({"op": "scale", "count": 1.5}, "not 1.5"),
        ({"op": "adapt", "minimum": "2"}, "minimum must be"),
        ({"op": "adapt", "maximum": -1}, "maximum must be"),
    ],
)
def test_what_it_does_not(message: dict[str, Any], words: str) -> None:
    with pytest.raises(PublicException, match=words):
        check_message(message)
