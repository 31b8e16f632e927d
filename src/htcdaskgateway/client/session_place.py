"""Where this session carries out orders: its schedds, its sandbox, its credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from htcdaskgateway.client.condor_access import Schedds
from htcdaskgateway.client.session_sandbox import SessionSandbox
from htcdaskgateway.condor.access import Access
from htcdaskgateway.condor.quoting import submit_value
from htcdaskgateway.condor.schedd import RenewsX509, Schedd, SubmitDescription
from htcdaskgateway.errors import SandboxError
from htcdaskgateway.sandbox import EXECUTABLE, SUBMIT_DESCRIPTION
from htcdaskgateway.threads import in_thread

FILES_TIMEOUT = 20.0  # seconds that the sandbox's file system may take
Credentials = Callable[[Path, Mapping[str, str]], dict[str, str]]
T = TypeVar("T")


class SessionPlace:
    """What is this session's own in an order.

    Parameters
    ----------
    access : Access
    sandbox : SessionSandbox
    secrets : mapping of str to str
        Input files that the gateway does not send along: the cluster's TLS pair.
    credentials : callable, optional
        Puts the user's credentials into the sandbox; adds to submit commands what gives them to jobs.
        Raises HTCDaskError where the site wants some that are not there. Called in a thread.
    """

    def __init__(
        self,
        access: Access,
        sandbox: SessionSandbox,
        secrets: Mapping[str, str],
        credentials: Credentials | None = None,
    ) -> None:
        self.sandbox = sandbox
        self._schedds = Schedds(access)
        self._secrets, self._credentials = dict(secrets), credentials

    async def schedd(self, name: str) -> Schedd:
        """Give the schedd of that name, or with an empty one choose.

        Raises
        ------
        ConfigurationError, ScheddUnavailableError
        """
        return await self._schedds.of(name)

    async def prepare(self, description: SubmitDescription) -> SubmitDescription:
        """Put the jobs' files in place; give the description with that place and the user's credentials.

        Raises
        ------
        SandboxError, NoCredentialError
        """
        await self._in_sandbox(lambda: self.sandbox.prepare({**description.files, **self._secrets}))
        sandbox = submit_value(str(self.sandbox.path), "The sandbox path")
        mine = {"executable": f"{sandbox}/{EXECUTABLE}", "initialdir": sandbox}
        commands = {**description.commands, **mine}
        if (give := self._credentials) is not None:
            commands = await self._in_sandbox(lambda: give(self.sandbox.path, commands))
        mine_too = replace(description, commands=commands)
        await self._in_sandbox(lambda: self.sandbox.write(SUBMIT_DESCRIPTION, str(mine_too)))
        return mine_too

    async def renew_x509(self, cluster: str, path: str, until: float) -> int:
        """As `RenewsX509`, of all schedds that this session has talked to."""
        schedds = [schedd for schedd in self._schedds.made if isinstance(schedd, RenewsX509)]
        return sum([await schedd.renew_x509(cluster, path, until) for schedd in schedds])

    async def logs(self, worker: str, tail: int | None) -> dict[str, dict[str, str]]:
        """What workers wrote, as `SessionSandbox.logs`."""
        return await self._in_sandbox(lambda: self.sandbox.logs(worker, tail))

    async def close(self) -> None:
        await self._schedds.close()

    async def _in_sandbox(self, call: Callable[[], T]) -> T:
        try:
            return await in_thread(call, FILES_TIMEOUT)
        except asyncio.TimeoutError:
            words = f"the file system did not answer in {FILES_TIMEOUT:g} s"
            raise SandboxError(str(self.sandbox.path), words) from None
