"""The form of options, and the Hub's own list of environments, as a site offers them."""

from __future__ import annotations

import pytest
from tests.jupyter.hub import Hub
from tests.jupyter.kernel import kernel
from tests.jupyter.person import Person

pytestmark = [pytest.mark.jupyter, pytest.mark.condor, pytest.mark.timeout(200)]

FORM = """
def labels(widget):
    text = getattr(widget, "description", "") or getattr(widget, "value", "")
    return [text, *(one for child in getattr(widget, "children", ()) for one in labels(child))]

import re
print("FORM", re.sub("<[^>]*>", "", " | ".join(map(str, labels(options._widget())))))
print("CHOSEN", options.image)
"""


def test_the_form_shows_environments_and_limits(hub: Hub, server: str) -> None:
    with kernel(server, hub.token) as started:
        shown, form, refused, made = started.execute(
            "from htcdaskgateway import HTCGateway\n"
            "gateway = HTCGateway()\noptions = gateway.cluster_options()\noptions",
            FORM,
            "options.worker_cores = 5",
            "options.image = '[devel]'\n"
            "cluster = gateway.new_cluster(options, check_versions='off')\n"
            "print('IMAGE', gateway.list_clusters()[0].options['image'])\ncluster.shutdown()",
        )
    assert "application/vnd.jupyter.widget-view+json" in shown.kinds
    for label in (
        "Image ([stable], [devel] or another)",
        "Worker cores (1 to 4)",
        "Worker memory (GB, 1 to 8)",
    ):
        assert label in form.text, form.text
    assert "CHOSEN [stable]" in form.text
    assert refused.error == "ValueError"  # dask-gateway's own, before anything is asked for
    assert "IMAGE registry.example.org/htcdask/worker:mismatched" in made.text, made.text


def test_the_hubs_list_of_environments(hub: Hub) -> None:
    """What a person chose there is what their clusters run in."""
    user = hub.users[1]
    person = Person(hub, user)
    assert "<option>[stable]</option><option>[devel]</option>" in person.see("/hub/spawn")
    person.send("/hub/spawn", environment="[devel]")
    server = hub.start_server(user)
    try:
        with kernel(server, hub.token) as started:
            [told] = started.execute(
                "from htcdaskgateway import HTCGateway\nprint('CHOSEN', HTCGateway().cluster_options().image)"
            )
    finally:
        hub.stop_server(user)
    assert "CHOSEN [devel]" in told.text, told.text
