"""JupyterLab as a person uses it in a browser: log in, open a notebook, run its cells."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.jupyter.hub import PASSWORD, Hub
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# Lab asks on its first page whether it may fetch news from the Internet.
QUIET = {"fetchNews": "false", "checkForUpdates": False}
RAN = re.compile(r"\[\d+\]:")


class Lab:
    """One person's, in one page of a browser.

    Parameters
    ----------
    hub : Hub
    user : str
        Whose server is not running.
    page : playwright.sync_api.Page
    """

    def __init__(self, hub: Hub, user: str, page: Page) -> None:
        self.hub, self.user, self.page = hub, user, page
        settings = hub.home(user) / ".jupyter/lab/user-settings/@jupyterlab/apputils-extension"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(QUIET))
        own(hub.home(user) / ".jupyter", user)

    def log_in(self) -> None:
        """Up to the form of the Hub that starts a server."""
        self.page.goto(self.hub.url)
        self.page.get_by_label("Username").fill(self.user)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/hub/spawn*")

    def start_server(self, environment: str) -> None:
        """Choose one in that form; returns when Lab is there."""
        self.page.get_by_label("Environment").select_option(environment)
        self.page.get_by_role("button", name="Start").click()
        self.page.wait_for_url(f"**/user/{self.user}/lab**")
        self.page.locator("#jp-main-dock-panel").wait_for()
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def open(self, notebook: Path) -> Notebook:
        """Put a copy of a notebook into the person's directory, and open it from there."""
        here = self.hub.home(self.user) / notebook.name
        shutil.copyfile(notebook, here)
        own(here, self.user)
        self.page.goto(f"{self.hub.url}/user/{self.user}/lab/tree/{notebook.name}")
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")
        panel = self.page.locator(".jp-NotebookPanel:visible")
        panel.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
        names = [cell["id"] for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]]
        return Notebook(self.page, panel, names)


class Notebook:
    """An open one; its cells are known by their ids."""

    def __init__(self, page: Page, panel: Locator, names: list[str]) -> None:
        self.page, self.panel, self._names = page, panel, names

    def cell(self, name: str) -> Locator:
        number = self._names.index(name)
        return self.panel.locator(f".jp-Cell[data-windowed-list-index='{number}']")

    def show(self, name: str) -> None:
        """Scroll to where this cell is the topmost."""
        self.cell(name).evaluate("cell => cell.scrollIntoView({block: 'start'})")

    def run(self, *names: str, deadline: float = 120) -> None:
        """Run these cells, each within so many seconds."""
        for name in names:
            self.begin(name)
            self.wait(name, deadline)

    def begin(self, name: str) -> None:
        """Start a cell, and do not wait for it."""
        prompt = self.cell(name).locator(".jp-InputPrompt")
        before = prompt.inner_text()

        def has_begun() -> bool:
            # A notebook that was just opened does not hear each key.
            prompt.click()
            self.page.keyboard.press("Control+Enter")
            with suppress(TimeoutError):
                eventually(name, lambda: prompt.inner_text() != before, 3)
            return bool(prompt.inner_text() != before)

        eventually(f"cell {name} begins", has_begun, 30)

    def wait(self, name: str, deadline: float = 120) -> None:
        """Wait until a cell is done.

        Raises
        ------
        AssertionError
            It ended with an error.
        """
        from playwright.sync_api import expect

        cell = self.cell(name)
        expect(cell.locator(".jp-InputPrompt")).to_have_text(RAN, timeout=1000 * deadline)
        error = cell.locator(".jp-OutputArea-output", has_text="Traceback (most recent call last)")
        assert error.count() == 0, f"{name}: {error.first.inner_text()}"


def own(path: Path, user: str) -> None:
    """Make a file or a directory with all in it a person's own."""
    for one in (path, *path.rglob("*")):
        shutil.chown(one, user, user)
