"""The live view of a cluster in a notebook, with ipywidgets."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, Button, HBox, IntText, Layout, VBox

from htcdaskgateway.client.report import worker_count
from htcdaskgateway.client.views.feed import Feed
from htcdaskgateway.client.views.html import error_html, html
from htcdaskgateway.client.views.model import ClusterView
from htcdaskgateway.errors import InvalidRequestError

if TYPE_CHECKING:
    from htcdaskgateway.client.cluster import HTCGatewayCluster

CLOSED = "This cluster is closed here: gateway.connect(name) takes control of one that runs."


class ClusterWidget:
    """What is shown, and the controls. Whatever goes wrong with them stands in it; none of them waits.

    Parameters
    ----------
    cluster : HTCGatewayCluster
        No reference to it is held: ipywidgets keeps all widgets.
    feed : Feed

    Attributes
    ----------
    box : ipywidgets.VBox
        To be displayed as often as one likes.
    """

    def __init__(self, cluster: HTCGatewayCluster, feed: Feed) -> None:
        self._cluster = weakref.ref(cluster)
        narrow = Layout(width="11em")
        self.status = HTML(html(feed.view))
        self.message = HTML("")
        self.workers = IntText(0, description="Workers", layout=narrow)
        self.scale = Button(description="Scale", layout=Layout(width="6em"))
        self.minimum = IntText(0, description="Minimum", layout=narrow)
        self.maximum = IntText(1, description="Maximum", layout=narrow)
        self.adapt = Button(description="Adapt", layout=Layout(width="6em"))
        self.box = VBox(
            [
                self.status,
                HBox([self.workers, self.scale]),
                HBox([self.minimum, self.maximum, self.adapt]),
                self.message,
            ]
        )
        self._news = self._is_over = False
        self.scale.on_click(self._on_scale)
        self.adapt.on_click(self._on_adapt)
        feed.listen(self._show)

    def _show(self, view: ClusterView, trouble: str) -> None:
        """Show news; called in the cluster's event loop."""
        if view.wanted and not self._news:  # what stands in the fields is then the user's
            self._news = True
            self.workers.value = self.workers.value or view.wanted
            self.maximum.value = max(self.maximum.value, view.wanted)
        self.status.value = html(view) + error_html(trouble)
        if view.is_over:
            self._is_over = True
            self._enable(False)

    def _on_scale(self, _: object) -> None:
        def scale(cluster: HTCGatewayCluster) -> tuple[Coroutine[Any, Any, None], str]:
            n = worker_count(self.workers.value)
            return cluster._scale(n), f"Scaled to {n}."

        self._begin(scale)

    def _on_adapt(self, _: object) -> None:
        def adapt(cluster: HTCGatewayCluster) -> tuple[Coroutine[Any, Any, None], str]:
            low, high = cluster._bounds(self.minimum.value, self.maximum.value)
            return cluster._adapt(low, high, True), f"The load decides, between {low} and {high}."

        self._begin(adapt)

    def _begin(self, make: Callable[[HTCGatewayCluster], tuple[Coroutine[Any, Any, None], str]]) -> None:
        """Let the cluster's event loop do it: the kernel goes on."""
        try:
            cluster = self._cluster()
            if cluster is None or cluster.status != "running":
                raise InvalidRequestError(CLOSED)
            work, done = make(cluster)
            self._enable(False)
            self.message.value = ""
            cluster.gateway.loop.add_callback(self._do, work, done)
        except Exception as error:  # noqa: BLE001 - a traceback of a callback goes where nobody sees it
            self._failed(error)

    async def _do(self, work: Coroutine[Any, Any, None], done: str) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - likewise
            self._failed(error)
        else:
            self.message.value = done
            self._enable(True)

    def _failed(self, error: Exception) -> None:
        self.message.value = error_html(str(error) or type(error).__name__)
        self._enable(True)

    def _enable(self, on: bool) -> None:
        for button in (self.scale, self.adapt):
            button.disabled = not on or self._is_over
