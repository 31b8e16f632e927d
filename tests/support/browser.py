"""Debian's chromium under an ordinary account, driven by playwright."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import processes
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

PROGRAM = "chromium"
WINDOW = {"width": 1200, "height": 760}
ARGUMENTS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    # nothing but this machine is looked up
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
DEADLINE = 60.0  # seconds: of whatever is waited for on a page, unless it says otherwise


class NoBrowserError(Exception):
    """There can be no browser here; holds why."""


@contextmanager
def opened(user: str) -> Iterator[Page]:
    """Start a browser under this account, whose sandbox then needs no rights; its only page, still empty.

    Raises
    ------
    NoBrowserError
    """
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError as error:
        raise NoBrowserError(f"this environment has no playwright: {error}") from error
    expect.set_options(timeout=1000 * DEADLINE)
    with _running(user) as address, sync_playwright() as playwright:
        browser = playwright.chromium.connect_over_cdp(address, timeout=1000 * DEADLINE)
        try:
            context = browser.new_context(viewport=WINDOW, reduced_motion="reduce")
            context.set_default_timeout(1000 * DEADLINE)
            yield context.new_page()
        finally:
            browser.close()


@contextmanager
def _running(user: str) -> Iterator[str]:
    """Address at which a new browser takes orders."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise NoBrowserError(f"{PROGRAM} is not installed: apt-get install --no-install-recommends {PROGRAM}")
    directory = Path(tempfile.mkdtemp(prefix="htcdask-browser-"))
    shutil.chown(directory, user, user)
    log, told = directory / "log", directory / "profile" / "DevToolsActivePort"
    # what it would write into the account's home
    env = processes.environment(user, HOME=str(directory))
    command = [program, *ARGUMENTS, f"--user-data-dir={directory}/profile", "about:blank"]
    process = processes.spawn(command, user, env, directory, log)

    def port() -> str:
        if process.poll() is not None:
            raise NoBrowserError(f"{PROGRAM} ended with {process.returncode}: {_end_of(log)}")
        with suppress(FileNotFoundError):
            return told.read_text().partition("\n")[0]
        return ""

    try:
        try:
            address = f"http://127.0.0.1:{eventually('port of the browser', port, DEADLINE)}"
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{_end_of(log)}") from error
        yield address
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        processes.end(processes.mentioning(str(directory)))
        process.wait(20)
        shutil.rmtree(directory)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def text_of(page: Page) -> str:
    """What stands on it, for the report of a test that failed; never fails itself."""
    from playwright.sync_api import Error

    try:
        return str(page.locator("body").inner_text(timeout=5000))
    except Error as error:  # also where the browser has been closed
        return f"(cannot be read: {error})"


class Pictures:
    """Screenshots, in the directory that ``HTCDASK_SCREENSHOTS`` names; without, in one that nobody keeps."""

    LARGEST = 200_000  # bytes

    def __init__(self, otherwise: Path) -> None:
        self.directory = Path(os.environ.get("HTCDASK_SCREENSHOTS") or otherwise)
        self.directory.mkdir(parents=True, exist_ok=True)

    def take(self, name: str, what: Page | Locator, height: int = WINDOW["height"]) -> None:
        """Take one, of a part of a page or of a page as it is seen in a window of this height (pixels)."""
        page: Page = getattr(what, "page", what)
        page.set_viewport_size({**WINDOW, "height": height})
        page.mouse.move(0, 0)  # what it is above looks different
        image = what.screenshot(animations="disabled")
        page.set_viewport_size(WINDOW)
        assert len(image) < self.LARGEST, f"{name} has {len(image)} bytes: show less"
        (self.directory / f"{name}.png").write_bytes(image)
