"""What a notebook shows of a cluster: the widget, with HTML and text for those who cannot show it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dask_gateway import GatewayCluster

from htcdaskgateway.client.display import is_notebook
from htcdaskgateway.client.views.feed import UNANSWERED, Feed
from htcdaskgateway.client.views.html import html
from htcdaskgateway.client.views.model import ClusterView, look
from htcdaskgateway.client.views.text import text
from htcdaskgateway.records import WorkerRecord, WorkerState

if TYPE_CHECKING:
    from htcdaskgateway.client.cluster import HTCGatewayCluster
    from htcdaskgateway.client.views.widget import ClusterWidget

NEWS_SECONDS = 5.0  # that a cell waits for news of the gateway; without, it shows the last ones


class Shown(GatewayCluster):
    """The part of a cluster that shows it."""

    _is_ours = True
    _feed: Feed | None = None
    _shown_widget: ClusterWidget | None = None

    def _ipython_display_(self, **kwargs: Any) -> None:
        from IPython.display import display

        if not self._is_ours:  # nobody knows of its workers: dask-gateway shows what its scheduler says
            super()._ipython_display_(**kwargs)
            return
        box = self._widget() if is_notebook() else None
        view = self._look_now()
        live = {} if box is None else box._repr_mimebundle_()
        # The text and the HTML are for saved notebooks, and for who has no widgets.
        display({**live, "text/plain": text(view), "text/html": html(view)}, raw=True, **kwargs)

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        """For ``rich.print(cluster)``: what ``htcdask workers`` shows."""
        from htcdaskgateway.client.views.table import lines_of, parts

        if self._is_ours:
            view, workers = self._look()
            listed = [worker for worker in workers if worker.state is not WorkerState.FINISHED]
            yield from parts(view, listed, lines_of(console))
        else:
            yield repr(self)

    def _repr_html_(self) -> str:
        return html(self._look_now()) if self._is_ours else str(super()._repr_html_())

    def _widget(self) -> Any:
        """Give the widget, always the same one; None, where there is no ipywidgets."""
        if not self._is_ours:
            return super()._widget()
        if self._shown_widget is None:
            try:
                from htcdaskgateway.client.views.widget import ClusterWidget
            except ImportError:
                return None
            self._shown_widget = ClusterWidget(self._me, self._news)
        return self._shown_widget.box

    @property
    def _me(self) -> HTCGatewayCluster:
        mine: Any = self
        cluster: HTCGatewayCluster = mine
        return cluster

    @property
    def _news(self) -> Feed:
        if self._feed is None:
            self._feed = Feed(self._me)
        return self._feed

    def _look_now(self) -> ClusterView:
        return self._look()[0]

    def _look(self) -> tuple[ClusterView, tuple[WorkerRecord, ...]]:
        """Ask the gateway, if it answers quickly; else the last news. Never fails."""
        last = self._news.view, self._news.workers
        if self.asynchronous or self.status != "running":
            return last
        try:
            report = self.gateway.sync(asyncio.wait_for, self._me.report(), NEWS_SECONDS)
        except UNANSWERED:
            return last
        name, around = last[0].name, last[0].around
        return look(name, report, time.time(), self._news.slots, around), report.workers

    def _end_views(self) -> None:
        """There will be no more news; call it in the event loop."""
        if self._feed is not None:
            self._feed.end()
