"""Looks at each part for ``htcdask check``; none of them decides, and none waits for another one."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import aiohttp
from dask_gateway import GatewayServerError

from htcdaskgateway.cli.check_verdicts import (
    Finding,
    Level,
    of_apptainer,
    of_credential,
    of_error,
    of_gateway,
    of_image,
    of_image_root,
    of_sandbox,
    of_slots,
    of_stranger,
)
from htcdaskgateway.client.condor_access import Schedds, configured_access
from htcdaskgateway.client.gateway import HTCGateway
from htcdaskgateway.client.images import Wish, decide, look
from htcdaskgateway.client.session_sandbox import SessionSandbox
from htcdaskgateway.client.site import NOTHING, SiteFacts
from htcdaskgateway.client.slot_match import slot_match
from htcdaskgateway.condor.programs import run
from htcdaskgateway.config import setting
from htcdaskgateway.credentials.find import look_for_token, look_for_x509
from htcdaskgateway.credentials.policy import Policy
from htcdaskgateway.credentials.words import TOKEN, X509
from htcdaskgateway.errors import GatewayUnreachableError, HTCDaskError
from htcdaskgateway.threads import in_thread

SECONDS = 15.0  # that one part may take
PARTS = (
    "gateway", "authentication", "HTCondor", "slots", X509, TOKEN, "CVMFS", "Apptainer", "image", "sandbox",
)  # fmt: skip
UNKNOWN = "not looked at: the gateway would say what this site uses"
EXPECTED = (OSError, GatewayServerError, aiohttp.ClientError, ValueError, LookupError, TypeError)


async def check_all(gateway: HTCGateway, seconds: float = SECONDS) -> list[Finding]:
    """Look at all parts, most of them at the same time.

    Parameters
    ----------
    gateway : HTCGateway
    seconds : float, optional
        That each of them may take; one that hangs fails alone.

    Returns
    -------
    list of Finding
        In the order of `PARTS`.
    """
    reached = await bounded("gateway", partial(gateway_answers, gateway), seconds)
    site = SiteFacts()

    async def authenticate() -> Finding:
        nonlocal site
        site, finding = await authentication(gateway)
        return finding

    if reached.level is Level.FAILURE:
        accepted = Finding("authentication", Level.UNUSED, "nobody is there to ask")
    else:
        accepted = await bounded("authentication", authenticate, seconds)
    if accepted.level is not Level.OK:
        return [reached, accepted, *(Finding(part, Level.UNUSED, UNKNOWN) for part in PARTS[2:])]
    if not site.is_ours:
        return [of_stranger(reached), accepted]
    rest = {
        "HTCondor": partial(htcondor, site),
        "slots": partial(slots, gateway, site),
        X509: partial(x509, site, seconds),
        TOKEN: partial(token, site, seconds),
        "CVMFS": partial(cvmfs, site, seconds),
        "Apptainer": partial(apptainer, site, seconds),
        "image": partial(image, site),
        "sandbox": partial(sandbox, site, seconds),
    }
    others = (bounded(part, probe, seconds) for part, probe in rest.items())
    return [reached, accepted, *await asyncio.gather(*others)]


async def bounded(part: str, probe: Callable[[], Awaitable[Finding]], seconds: float) -> Finding:
    """Look at one part, for so long at most."""
    try:
        return await asyncio.wait_for(probe(), seconds)
    except asyncio.TimeoutError:
        return Finding(part, Level.FAILURE, f"no answer within {seconds:g} s")
    except HTCDaskError as error:
        return of_error(part, error)
    except EXPECTED as error:
        return of_error(part, error)


async def gateway_answers(gateway: HTCGateway) -> Finding:
    """Whatever may be there need not know us."""
    url = f"{gateway.address}/api"
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"{url}/health") as health, session.get(f"{url}/version") as version:
                says, server = await health.json(), await version.json()
        except (aiohttp.ClientError, ValueError) as error:
            raise GatewayUnreachableError(gateway.address, str(error)) from error
    return of_gateway(gateway.address, server, str(says.get("status", "")))


async def authentication(gateway: HTCGateway) -> tuple[SiteFacts, Finding]:
    """What the gateway tells only those whom it knows."""
    count = len(await gateway._clusters())
    site = await gateway._site()
    clusters = f"{count} cluster{'s' * (count != 1)} of yours"
    way = type(gateway.auth).__name__
    return site, Finding("authentication", Level.OK, f"the gateway knows you ({way}): {clusters}")


async def htcondor(site: SiteFacts) -> Finding:
    """Where this session would submit, its schedd."""
    if site.submitter != "session":
        return Finding("HTCondor", Level.UNUSED, "the gateway submits: this machine needs no HTCondor")
    access = configured_access()
    schedds = Schedds(access)
    try:
        schedd = await schedds.of("")
        await schedd.query("htcdask-check")
        return Finding(
            "HTCondor", Level.OK, f"the schedd {schedd.name or '(default)'} answers",
            facts={"asked by": access.interface},
        )  # fmt: skip
    finally:
        await schedds.close()


async def slots(gateway: HTCGateway, site: SiteFacts) -> Finding:
    """Whether a job as it is by default would match."""
    return of_slots(await slot_match(gateway, submits=site.submitter == "session"))


async def x509(site: SiteFacts, seconds: float) -> Finding:
    policy = credentials(site)
    find = partial(look_for_x509, policy, os.environ, os.geteuid())
    return of_credential(X509, policy.x509, await in_thread(find, seconds), time.time())


async def token(site: SiteFacts, seconds: float) -> Finding:
    policy = credentials(site)
    find = partial(look_for_token, policy, os.environ, os.geteuid())
    return of_credential(TOKEN, policy.token, await in_thread(find, seconds), time.time())


def credentials(site: SiteFacts) -> Policy:
    """What jobs get from this machine: only a session that submits has anything to give."""
    return site.credentials if site.submitter == "session" else NOTHING


async def cvmfs(site: SiteFacts, seconds: float) -> Finding:
    """Whether the directory of the images can be read; CVMFS may hang there."""
    if site.runtime == "none":
        return Finding("CVMFS", Level.UNUSED, "workers run without images")
    root = setting("image-root", site.image_root)
    try:
        entries = await in_thread(partial(count_entries, root), seconds)
    except (FileNotFoundError, NotADirectoryError):
        return of_image_root(root, 0)
    return of_image_root(root, entries)


def count_entries(directory: str) -> int:
    return sum(1 for _ in Path(directory).iterdir())


async def apptainer(site: SiteFacts, seconds: float) -> Finding:
    if site.runtime == "none":
        return Finding("Apptainer", Level.UNUSED, "workers run without images")
    program = setting("apptainer", "apptainer") or "apptainer"
    found = await in_thread(lambda: shutil.which(program), seconds)
    if not found:
        return of_apptainer(program, "")
    output = await run([found, "--version"], seconds, {})
    if output.code:
        return Finding("Apptainer", Level.WARNING, f"{found} --version: {output.words}")
    return of_apptainer(program, output.stdout.strip())


async def image(site: SiteFacts) -> Finding:
    """The image that ``new_cluster()`` would take."""
    return of_image(await look(decide(Wish(), site, {})))


async def sandbox(site: SiteFacts, seconds: float) -> Finding:
    """Where this session would submit, the place of its files."""
    if site.submitter != "session":
        return Finding("sandbox", Level.UNUSED, "the gateway has the files of its jobs")
    path = SessionSandbox.configured("0" * 32).path

    def seen() -> Finding:
        parent = next(above for above in (path.parent, *path.parent.parents) if above.is_dir())
        writable = os.access(parent, os.W_OK | os.X_OK)
        shown = str(path).replace("0" * 32, "CLUSTER")
        return of_sandbox(shown, str(parent), writable, shutil.disk_usage(parent).free)

    return await in_thread(seen, seconds)
