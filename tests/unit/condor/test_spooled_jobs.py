"""What is different about jobs that are spooled, or accounted to somebody."""

from __future__ import annotations

import pytest

from htcdaskgateway.condor.jobs import JobRequest, worker_jobs
from htcdaskgateway.condor.schedd import SubmitDescription
from htcdaskgateway.errors import ConfigurationError, InvalidRequestError


def jobs(**changes: object) -> SubmitDescription:
    values = {
        "gateway": "g", "cluster_name": "c", "user": "alice", "cores": 1, "memory": 2**30,
        "sandbox": "/sandbox", "worker_names": ("w1",),
    }  # fmt: skip
    return worker_jobs(JobRequest(**{**values, **changes}))  # type: ignore[arg-type]  # its fields


def test_spooled() -> None:
    usual, spooled = jobs(), jobs(spool=True)
    assert (usual.spool, spooled.spool) == (False, True)
    changed = {name: value for name, value in spooled.commands.items() if usual.commands.get(name) != value}
    assert changed == {
        "log": "worker-$(worker_name).log",
        "leave_in_queue": (
            "JobStatus == 4 && (StageOutFinish ?: 0) < EnteredCurrentStatus"
            " && time() - EnteredCurrentStatus < 86400"
        ),
    }


def test_accounted() -> None:
    assert "accounting_group_user" not in jobs().commands
    for user in ("alice", "first.last", "alice@example.org", "a_b-c+d"):
        assert jobs(accounting_group_user=user).commands["accounting_group_user"] == user


@pytest.mark.parametrize("user", ["a b", 'a"b', "$(x)", "a\nb", "-a", ".a", "ünï", "a" * 129, "a,b"])
def test_not_accounted(user: str) -> None:
    with pytest.raises(InvalidRequestError, match="Jobs cannot be accounted to the user"):
        jobs(accounting_group_user=user)


@pytest.mark.parametrize("name", ["leave_in_queue", "+LeaveJobInQueue", "LeaveInQueue"])
def test_site_cannot_keep_jobs_in_the_queue(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be set"):
        jobs(submit_commands={name: "true"})


@pytest.mark.parametrize("name", ["accounting_group_user", "+AcctGroupUser"])
def test_site_accounts_if_we_do_not(name: str) -> None:
    assert jobs(submit_commands={name: "x"}).commands[name] == "x"
    with pytest.raises(ConfigurationError, match="cannot be set"):
        jobs(submit_commands={name: "x"}, accounting_group_user="alice")
