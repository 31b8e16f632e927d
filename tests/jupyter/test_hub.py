"""The gateway as a service of the Hub: who may use it, from where, and where the Hub's tokens must not be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.jupyter.hub import ACCESS, Hub
from tests.jupyter.kernel import Kernel, kernel

pytestmark = [pytest.mark.jupyter, pytest.mark.condor, pytest.mark.timeout(300)]

TRY = """
%xmode Minimal
from dask_gateway import JupyterHubAuth
from htcdaskgateway import HTCGateway
with HTCGateway(auth=JupyterHubAuth(api_token={token!r})) as other:
    {code}
"""


@pytest.fixture
def notebook(hub: Hub, server: str) -> Iterator[Kernel]:
    """A kernel of the analyst's server."""
    with kernel(server, hub.token) as started:
        yield started


def test_without_arguments(hub: Hub, notebook: Kernel) -> None:
    """Address and authentication come from the site's file; workers are jobs of the analyst's own."""
    made, worked, seen = notebook.execute(
        "from htcdaskgateway import HTCGateway\n"
        "gateway = HTCGateway()\ncluster = gateway.new_cluster()\n"
        "print(gateway.address, gateway.list_clusters())",
        "cluster.scale(1)\ncluster.wait_for_workers(1, timeout=90)\n"
        "client = cluster.get_client()\nprint('SUM', client.submit(sum, [1, 2]).result())",
        "import os\n"
        "def environment():\n    import os\n    return dict(os.environ)\n"
        "token = os.environ['JUPYTERHUB_API_TOKEN']\n"
        "there = [*client.run(environment).values(), client.run_on_scheduler(environment)]\n"
        "print('TOKEN', token, 'AT', len(there), sum(token in repr(one) for one in there),\n"
        "      sum('JUPYTERHUB' in repr(one) for one in there))",
    )
    assert hub.url in made.text
    assert "status=RUNNING" in made.text
    assert "SUM 3" in worked.text, worked.text
    [job] = hub.gateway.jobs()
    [line] = [line for line in seen.text.splitlines() if line.startswith("TOKEN")]
    token = line.split()[1]
    assert job["Owner"] == hub.users[0]
    assert token not in str(job)
    assert line.split()[2:] == ["AT", "2", "0", "0"]  # a worker and the scheduler have none of it
    # nor do files of the cluster, and the ads of its jobs
    sandboxes = hub.home(hub.users[0]) / "sandboxes"
    files = [path for path in sandboxes.rglob("*") if path.is_file()]
    assert len(files) > 2
    assert not [path for path in files if token.encode() in path.read_bytes()]
    assert token not in hub.gateway.log()
    [ended] = notebook.execute("client.close()\ncluster.shutdown()\nprint('ENDED', gateway.list_clusters())")
    assert "ENDED []" in ended.text


def test_servers_run_under_their_users_accounts(hub: Hub, notebook: Kernel) -> None:
    [told] = notebook.execute("import os\nprint('PID', os.getpid())")
    assert psutil.Process(int(told.text.split()[1])).username() == hub.users[0]


def test_a_token_of_nobody(notebook: Kernel) -> None:
    [told] = notebook.execute(TRY.format(token="0" * 32, code="other.list_clusters()"))
    assert told.error == "AuthenticationError"
    assert "did not accept your credentials." in told.text
    assert "it says: Permission failure verifying user's JupyterHub API token" in told.text


def test_a_token_that_may_do_other_things(hub: Hub, notebook: Kernel) -> None:
    """The right of access to this service is what counts, not whose the token is."""
    user = hub.users[0]
    without, with_it = (
        hub.new_token(user, ["read:users!user"]),
        hub.new_token(user, [ACCESS, "read:users!user"]),
    )
    refused, let_in = notebook.execute(
        TRY.format(token=without, code="other.new_cluster()"),
        TRY.format(token=with_it, code="print('CLUSTERS', other.list_clusters())"),
    )
    assert refused.error == "AuthenticationError"
    assert "did not accept your credentials." in refused.text
    assert "CLUSTERS []" in let_in.text, let_in.text


def test_another_users_token(hub: Hub, notebook: Kernel) -> None:
    """It is a user's like any other, who neither sees this cluster nor can do anything to it."""
    token = hub.new_token(hub.users[1], [ACCESS, "read:users!user"])
    [made] = notebook.execute(
        "from htcdaskgateway import HTCGateway\n"
        "cluster = HTCGateway().new_cluster()\nprint('NAME', cluster.name)"
    )
    name = made.text.rpartition("NAME ")[2].split()[0]
    tried = notebook.execute(
        TRY.format(token=token, code="print('CLUSTERS', other.list_clusters())"),
        *(
            TRY.format(token=token, code=code.format(name=name))
            for code in (
                "other.connect({name!r})",
                "other.scale_cluster({name!r}, 1)",
                "other.stop_cluster({name!r})",
            )
        ),
        "print(cluster.gateway.list_clusters())\ncluster.shutdown()",
    )
    assert "CLUSTERS []" in tried[0].text
    for one in tried[1:4]:
        assert one.error in ("AuthenticationError", "InvalidRequestError"), one.text
        assert name not in one.text or "Cluster" in one.text
    assert f"name={name}, status=RUNNING" in tried[4].text


def test_tokens_are_in_no_argument_list(hub: Hub, notebook: Kernel) -> None:
    [told] = notebook.execute("import os\nprint('TOKEN', os.environ['JUPYTERHUB_API_TOKEN'])")
    token = told.text.split()[1]
    arguments = [
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)
    ]
    assert not [one for one in arguments if token.encode() in one]
