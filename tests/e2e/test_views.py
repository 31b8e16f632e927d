"""What a notebook shows of a cluster, while its jobs come, are held and match nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.e2e.conftest import Connect
from tests.support.gateway import GatewayServer
from tests.support.waiting import eventually
from tests.support.watching import exactly

from htcdaskgateway import HTCGatewayCluster
from htcdaskgateway.client.errors import WorkersMissingError
from htcdaskgateway.client.views.text import text
from htcdaskgateway.client.views.widget import ClusterWidget

pytestmark = [pytest.mark.condor, pytest.mark.usefixtures("submitter")]


@pytest.fixture
def cluster(gateway: Callable[..., GatewayServer], connect: Connect) -> Iterator[HTCGatewayCluster]:
    server = gateway("c.ClusterConfig.cluster_max_workers = 4\n")
    with connect(server).new_cluster() as made:
        made.server = server
        yield made


def test_the_widget_follows_the_workers_and_scales(cluster: HTCGatewayCluster, submitter: str) -> None:
    server: GatewayServer = cluster.server
    box = cluster._widget()
    assert cluster._widget() is box
    widget = cluster._shown_widget
    assert isinstance(widget, ClusterWidget)

    def shows(*patterns: str) -> None:
        what = f"{patterns} in the widget"
        try:
            eventually(what, lambda: all(re.search(one, widget.status.value) for one in patterns), 60)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{widget.status.value}\n{widget.message.value}") from None

    shows("<b>0</b> wanted", "running</b>")
    widget.workers.value = 2
    widget.scale.click()
    shows("<b>2</b> wanted", ">2 running<", "site allows 4", "they fit this notebook", "/status")
    assert widget.message.value == "Scaled to 2."
    if submitter == "session":
        shows(re.escape(str(cluster.sandbox)))
    [victim, _] = exactly(server, cluster, 2)
    assert "2 of 2 workers: 2 running" in text(cluster._look_now())
    assert "2 running" in cluster._repr_html_()

    server.pool.command("condor_hold", "-reason", "<b>the operator says so</b>", victim.job_id)
    shows(">1 held<")
    exactly(server, cluster, 2)
    shows(">2 running<")

    widget.workers.value = 5
    widget.scale.click()
    words = "5 workers are more than the site allows in one cluster: 4."
    eventually("the limit", lambda: words in widget.message.value, 20)
    widget.minimum.value, widget.maximum.value = 1, 2
    widget.adapt.click()
    eventually("it adapts", lambda: "between 1 and 2" in widget.message.value, 20)
    shows("<b>1</b> wanted")
    cluster.close(shutdown=True)
    shows("closed here")
    assert widget.scale.disabled


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"worker_cores": 64},
            r"No slot of \d+ is large enough for a worker: the most that one has is \d+ cores and .* GiB\."
            r" A worker needs 64 cores, 1\.0 GiB",
        ),
        (
            {"node_match_expr": "requirements = TARGET.NoSuchThing == 7"},
            r"None of the pool's slots \(\d+\) satisfies the requirements\. A worker needs .*NoSuchThing",
        ),
    ],
    ids=["too large", "requirements"],
)
def test_a_wait_in_vain_says_how_many_slots_match(
    gateway: Callable[..., GatewayServer], connect: Connect, options: dict[str, Any], words: str
) -> None:
    server = gateway("c.HTCondorBackend.worker_cores_limits = (1, 64)\n")
    with connect(server).new_cluster(worker_memory=1, **options) as cluster:
        cluster.scale(2)
        with pytest.raises(WorkersMissingError, match=words) as caught:
            cluster.wait_for_workers(2, timeout=3)
    assert str(caught.value).startswith("0 of 2 workers are running after 3 s.\n  workers: 2 idle\n  2 idle:")
    assert [reason.title for reason in caught.value.reasons] == ["2 idle"]
