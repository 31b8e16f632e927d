from __future__ import annotations

import base64

import pytest
from tests.unit.credentials import grid
from tests.unit.credentials.grid import HOUR, NOW, attribute_certificate, der, proxy_info, proxy_of, user

from htcdaskgateway.credentials.x509 import X509Proxy, parse_x509

# The fields that are read, as `voms-proxy-fake -separate` of VOMS 2.1.0 wrote them for a test user.
WRITTEN_BY_VOMS = base64.b64decode(
    "AgEBMFygWjBCpEAwPjEUMBIGCgmSJomT8ixkARkWBHRlc3QxFDASBgoJkiaJk/IsZAEZFgRwb29sMRAwDgYDVQQDDAdBbmFseXN0"
    "AhR2pa2HjW6+1rmqJKf8Bh4BcQq5WqBLMEmkRzBFMRQwEgYKCZImiZPyLGQBGRYEdGVzdDEUMBIGCgmSJomT8ixkARkWBHBvb2wx"
    "FzAVBgNVBAMMDnZvbXMucG9vbC50ZXN0MA0GCSqGSIb3DQEBCwUAAgEBMCIYDzIwMjYxMTIyMTYzNzM5WhgPMjAyNjExMjIyMTM3"
    "MzlaMHkwdwYKKwYBBAG+RWRkBDFpMGegHIYaY21zOi8vdm9tcy5wb29sLnRlc3Q6MTUwMDIwRwQeL2Ntcy9Sb2xlPU5VTEwvQ2Fw"
    "YWJpbGl0eT1OVUxMBCUvY21zL3VzY21zL1JvbGU9cGlsb3QvQ2FwYWJpbGl0eT1OVUxM"
)


def with_voms(*extensions: object) -> X509Proxy:
    person = user()
    made = proxy_of(person, proxy_info(), *extensions)  # type: ignore[arg-type]  # of two kinds
    return parse_x509(grid.proxy_file(made, person), "/x")


def test_what_voms_itself_writes() -> None:
    proxy = with_voms(grid.voms(der(0x30, der(0x30, WRITTEN_BY_VOMS))))
    (attributes,) = proxy.voms
    assert attributes.vo == "cms"
    assert attributes.fqans == ("/cms/Role=NULL/Capability=NULL", "/cms/uscms/Role=pilot/Capability=NULL")
    assert (attributes.not_before, attributes.not_after) == (1795365459, 1795365459 + 5 * HOUR)
    assert proxy.note == ""


def test_several_vos() -> None:
    proxy = with_voms(
        grid.voms(
            attribute_certificate("cms", ["/cms", "/cms/uscms"], end=NOW + 9 * HOUR),
            attribute_certificate("dune", ["/dune"], end=NOW + 3 * HOUR),
        )
    )
    assert (proxy.vo, proxy.vos) == ("cms", frozenset({"cms", "dune"}))
    assert proxy.fqans == ("/cms", "/cms/uscms", "/dune")
    assert (proxy.time_left(NOW), proxy.limit) == (3 * HOUR, "VOMS attributes of dune")


def test_a_proxy_of_a_proxy_keeps_its_attributes() -> None:
    person = user()
    first = proxy_of(person, proxy_info(), grid.voms())
    second = proxy_of(first, proxy_info(grid.LIMITED))
    proxy = parse_x509(grid.proxy_file(second, first, person), "/x")
    assert (proxy.vo, proxy.limited) == ("cms", True)


def test_the_attributes_nearest_to_the_proxy_count() -> None:
    person = user()
    first = proxy_of(person, proxy_info(), grid.voms(attribute_certificate("old")))
    second = proxy_of(first, proxy_info(), grid.voms(attribute_certificate("new")))
    assert parse_x509(grid.proxy_file(second, first, person), "/x").vos == {"new"}


def test_without_an_authority_the_first_group_names_the_vo() -> None:
    proxy = with_voms(grid.voms(attribute_certificate("x", ["/cms/uscms"], authority=False)))
    assert proxy.vo == "cms"


def test_many_groups() -> None:
    groups = [f"/cms/group{number}/Role=NULL/Capability=NULL" for number in range(300)]
    assert with_voms(grid.voms(attribute_certificate(fqans=groups))).fqans == tuple(groups)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "a DER value is missing"),
        (b"\x30", "a DER header cannot be read"),
        (b"\x30\x80\x00", "a DER length cannot be read"),
        (b"\x30\x89" + b"\xff" * 9, "a DER length cannot be read"),
        (b"\x30\x84\xff\xff\xff\xff", "a DER value is cut short"),
        (b"\x3f\x01\x00", "a DER header cannot be read"),
        (der(0x31), "DER tag 0x31 where 0x30 was expected"),
        (der(0x30, der(0x30, der(5) * 1001)), "more than 1000 DER values in one"),
        (der(0x30, der(0x30, attribute_certificate(fqans=(), authority=False))), "name no VO"),
        (der(0x30, der(0x30, attribute_certificate().replace(b"Z\x18", b"X\x18"))), "a time cannot be read"),
    ],
)
def test_attributes_that_cannot_be_read_are_noted(value: bytes, why: str) -> None:
    proxy = with_voms(grid.voms_value(value))
    assert proxy.voms == ()
    assert why in proxy.note
    assert proxy.identity == "/DC=test/DC=pool/CN=Analyst"
