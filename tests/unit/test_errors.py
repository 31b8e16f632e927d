from __future__ import annotations

import pickle

import pytest
from dask_gateway import GatewayClusterError

from htcdaskgateway import errors
from htcdaskgateway.client import errors as client_errors
from htcdaskgateway.client.session_credentials import NoCredentialError
from htcdaskgateway.credentials.errors import CredentialError

ALL = [
    errors.HTCDaskError("A sentence.", {"fact": "x"}, "A remedy."),
    errors.ConfigurationError("A sentence."),
    errors.InvalidRequestError("A sentence."),
    errors.ScheddUnavailableError("ap@here", "no route"),
    errors.ScheddSilentError("ap@here", "a query", 30),
    errors.SubmitRefusedError("ap@here", "quota"),
    errors.ActionRefusedError("ap@here", "remove", "not yours"),
    errors.SchedulerStartError("c1", "no dask"),
    errors.SandboxError("/x", "read-only"),
    errors.GatewayUnreachableError("http://x", "refused"),
    errors.AuthenticationError("http://x", 401, ""),
    errors.LimitError(1000, 10),
    client_errors.NoAddressError(),
    client_errors.ClusterFailedError("c1", "no dask"),
    client_errors.RefusedError("no schedd"),
    client_errors.WorkersMissingError(3, 1, 60, "no slot", "1 running, 2 idle"),
    NoCredentialError(CredentialError("A sentence.", {"fact": "x"}, "A remedy.")),
]


def test_text_of_others_stays_on_its_line_and_is_short() -> None:
    assert errors.shown("a\nb\x1b[31m\0") == r"'a\nb\x1b[31m\x00'"
    assert errors.shown("a" * 200) == f"'{'a' * 200}'"
    assert errors.shown("a" * 201) == f"'{'a' * 200}'…"
    assert errors.shown("aaa", 2) == "'aa'…"


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_every_error_survives_pickle(error: errors.HTCDaskError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_every_error_is_listed_here() -> None:
    # By name: a test that imports the package anew makes the classes a second time.
    def below(kind: type[Exception]) -> set[str]:
        names = {f"{kind.__module__}.{kind.__name__}"}
        return names.union(*(below(sub) for sub in kind.__subclasses__()))

    ours = {
        name
        for name in below(errors.HTCDaskError)
        if name.startswith(("htcdaskgateway.errors.", "htcdaskgateway.client."))
    }
    listed = {f"{type(error).__module__}.{type(error).__name__}" for error in ALL}
    assert ours - {"htcdaskgateway.errors.CondorError"} == listed


def test_the_full_text() -> None:
    error = errors.HTCDaskError(
        "Image 'x' is not there.", {"looked for": "/a\n/b", "nearest": "y"}, "Use the nearest name."
    )
    assert str(error) == (
        "Image 'x' is not there.\n  looked for: /a\n              /b\n  nearest:    y\nUse the nearest name."
    )


def test_texts_hold_the_value_and_the_foreign_words() -> None:
    assert str(errors.SubmitRefusedError("ap@here", "ERROR: quota")) == (
        "The schedd ap@here refused the jobs.\n  HTCondor says: ERROR: quota"
    )
    assert str(errors.LimitError(1000, 10)) == (
        "1000 workers are more than the site allows in one cluster: 10.\n"
        "Ask for at most 10: cluster.scale(10)."
    )
    assert str(client_errors.WorkersMissingError(3, 1, 60, "", "1 running, 2 idle")).splitlines()[:2] == [
        "1 of 3 workers are running after 60 s.",
        "  workers: 1 running, 2 idle",
    ]


def test_code_written_for_other_libraries_catches_them() -> None:
    assert isinstance(client_errors.RefusedError("x"), GatewayClusterError)
    assert isinstance(client_errors.ClusterFailedError("c", "x"), GatewayClusterError)
    assert isinstance(errors.InvalidRequestError("x"), ValueError)
    assert isinstance(errors.GatewayUnreachableError("a", "x"), ConnectionError)
    assert isinstance(errors.AuthenticationError("a", 403, "x"), PermissionError)
    assert isinstance(client_errors.WorkersMissingError(1, 0, 1, "", ""), TimeoutError)
