"""HTCondor's words, as they came from HTCondor 25.14.1, and what they mean."""

from __future__ import annotations

import pytest

from htcdaskgateway.condor.words import (
    Outcome,
    is_stranger,
    of_bindings_submit,
    of_connection,
    of_tool_submit,
)

U, R, S = Outcome.UNAVAILABLE, Outcome.REFUSED, Outcome.SILENT
DENIED = 'SECMAN:2010:Received "DENIED" from server for user analyst@pool.test using method IDTOKENS.'
SLOW = (
    "SECMAN:2007:This service is running, but did not respond in a reasonable time. It may be overloaded. "
    "Please try again in a few minutes.  If the problem persists, contact your administrator."
)
CLOSED = "SECMAN:2011:Connection closed during command authorization. Probably due to an unknown command."


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("Failed to connect to schedd, errmsg=CEDAR:6001:Failed to connect to <127.0.0.1:41733>", U),
        (f"Failed to connect to schedd, errmsg={CLOSED}", U),
        (f"Failed to connect to schedd, errmsg={SLOW}", U),
        ("Failed to connect to schedd, errmsg=SECMAN:2007:Failed to end classad message.", U),
        (f"Failed to connect to schedd, errmsg={DENIED}", R),
        ("Failed to create new cluster.SCHEDD:13:Failed to create new User record for condor@pool.test.", R),
        ("Failed to create new cluster.SCHEDD:22:MAX_JOBS_SUBMITTED exceeded. Current=21, Limit=1", R),
        ("Failed to create new cluster.SCHEDD:28:Cannot allocate a cluster id", R),
        ("Failed to create new cluster.", U),
        ("Failed to create job ad, errmsg=Submit:-1:No such directory: /tmp/nope\n", R),
        ("Failed to create job ad, errmsg=Submit:-1:Parse error in expression: \n\tFoo = (((\n\t", R),
        ("Failed to create job ad, errmsg=Submit:-1:I don't know about the 'foo' universe.\n", R),
        ("expected next ProcId to be 0, but Schedd says -3", R),
        ("expected next ProcId to be 1, but Schedd says -4", R),
        # the schedd was killed in the middle of the submit, and the queue then held none of the jobs …
        ("Failed to set JobStatus=1 for job 27.2134 (110)\n", U),
        ("expected next ProcId to be 3550, but Schedd says -1", U),
        # … here it held all of them
        ("Unable to commit transaction, ", S),
        ("Unable to commit transaction, SCHEDD:2:Jobs here may ask for 5 MiB, not 10", R),
        ("Something that nobody has seen yet", S),
        ("invalid: Lines may not contain newlines", R),
    ],
)
def test_submit_by_the_bindings(words: str, outcome: Outcome) -> None:
    judged, shown = of_bindings_submit(words)
    assert judged is outcome
    assert shown.startswith(words)


def test_codes_of_the_schedd_get_a_meaning() -> None:
    _, shown = of_bindings_submit("expected next ProcId to be 0, but Schedd says -3")
    assert shown.endswith("\nNumber of submitted jobs would exceed MAX_JOBS_PER_OWNER")


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("ERROR: Can't find address of schedd nope@", U),
        ("ERROR: Can't find address of local schedd", U),
        ("ERROR: Failed to connect to local queue manager\nCEDAR:6001:Failed to connect to <127.0.0.1:4>", U),
        (f"ERROR: Failed to connect to local queue manager\n{CLOSED}", U),
        (f"ERROR: Failed to connect to local queue manager\n{DENIED}", R),
        ("ERROR: Failed to commit job submission into the queue.", S),
        (
            "WARNING: the Queue variable 'x' was unused by condor_submit. Is it a typo?\n"
            "ERROR: Failed to commit job submission into the queue.",
            S,
        ),
        (
            "ERROR: Failed to commit job submission into the queue.\n"
            "ERROR: Jobs here may ask for 5 MiB, not 10",
            R,
        ),
        ("ERROR: Failed to create proc", U),
        ("ERROR: Failed to create proc\nNumber of submitted jobs would exceed MAX_JOBS_PER_OWNER", R),
        ("ERROR: MAX_JOBS_SUBMITTED exceeded. Current=21, Limit=1", R),
        ("ERROR: Cannot allocate a cluster id", R),
        ("ERROR: No such directory: /tmp/nope", R),
        ("ERROR: Can't access executable file /x: No such file or directory", R),
        ("3 job(s) submitted to cluster 23.\nwrapper: cannot write its log", S),
    ],
)
def test_submit_by_the_tool(words: str, outcome: Outcome) -> None:
    assert of_tool_submit(words) is outcome


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("Error: Collector has no record of schedd/submitter", U),
        ("Error: cannot get address of schedd ", U),
        ("Unable to locate remote schedd (name=nope@, pool=).", U),
        ("Unable to locate local daemon.", U),
        ("Failed communication with collector.", U),
        ("Error: Couldn't contact the condor_collector on 127.0.0.1:1. ", U),
        ("condor_rm: CEDAR:6001:Failed to connect to <127.0.0.1:1>", U),
        ("DCSchedd::actOnJobs:6001:Failed to connect to schedd\nNo result found for job 42.0", U),
        (f"Failed to fetch ads from schedd, errmsg={CLOSED}", U),
        (f"Failed to fetch ads from schedd, errmsg={SLOW}", S),
        (f"{DENIED}\nNo result found for job 1.0", R),
        ("Job 1.0 not found", None),
        ("Permission denied to remove job 22.0", None),
    ],
)
def test_connection(words: str, outcome: Outcome | None) -> None:
    assert of_connection(words) is outcome


UNKNOWN = (
    "AUTHENTICATE:1003:Failed to authenticate with any method\nAUTHENTICATE:1004:Failed to authenticate using"
)
NOTHING_TO_SHOW = "SECMAN:2002:Configuration Problem: The security policy is invalid."


@pytest.mark.parametrize(
    ("words", "stranger"),
    [
        (f"ERROR: Failed to connect to local queue manager\n{UNKNOWN} IDTOKENS", True),
        (f"{UNKNOWN} FS\nNo result found for job 99.0", True),
        (f"Failed to fetch ads from schedd, errmsg={NOTHING_TO_SHOW}", True),
        (DENIED, False),  # known, but not permitted
        (CLOSED, False),
        (SLOW, False),
        ("Failed to fetch ads\nSECMAN:2002:Something else", False),
    ],
)
def test_who_we_are_is_not_known(words: str, stranger: bool) -> None:
    assert is_stranger(words) is stranger
