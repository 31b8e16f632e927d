"""Looks at each part for ``htcdask check``; none of them decides, and none waits for another one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import aiohttp
from dask_gateway import GatewayServerError

from htcdaskgateway.cli.check_local import apptainer, cvmfs, sandbox, token, x509
from htcdaskgateway.cli.check_verdicts import (
    Finding,
    Level,
    as_information,
    of_error,
    of_gateway,
    of_image,
    of_silence,
    of_slots,
    of_stranger,
)
from htcdaskgateway.client.condor_access import Schedds, configured_access
from htcdaskgateway.client.gateway import HTCGateway
from htcdaskgateway.client.images import Wish, decide, look
from htcdaskgateway.client.site import SiteFacts
from htcdaskgateway.client.slot_match import slot_match
from htcdaskgateway.credentials.policy import Policy
from htcdaskgateway.credentials.words import TOKEN, X509
from htcdaskgateway.errors import GatewayUnreachableError, HTCDaskError

SECONDS = 15.0  # that one part may take
PARTS = (
    "gateway", "authentication", "HTCondor", "slots", X509, TOKEN, "CVMFS", "Apptainer", "image", "sandbox",
)  # fmt: skip
UNKNOWN = "not looked at: the gateway would say what this site uses"
Probe = Callable[[], Awaitable[Finding]]
ANY_SITE = SiteFacts(submitter="session", credentials=Policy())  # it may want whatever is here
EXPECTED = (OSError, GatewayServerError, aiohttp.ClientError, ValueError, LookupError, TypeError)


async def check_all(
    gateway: HTCGateway | HTCDaskError, seconds: float = SECONDS, refused: HTCDaskError | None = None
) -> list[Finding]:
    """Look at all parts, most of them at the same time.

    Parameters
    ----------
    gateway : HTCGateway or HTCDaskError
        The error: why there can be no client of it.
    seconds : float, optional
        That each part may take; one that hangs fails alone.
    refused : HTCDaskError, optional
        Why the client cannot authenticate.

    Returns
    -------
    list of Finding
        In the order of `PARTS`.
    """
    if isinstance(gateway, HTCDaskError):
        unused = Finding("authentication", Level.UNUSED, "nobody is there to ask")
        return await without_site([of_error("gateway", gateway), unused], seconds)
    reached = await bounded("gateway", partial(gateway_answers, gateway), seconds)
    site = SiteFacts()

    async def authenticate() -> Finding:
        nonlocal site
        site, finding = await authentication(gateway)
        return finding

    if refused is not None:
        accepted = of_error("authentication", refused)
    elif reached.level is Level.FAILURE:
        accepted = Finding("authentication", Level.UNUSED, "nobody is there to ask")
    else:
        accepted = await bounded("authentication", authenticate, seconds)
    if accepted.level is not Level.OK:
        return await without_site([reached, accepted], seconds)
    if not site.is_ours:
        return [of_stranger(reached), accepted]
    rest: dict[str, Probe] = {
        "HTCondor": partial(htcondor, site),
        "slots": partial(slots, gateway, site),
        **on_this_machine(site, seconds),
        "image": partial(image, site),
        "sandbox": partial(sandbox, site, seconds),
    }
    return [reached, accepted, *await all_of(rest, seconds)]


async def without_site(told: list[Finding], seconds: float) -> list[Finding]:
    """Look at what this machine has, for nobody says what the site wants of it: nothing of it fails."""
    local = {
        one.part: as_information(one) for one in await all_of(on_this_machine(ANY_SITE, seconds), seconds)
    }
    rest = (local.get(part) or Finding(part, Level.UNUSED, UNKNOWN) for part in PARTS[2:])
    return [*told, *rest]


def on_this_machine(site: SiteFacts, seconds: float) -> dict[str, Probe]:
    """Give the looks that need nobody's answer."""
    return {
        X509: partial(x509, site, seconds),
        TOKEN: partial(token, site, seconds),
        "CVMFS": partial(cvmfs, site, seconds),
        "Apptainer": partial(apptainer, site, seconds),
    }


async def all_of(probes: Mapping[str, Probe], seconds: float) -> list[Finding]:
    return await asyncio.gather(*(bounded(part, probe, seconds) for part, probe in probes.items()))


async def bounded(part: str, probe: Probe, seconds: float) -> Finding:
    """Look at one part, for so long at most."""
    try:
        return await asyncio.wait_for(probe(), seconds)
    except asyncio.TimeoutError:
        return of_silence(part, seconds)
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


async def image(site: SiteFacts) -> Finding:
    """The image that ``new_cluster()`` would take."""
    return of_image(await look(decide(Wish(), site, {})))
