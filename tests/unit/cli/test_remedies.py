"""Who is in a shell is told what to do there."""

from __future__ import annotations

import pytest

from htcdaskgateway.cli.remedies import about, in_a_shell
from htcdaskgateway.client.authentication import WAYS
from htcdaskgateway.client.errors import NoAddressError, WorkersMissingError
from htcdaskgateway.client.views.reasons import SCALE_AGAIN
from htcdaskgateway.errors import AuthenticationError, GatewayUnreachableError, HTCDaskError, LimitError


@pytest.mark.parametrize(
    ("remedy", "told"),
    [
        ("", ""),
        ("Renew it: voms-proxy-init", "Renew it: voms-proxy-init"),
        (LimitError(1000, 200).remedy, "Ask for at most 200: `htcdask scale c1 200`."),
        (
            WorkersMissingError(2, 1, 5.0, "", "1 running").remedy,
            "`htcdask workers c1` lists each with its reason.",
        ),
        ('cluster.logs("ab12") shows what it wrote.', "`htcdask logs c1 ab12` shows what it wrote."),
        ("cluster.logs() shows what it wrote.", "`htcdask logs c1` shows what it wrote."),
        (SCALE_AGAIN, "Mend the cause, then `htcdask scale c1 N` or cluster.adapt(…) tries again."),
        ("gateway.list_clusters() has them.", "`htcdask clusters` has them."),
        (
            GatewayUnreachableError("a", "b").remedy,
            "Check the address: --address=URL, or gateway.address in Dask's configuration.",
        ),
        (AuthenticationError("a", 401, "b").remedy, "Check gateway.auth in Dask's configuration."),
        (
            WAYS,
            "gateway.auth.type of Dask's configuration is basic, jupyterhub or kerberos, or names a class as"
            " package.module.Class.",
        ),
        (
            NoAddressError().remedy,
            "--address=URL gives it once; for good, as an example:\n"
            "export DASK_GATEWAY__ADDRESS=https://dask.example.org",
        ),
    ],
)
def test_remedies(remedy: str, told: str) -> None:
    assert in_a_shell(remedy, "c1") == told


def test_a_cluster_is_named_where_it_is_known() -> None:
    with pytest.raises(LimitError, match=r"`htcdask scale ab 200`\.$"), about("ab"):
        raise LimitError(1000, 200)
    with pytest.raises(LimitError, match=r"`htcdask scale CLUSTER 200`\.$"), about(None):
        raise LimitError(1000, 200)
    with pytest.raises(HTCDaskError, match=r"^cluster\.workers\(\)$"), about(r"\1{cluster}"):
        raise HTCDaskError("cluster.workers()")  # a sentence may be words of others
