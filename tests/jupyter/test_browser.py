"""What people see in a browser: the Hub, the notebook with its live view, Dask's dashboard and panel."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.conftest import show_if_failed
from tests.jupyter.book import NOTEBOOKS
from tests.jupyter.conftest import unavailable
from tests.jupyter.hub import Hub
from tests.jupyter.lab import Lab
from tests.support.accounts import Accounts
from tests.support.browser import NoBrowserError, Pictures, opened, text_of
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Locator, Page

pytestmark = [pytest.mark.jupyter, pytest.mark.condor, pytest.mark.slow, pytest.mark.timeout(480)]

# Whether the plots of a dashboard have been sent news of so many workers, and of a task.
PLOTTED = """
workers => window.Bokeh && Bokeh.documents.length && [...Bokeh.documents[0]._all_models.values()].some(
  ({type, data}) => type === "ColumnDataSource" && new Set(data.worker).size === workers)
"""
COMPUTED = """
name => [...Bokeh.documents[0]._all_models.values()].some(
  ({type, data}) => type === "ColumnDataSource" && Array.from(data.name ?? []).includes(name))
"""
COMING = re.compile(r"[12] (idle|starting)")


@pytest.fixture(scope="module")
def page(hub: Hub, accounts: Accounts) -> Iterator[Page]:
    """A browser's page, before somebody who is logged in nowhere."""
    try:
        with opened(accounts.analyst) as page:
            yield page
    except NoBrowserError as error:
        unavailable(str(error))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return Pictures(tmp_path_factory.mktemp("screenshots"))


@pytest.fixture(scope="module")
def _lab(hub: Hub, accounts: Accounts, page: Page, pictures: Pictures) -> Iterator[Lab]:
    """The analyst's, who logs in to the Hub and chooses an environment."""
    hub.stop_server(accounts.analyst)
    lab = Lab(hub, accounts.analyst, page)
    lab.log_in()
    pictures.take("hub-environments", page, height=240)
    lab.start_server("[stable]")
    yield lab
    hub.stop_server(accounts.analyst)
    # the data that the notebook made: other tests have their own
    shutil.rmtree(hub.home(accounts.analyst) / "nanoaod", ignore_errors=True)


@pytest.fixture
def lab(hub: Hub, _lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    show_if_failed(request, "page", lambda: text_of(_lab.page))
    yield _lab
    eventually("no job in the queue", lambda: not hub.gateway.jobs(), 30)


def test_the_notebook(hub: Hub, lab: Lab, pictures: Pictures) -> None:
    """Workers come and go, by cells and by the buttons of the live view; the dashboard is one click away."""
    from playwright.sync_api import expect

    page = lab.page
    notebook = lab.open(NOTEBOOKS / "htcdaskgateway.ipynb")
    notebook.run("connect", "image", "cluster")
    pictures.take("cluster-options", notebook.cell("image"))
    widget = notebook.cell("cluster").locator(".jp-OutputArea-output:has(.widget-vbox)")
    expect(widget).to_contain_text("0 wanted")
    expect(widget).to_contain_text("they fit this notebook")

    notebook.begin("scale")
    expect(widget).to_contain_text(COMING)
    expect(notebook.cell("scale")).to_contain_text("2 wanted")
    notebook.wait("scale")
    expect(widget).to_contain_text("2 running")
    scale(widget, 50)
    expect(widget).to_contain_text("50 workers are more than the site allows in one cluster: 20.")
    scale(widget, 4)
    expect(widget).to_contain_text("4 wanted")
    expect(widget).to_contain_text("Scaled to 4.")
    expect(widget).to_contain_text(re.compile(r"[12] starting"))
    pictures.take("workers-starting", notebook.cell("cluster"))
    expect(widget).to_contain_text("4 running")
    expect(widget).not_to_contain_text(COMING)
    notebook.show("cluster-text")
    pictures.take("lab", page)

    with page.context.expect_page() as opening:
        widget.get_by_role("link").click()
    dashboard = opening.value
    assert dashboard.url.startswith(f"{hub.url}/services/dask-gateway/clusters/")
    dashboard.wait_for_function(PLOTTED, arg=4)
    page.bring_to_front()
    notebook.run("data", "analysis")
    dashboard.bring_to_front()
    dashboard.wait_for_function(COMPUTED, arg="dimuon_masses")
    dashboard.wait_for_timeout(1500)  # milliseconds, in which its other plots follow: for the picture alone
    pictures.take("dashboard", dashboard)
    dashboard.close()

    scale(widget, 1)
    expect(widget).to_contain_text("1 wanted")
    expect(widget).to_contain_text("1 running")
    expect(widget).not_to_contain_text("leaving")
    eventually("one job in the queue", lambda: len(hub.gateway.jobs()) == 1, 60)
    notebook.run("shutdown")
    expect(widget).to_contain_text("closed here")
    expect(widget.get_by_role("button", name="Scale")).to_be_disabled()


def test_the_panel(hub: Hub, lab: Lab, pictures: Pictures) -> None:
    """Press "+ NEW", click on the cluster, scale, look at a pane, shut down."""
    from playwright.sync_api import expect

    page = lab.page
    page.locator(".jp-SideBar .lm-TabBar-tab[data-id='dask-dashboard-launcher']").click()
    panel = page.locator(".dask-DaskSidebar")
    panel.get_by_role("button", name="NEW").click()
    cluster = panel.locator(".dask-ClusterListingItem")
    expect(cluster).to_contain_text("HTCGatewayCluster 1")
    cluster.locator(".dask-ClusterListingItem-title").click()
    cluster.get_by_role("button", name="SCALE").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input[type=number]").first.fill("2")
    dialog.get_by_role("button", name="Scale").click()
    expect(cluster).to_contain_text("Number of Workers: 2")
    assert {job["Owner"] for job in hub.gateway.jobs()} == {lab.user}

    button = panel.locator(".dask-DashboardListing-item button", has_text=re.compile("^Workers Memory$"))
    expect(button).to_be_enabled()
    button.click()
    pane = inside(page.locator(".dask-DaskDashboard-widget iframe, iframe.dask-DaskDashboard-widget"))
    pane.wait_for_function(PLOTTED, arg=2)
    cluster.scroll_into_view_if_needed()
    pictures.take("dask-panel", page)
    cluster.get_by_role("button", name="SHUTDOWN").click()
    expect(cluster).to_have_count(0)


def scale(widget: Locator, workers: int) -> None:
    """By the widget's own controls."""
    widget.get_by_label("Workers").fill(str(workers))
    widget.get_by_role("button", name="Scale").click()


def inside(frame: Locator) -> Frame:
    """What is shown in a part of a page that is a page itself."""
    element = frame.element_handle().content_frame()
    assert element is not None
    return element
