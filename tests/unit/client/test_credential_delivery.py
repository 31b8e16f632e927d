"""When a renewed credential is brought, how often, and what is said if it cannot be."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from dask_gateway import GatewayServerError
from tests.unit.credentials import grid
from tests.unit.credentials.grid import HOUR, NOW

from htcdaskgateway.client import credential_delivery as module
from htcdaskgateway.client.credential_delivery import AGAIN, Delivery
from htcdaskgateway.client.session_credentials import CredentialWarning
from htcdaskgateway.condor.errors import NotRenewedError
from htcdaskgateway.credentials.files import write_private
from htcdaskgateway.credentials.tokens import BearerToken, parse_token
from htcdaskgateway.credentials.x509 import X509Proxy, parse_x509

PERSON = grid.user()


class World:
    """HTCondor and a scheduler, as far as a delivery sees them."""

    def __init__(self, sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sandbox = sandbox
        self.now = 0.0
        self.x509: list[tuple[str, str, float]] = []
        self.left = 0
        self.error: Exception | None = None
        self.tokens: list[tuple[bytes, set[str]]] = []
        self.trouble = ""
        self.delivery = Delivery("c1", sandbox, self.renew_x509, self.scheduler, lambda: self.now)
        monkeypatch.setattr(module, "deliver_token", self.deliver_token)

    async def renew_x509(self, cluster: str, path: str, until: float) -> int:
        self.x509.append((cluster, path, until))
        if self.error:
            raise self.error
        return self.left

    @contextlib.asynccontextmanager
    async def scheduler(self) -> AsyncIterator[Any]:
        if self.error:
            raise self.error
        yield "a connection"

    async def deliver_token(self, scheduler: Any, token: bytes, have: set[str]) -> tuple[set[str], str]:
        assert scheduler == "a connection"
        self.tokens.append((token, set(have)))
        return {"tls://nanny:1"}, self.trouble

    def has_token(self, **claims: Any) -> dict[str, Any]:
        content = grid.example_token(**claims)
        write_private(content, self.sandbox, "bearer.token")
        token: BearerToken = parse_token(content, "/home/me/token")
        return {"bearer.token": token}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    tmp_path.chmod(0o700)
    return World(tmp_path, monkeypatch)


def proxy(end: float = NOW + HOUR) -> dict[str, Any]:
    content = grid.proxy_file(grid.proxy_of(PERSON, grid.proxy_info(), end=end), PERSON)
    renewed: X509Proxy = parse_x509(content, "/home/me/proxy")
    return {"x509.pem": renewed}


async def test_jobs_are_told_at_once_and_again_for_those_to_come(world: World) -> None:
    first, second = proxy(), proxy(NOW + 2 * HOUR)
    await world.delivery.deliver({})
    await world.delivery.deliver(first)
    await world.delivery.deliver(first)
    path = str(world.sandbox / "x509.pem")
    assert world.x509 == [("c1", path, NOW + HOUR)]
    await world.delivery.deliver(second)
    assert world.x509[1:] == [("c1", path, NOW + 2 * HOUR)]
    world.now += AGAIN - 1
    await world.delivery.deliver(second)
    world.now += 1
    await world.delivery.deliver(second)
    assert len(world.x509) == 3


async def test_what_there_was_no_time_for_comes_next(world: World) -> None:
    world.left = 7
    renewed = proxy()
    await world.delivery.deliver(renewed)
    world.left = 0
    await world.delivery.deliver(renewed)
    await world.delivery.deliver(renewed)
    assert len(world.x509) == 2


async def test_workers_are_sent_the_token_that_is_in_the_sandbox(world: World) -> None:
    renewed = world.has_token()
    await world.delivery.deliver(renewed)
    world.now += AGAIN
    await world.delivery.deliver(renewed)
    first = (world.sandbox / "bearer.token").read_bytes()
    assert world.tokens == [(first, set()), (first, {"tls://nanny:1"})]
    await world.delivery.deliver(world.has_token(exp=NOW + 2 * HOUR))
    assert world.tokens[2] == ((world.sandbox / "bearer.token").read_bytes(), set())
    assert world.tokens[2][0] != first
    (world.sandbox / "bearer.token").unlink()
    world.now += AGAIN
    await world.delivery.deliver(renewed)
    assert len(world.tokens) == 3


async def test_trouble_is_said_when_it_comes_twice_and_once(world: World) -> None:
    world.error = NotRenewedError("ap@", ["1.0"], "no way", "Do this.")
    renewed = proxy()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(5):
            await world.delivery.deliver(renewed)
            await world.delivery.deliver(renewed)
            world.now += AGAIN
    assert len(world.x509) == 5
    [warning] = seen
    assert warning.category is CredentialWarning
    assert "1 jobs of the schedd ap@ could not be given the renewed X.509 proxy." in str(warning.message)
    world.error = None
    await world.delivery.deliver(renewed)


@pytest.mark.parametrize("error", [OSError("no route"), GatewayServerError("500"), None])
async def test_workers_that_cannot_be_sent_a_token(world: World, error: Exception | None) -> None:
    world.error, world.trouble = error, "1 of 2 workers did not take it"
    renewed = world.has_token()
    await world.delivery.deliver(renewed)
    world.now += AGAIN
    with pytest.warns(CredentialWarning, match="Running workers could not be given the renewed") as seen:
        await world.delivery.deliver(renewed)
    text = str(seen[0].message)
    assert (str(error) if error else world.trouble) in text
    assert "It is tried again" in text
    assert not [one for one in grid.secrets_of((world.sandbox / "bearer.token").read_bytes()) if one in text]


async def test_a_warning_that_is_an_error_ends_nothing(world: World) -> None:
    world.error = OSError("no route")
    renewed = world.has_token()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            await world.delivery.deliver(renewed)
            world.now += AGAIN
