"""Looks at what is on this machine, for ``htcdask check``: no gateway is asked."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial
from pathlib import Path

from htcdaskgateway.cli.check_verdicts import (
    Finding,
    Level,
    of_apptainer,
    of_credential,
    of_image_root,
    of_sandbox,
)
from htcdaskgateway.client.session_sandbox import SessionSandbox
from htcdaskgateway.client.site import NOTHING, SiteFacts
from htcdaskgateway.condor.programs import run
from htcdaskgateway.config import setting
from htcdaskgateway.credentials.find import look_for_token, look_for_x509
from htcdaskgateway.credentials.policy import Policy
from htcdaskgateway.credentials.words import TOKEN, X509
from htcdaskgateway.threads import in_thread


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
