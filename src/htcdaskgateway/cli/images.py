"""``htcdask images``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from htcdaskgateway.cli.gateway import site_if_told
from htcdaskgateway.config import setting
from htcdaskgateway.images.catalogue import ImageCatalogue, own_root
from htcdaskgateway.images.contents import ImageContents
from htcdaskgateway.images.errors import ImageUnusableError
from htcdaskgateway.images.reference import ALIASES, ImageReference
from htcdaskgateway.images.running import ask_image
from htcdaskgateway.images.survey import Finding, survey
from htcdaskgateway.versions.here import versions_here
from htcdaskgateway.versions.names import MUST_AGREE, agree, fits
from htcdaskgateway.versions.table import Column, VersionTable


@click.command()
@click.argument("pattern", default="", metavar="[PATTERN]")
@click.option(
    "--root",
    metavar="DIR",
    help="Where images lie unpacked. [default: as configured, or as the gateway says]",
)
@click.option("--registry", metavar="NAME", help="Images of this registry only.")
@click.option("--fits", "only_fitting", is_flag=True, help="Images that fit this Python environment only.")
@click.option("--run", is_flag=True, help="Start each with Apptainer and ask it; else files are read.")
@click.option("--apptainer", metavar="PROGRAM", help="What --run starts. [default: apptainer]")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def images(
    pattern: str,
    root: str | None,
    registry: str | None,
    only_fitting: bool,
    run: bool,
    apptainer: str | None,
    as_json: bool,
) -> None:
    """List images with their Python and Dask, and whether they fit this environment.

    PATTERN is a part of an image's name, or a pattern with * and ?. An image fits when it has the Python
    (major.minor), dask, distributed and dask-gateway of this environment, and dask in its PATH: notebooks of
    this environment can use no other. "yes?" and "no?" say that something about it is in doubt.

    htcdaskgateway.image-root and htcdaskgateway.apptainer of Dask's configuration are taken, and a configured
    gateway is asked where images are.
    """
    from htcdaskgateway.cli.images_show import ImagesShow

    show = ImagesShow(quiet=as_json)
    here = versions_here()
    program = runner(apptainer or setting("apptainer", "apptainer")) if run else ""
    registry = ALIASES.get(registry.lower(), registry.lower()) if registry else None
    site, unasked = site_if_told()
    if unasked:
        click.echo(f"Workers are taken for dask, as the gateway does not tell: {unasked}", err=True)
    told = site.image_root if site.is_ours else ""
    catalogue = ImageCatalogue(own_root(root or "", setting("image-root"), told))
    chosen = (found for found in catalogue.walk(registry) if matches(pattern, found[0]))
    findings = []
    with show.progress() as step:
        command = site.worker_program
        for finding in started(chosen, program, command) if run else survey(chosen, command=command):
            step(str(finding.reference))
            if not only_fitting or can_be_used(finding, here):
                findings.append(finding)
    findings.sort(key=lambda finding: str(finding.reference))
    if as_json:
        click.echo(json.dumps([as_data(finding, here) for finding in findings], indent=2))
    else:
        show.findings(findings, here)
        if len(findings) == 1 and findings[0].contents:
            show.table(comparison(findings[0].contents, here))
    if not findings:
        raise click.ClickException(nothing(pattern, catalogue, registry, only_fitting))


def matches(pattern: str, reference: ImageReference) -> bool:
    """Whether a reference is meant: by a part of it, or, with ``*`` or ``?`` in the pattern, by all of it."""
    text = str(reference)
    first, slash, rest = pattern.partition("/")
    pattern = f"{ALIASES.get(first.lower(), first)}{slash}{rest}" if slash else pattern
    if any(wildcard in pattern for wildcard in "*?["):
        return fnmatchcase(text, pattern) or fnmatchcase(reference.name, pattern)
    return pattern in text


def runner(program: str) -> str:
    """Find the program that runs images."""
    if not shutil.which(program):
        raise click.ClickException(
            f"--run needs Apptainer, and there is no program {program!r} here.\n"
            "Give it with --apptainer=, or leave --run out: reading images needs nothing."
        )
    return program


def started(chosen: Iterator[tuple[ImageReference, Path]], program: str, command: str) -> Iterator[Finding]:
    """Ask each image by running it, one after the other."""
    for reference, path in chosen:
        try:
            yield Finding(reference, path, contents=ask_image(path, command=command, apptainer=program))
        except ImageUnusableError as error:
            yield Finding(reference, path, error=error)


def can_be_used(finding: Finding, here: dict[str, str]) -> bool:
    """Whether a notebook of this environment can use workers of the image, as far as it is known."""
    return finding.runs_dask is not False and fits(here, finding.versions)


def differing(finding: Finding, here: dict[str, str]) -> list[str]:
    """Names of what must agree with this environment and does not."""
    versions = finding.versions
    return [name for name in MUST_AGREE if not agree(name, [here.get(name, ""), versions.get(name, "")])]


def as_data(finding: Finding, here: dict[str, str]) -> dict[str, Any]:
    return {
        "image": str(finding.reference),
        "path": str(finding.path),
        "versions": dict(sorted(finding.versions.items())),
        "executable": finding.contents.executable if finding.contents else "",
        "runs_dask": finding.contents.runs_dask if finding.contents else None,
        "fits": can_be_used(finding, here),
        "differing": [] if finding.error else differing(finding, here),
        "notes": list(finding.notes),
        "error": finding.error.sentence if finding.error else "",
    }


def comparison(contents: ImageContents, here: dict[str, str]) -> VersionTable:
    return VersionTable(
        (Column("this environment", here), Column("image", contents.versions, "; ".join(contents.notes)))
    )


def nothing(pattern: str, catalogue: ImageCatalogue, registry: str | None, only_fitting: bool) -> str:
    what = f"No image{f' of {registry}' if registry else ''} below {catalogue.root}"
    which = [f"has {pattern!r} in its name"] if pattern else []
    which += ["fits this environment"] if only_fitting else []
    return f"{what} {' and '.join(which)}." if which else f"{what}."
