"""VOMS attribute certificates in an X.509 proxy (OGF GFD.182, RFC 5755): VO, FQANs, until when. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from htcdaskgateway.credentials import der
from htcdaskgateway.credentials.der import UnusableError, inside, items, only

EXTENSION = der.object_id("1.3.6.1.4.1.8005.100.100.5")
_FQANS = der.object_id("1.3.6.1.4.1.8005.100.100.4")
_POLICY_AUTHORITY, _URI = 0xA0, 0x86


@dataclass(frozen=True)
class VomsAttributes:
    """What one attribute certificate says; its signature was not checked.

    Attributes
    ----------
    vo : str
    fqans : tuple of str
        Groups and roles, ``/cms/Role=NULL/Capability=NULL``; the first is the primary one.
    not_before, not_after : float
        Seconds since the epoch.
    """

    vo: str
    fqans: tuple[str, ...]
    not_before: float
    not_after: float


def read_voms(value: bytes) -> tuple[VomsAttributes, ...]:
    """Read the attribute certificates in the extension's value.

    Raises
    ------
    UnusableError
        It is not what VOMS writes.
    """
    certificates = inside(only(inside(only(items(value)), der.SEQUENCE)), der.SEQUENCE)
    return tuple(_attributes(certificate) for certificate in certificates)


def _attributes(certificate: der.Item) -> VomsAttributes:
    fields = inside(only(inside(certificate, der.SEQUENCE)), der.SEQUENCE)
    # version, holder, issuer, signature, serial number, validity, attributes
    begin, end = _two(inside(only(fields, 5), der.SEQUENCE))
    for attribute in inside(only(fields, 6), der.SEQUENCE):
        name, values = _two(inside(attribute, der.SEQUENCE))
        if name.content == _FQANS:
            vo, fqans = _vo_and_fqans(only(inside(values, der.SET)))
            return VomsAttributes(vo, fqans, der.generalized_time(begin), der.generalized_time(end))
    raise UnusableError("its VOMS attributes name no groups")


def _vo_and_fqans(syntax: der.Item) -> tuple[str, tuple[str, ...]]:
    vo, fqans = "", tuple[str, ...]()
    for field in inside(syntax, der.SEQUENCE):
        if field.tag == _POLICY_AUTHORITY:
            names = items(field.content)
            # some put the names into a sequence of their own
            names = items(names[0].content) if names and names[0].tag == der.SEQUENCE else names
            uri = next((_text(name) for name in names if name.tag == _URI), "")
            vo = uri.partition("://")[0]
        elif field.tag == der.SEQUENCE:
            strings = items(field.content)
            fqans = tuple(_text(one) for one in strings if one.tag in {der.OCTET_STRING, der.UTF8_STRING})
    if not vo and fqans:
        vo = fqans[0].strip("/").partition("/")[0]
    if not vo:
        raise UnusableError("its VOMS attributes name no VO")
    return vo, fqans


def _two(found: list[der.Item]) -> tuple[der.Item, der.Item]:
    return only(found), only(found, 1)


def _text(item: der.Item) -> str:
    return item.content.decode("utf-8", "replace")
