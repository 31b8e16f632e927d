"""What notebooks of htcdaskgateway 0.1.25 call."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import dask_gateway.options
import pytest
from tests.unit.client.conftest import Answers, option

import htcdaskgateway
from htcdaskgateway import HTCGateway, WorkerRecord, WorkerState
from htcdaskgateway.client.dropin import DropIn, batch_jobs, without_address
from htcdaskgateway.client.report import WorkersReport
from htcdaskgateway.errors import InvalidRequestError

CORES = {"field": "worker_cores", "label": "c", "default": 1, "spec": {"type": "int", "min": 1, "max": 4}}
MEMORY = {
    "field": "worker_memory",
    "label": "m",
    "default": 2.0,
    "spec": {"type": "float", "min": 1, "max": 8},
}


def test_its_modules_are_there() -> None:
    for module, name in (("cluster", "HTCGatewayCluster"), ("gateway", "HTCGateway")):
        there = importlib.import_module(f"htcdaskgateway.{module}")
        assert getattr(there, name) is getattr(htcdaskgateway, name)
    assert importlib.import_module("htcdaskgateway.options").Options is dask_gateway.options.Options


def test_the_package_imports_none_of_them() -> None:
    code = "import sys, htcdaskgateway; print(*[m for m in sys.modules if m.startswith('htcdaskgateway.')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(ran.stdout.split())
    assert "htcdaskgateway.records" in loaded
    assert not loaded & {"htcdaskgateway.cluster", "htcdaskgateway.gateway", "htcdaskgateway.options"}


def test_the_address_of_the_gateway_proxy_is_not_needed() -> None:
    with pytest.warns(UserWarning, match=r"The keyword '' \('131.225.218.222'\) has no effect"):
        assert without_address({"": "131.225.218.222", "image": "a/b:1"}) == {"image": "a/b:1"}
    assert without_address({"image": "a/b:1"}) == {"image": "a/b:1"}  # and no warning


def submit(client: HTCGateway, **options: Any) -> None:
    client.submit(check_versions="off", **options)


def test_size_and_place_are_cluster_options(answers: Answers, client: HTCGateway) -> None:
    answers.options += [CORES, MEMORY, option("node_match_expr", "")]
    submit(client, worker_cores=2, worker_memory=4, node_match_expr=" Rank = (isDaskNode == True) ")
    assert answers.submitted[-1] == {
        "image": "registry.example.org/site/default:1",
        "worker_cores": 2,
        "worker_memory": 4,
        "node_match_expr": "rank = (isDaskNode == True)",
    }
    submit(client, worker_cores=None, node_match_expr="")
    assert set(answers.submitted[-1]) == {"image"}


def test_a_gateway_without_such_options(answers: Answers, client: HTCGateway) -> None:
    answers.options.append(CORES)
    with pytest.raises(InvalidRequestError) as caught:
        submit(client, node_match_expr="rank = Mips")
    assert caught.value.sentence == (
        "node_match_expr='rank = Mips' cannot be had: the gateway has no such option."
    )
    assert caught.value.facts == {"gateway": answers.url, "its options": "image, worker_cores"}
    assert answers.submitted == []


@pytest.mark.parametrize(
    "expression", ["isDaskNode", "executable = /bin/sh", "rank = 1\nqueue 5", "rank = $(x)"]
)
def test_an_expression_that_is_none(answers: Answers, client: HTCGateway, expression: str) -> None:
    answers.options.append(option("node_match_expr", ""))
    with pytest.raises(InvalidRequestError, match="node_match_expr="):
        submit(client, node_match_expr=expression)
    assert answers.submitted == []


def test_workers_are_htcondor_jobs(client: HTCGateway) -> None:
    with pytest.raises(InvalidRequestError, match="worker_type='kube' cannot be had"):
        client.scale_cluster("c1", 3, "kube")
    with pytest.raises(InvalidRequestError, match="n must not be negative"):
        client.scale_cluster("c1", -3, "htcondor")


def test_jobs_are_counted_by_transaction() -> None:
    def worker(name: str, state: WorkerState, job_id: str, schedd: str = "ap") -> WorkerRecord:
        return WorkerRecord(name, state, job_id, schedd)

    workers = (
        worker("a", WorkerState.RUNNING, "12.0"),
        worker("b", WorkerState.IDLE, "12.1"),
        worker("c", WorkerState.LEAVING, "13.0"),
        worker("d", WorkerState.STARTING, "13.0", "other"),
        worker("e", WorkerState.FAILED, "12.2"),
        worker("f", WorkerState.FINISHED, "12.3"),
        worker("g", WorkerState.WANTED, ""),
    )
    report = WorkersReport(1, "running", 4, None, False, "", workers)
    assert batch_jobs(report, "/sandbox") == [
        {"ClusterId": "12", "Iwd": "/sandbox", "ScheddName": "ap", "n_jobs": 2},
        {"ClusterId": "13", "Iwd": "/sandbox", "ScheddName": "ap", "n_jobs": 1},
        {"ClusterId": "13", "Iwd": "/sandbox", "ScheddName": "other", "n_jobs": 1},
    ]


def test_what_never_did_anything() -> None:
    cluster = object.__new__(DropIn)  # it asks nobody
    with pytest.warns(DeprecationWarning, match="scale_kube_workers"):
        assert cluster.scale_kube_workers(3) is None  # type: ignore[func-returns-value]  # that is it
