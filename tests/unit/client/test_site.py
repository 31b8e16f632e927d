from __future__ import annotations

import pytest

from htcdaskgateway.client.site import NOTHING, SiteFacts
from htcdaskgateway.credentials.policy import Policy, Rule, Use
from htcdaskgateway.server.credential_settings import CredentialSettings

TOLD = {
    "runtime": "apptainer",
    "image": "a/b:1",
    "image_registry": "r.org",
    "image_root": "/images",
    "registry_aliases": {"docker.io": "r.org"},
    "check_versions": "warn",
}


def test_what_the_gateway_says() -> None:
    facts = SiteFacts.from_json({**TOLD, "from_the_future": 1})
    assert facts == SiteFacts("apptainer", "a/b:1", "r.org", "/images", {"docker.io": "r.org"}, "warn")
    assert facts.is_ours


@pytest.mark.parametrize("answer", [None, [], "text", {}, {"image": 7, "registry_aliases": ["x"]}])
def test_an_answer_of_something_else(answer: object) -> None:
    assert SiteFacts.from_json(answer) == SiteFacts()
    assert not SiteFacts().is_ours


def told(**x509: object) -> Policy:
    return SiteFacts.from_json({"credentials": {"x509": x509}}).credentials


def test_names_of_environments() -> None:
    names = {"[devel]": "r.org/a/b:2"}
    assert SiteFacts.from_json({**TOLD, "environments": names}).environments == names
    assert SiteFacts.from_json({**TOLD, "environments": "x"}).environments == {}


def test_the_policy_for_credentials() -> None:
    site = CredentialSettings(
        x509="required", x509_minimum=60, x509_vo="cms", x509_command="a", token="never"
    )
    facts = SiteFacts.from_json({"runtime": "none", "credentials": site.credential_facts()})
    assert facts.credentials == Policy(Rule(Use.REQUIRED, 60, "cms", "a"), Rule(Use.NEVER))
    default = SiteFacts.from_json({"credentials": CredentialSettings().credential_facts()}).credentials
    assert default == Policy(Rule(Use.IF_PRESENT, 600), Rule(Use.IF_PRESENT))


@pytest.mark.parametrize("said", [None, [], "x", {"x509": "required"}, {"x509": {"use": "sometimes"}}])
def test_nothing_is_given_where_no_policy_is_understood(said: object) -> None:
    assert SiteFacts.from_json({"runtime": "none", "credentials": said}).credentials == NOTHING
    assert SiteFacts.from_json({"runtime": "none"}).credentials == NOTHING


@pytest.mark.parametrize("minimum", [None, "1", True, -1, float("nan"), float("inf"), 10**400, []])
def test_a_minimum_that_is_none(minimum: object) -> None:
    assert told(use="required", minimum=minimum).x509 == Rule(Use.REQUIRED)


def test_a_command_is_shown_on_one_line() -> None:
    assert told(use="required", command="a\nb\x1b[1m").x509.command == "a\\nb\\x1b[1m"
