"""What workers wrote: from the gateway's sandbox, or from a session's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from htcdaskgateway.errors import InvalidRequestError, ScheddUnavailableError
from htcdaskgateway.sandbox import Sandbox
from htcdaskgateway.server.orders import Orders
from htcdaskgateway.server.session_schedd import SessionSchedd
from htcdaskgateway.server.worker_logs import last_words, worker_logs

CLUSTER: Any = SimpleNamespace(name="c1")


@pytest.fixture
def site(tmp_path: Path) -> Any:
    return SimpleNamespace(sandbox=lambda name: Sandbox(tmp_path, name))


class Session(SessionSchedd):
    """One whose session answers with these logs, or not at all."""

    def __init__(self, told: dict[str, dict[str, str]] | None) -> None:
        super().__init__("c1", "alice", Orders(60), 60)
        self.told = told

    async def logs(self, worker: str, tail: int | None) -> dict[str, dict[str, str]]:
        if self.told is None:
            raise ScheddUnavailableError("", "no session is attached")
        return self.told


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("first\nlast line\n\n", "last line"),
        ("", ""),
        ("x" * 10_000, "x" * 300),
        ("\n \n", ""),
    ],
)
async def test_last_words(site: Any, content: str, words: str) -> None:
    site.sandbox("c1").prepare({"worker-w.err": content})
    assert await last_words(site, CLUSTER, None, "w") == words
    assert await last_words(site, CLUSTER, None, "another") == ""


async def test_a_session_is_asked_for_what_came_back_to_its_own_sandbox(site: Any) -> None:
    site.sandbox("c1").prepare({"worker-w.err": "of the gateway's"})
    session = Session({"w": {"err": "of the session's\n", "out": "1"}})
    assert await worker_logs(site, CLUSTER, session, "w", None) == session.told
    assert await last_words(site, CLUSTER, session, "w") == "of the session's"
    assert await worker_logs(site, CLUSTER, None, "w", None) == {"w": {"err": "of the gateway's"}}


async def test_last_words_are_only_an_addition(site: Any) -> None:
    assert await last_words(site, CLUSTER, Session(None), "w") == ""
    assert await last_words(site, CLUSTER, None, "../w") == ""
    with pytest.raises(InvalidRequestError):
        await worker_logs(site, CLUSTER, None, "../w", None)
