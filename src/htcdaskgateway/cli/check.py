"""``htcdask check``."""

from __future__ import annotations

import asyncio
import json

import click
from dask_gateway.auth import GatewayAuth

from htcdaskgateway.cli.check_probes import SECONDS, check_all
from htcdaskgateway.cli.check_verdicts import Finding, is_well
from htcdaskgateway.cli.gateway import address_option
from htcdaskgateway.client.gateway import HTCGateway
from htcdaskgateway.errors import HTCDaskError


@click.command()
@address_option
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=SECONDS,
    show_default=True,
    help="How long each part may take.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@click.pass_context
def check(ctx: click.Context, address: str | None, seconds: float, as_json: bool) -> None:
    """See whether every part between this machine and your workers works.

    That is: the gateway, whether it knows you, HTCondor, whether a job would find a slot, your X.509
    proxy and token, the images in CVMFS, Apptainer, the default image and its versions, the sandbox.

    Each is ok, a warning, a failure, or not used at this site. Nothing is submitted. The exit code is 1
    if something has failed.
    """
    from htcdaskgateway.cli.check_show import CheckShow

    show = CheckShow(quiet=as_json)
    with show.progress():
        findings = asyncio.run(ask(address, seconds))
    well = is_well(findings)
    if as_json:
        told = {"well": well, "checks": [finding.to_json() for finding in findings]}
        click.echo(json.dumps(told, indent=2))
    else:
        show.all(findings)
    ctx.exit(0 if well else 1)


async def ask(address: str | None, seconds: float) -> list[Finding]:
    """Look at everything; what makes a client impossible is a finding, too."""
    try:
        gateway, refused = HTCGateway(address, asynchronous=True), None
    except HTCDaskError as error:
        try:  # whether it is there can be asked by somebody whom it does not know
            gateway, refused = HTCGateway(address, auth=GatewayAuth(), asynchronous=True), error
        except HTCDaskError as wrong:
            return await check_all(wrong, seconds)
    async with gateway:
        return await check_all(gateway, seconds, refused)
