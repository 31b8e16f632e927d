"""From certificates to the chain of an X.509 proxy: which are proxies, whose they are, how they end. Pure.

There are three sorts: RFC 3820, its draft (Globus 3) and the legacy one (Globus 2), whose only mark is its
name. Each one's subject is its issuer's and one more common name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from htcdaskgateway.credentials import der, voms
from htcdaskgateway.credentials.der import UnusableError, inside, items, only

# A chain grows by one with every delegation.
MOST_CERTIFICATES = 32

_RFC_INFO = der.object_id("1.3.6.1.5.5.7.1.14")
_DRAFT_INFO = der.object_id("1.3.6.1.4.1.3536.1.222")
_LIMITED = der.object_id("1.3.6.1.4.1.3536.1.1.1.9")
_LEGACY_NAMES = {"proxy": False, "limited proxy": True}
_SHORT = {
    NameOID.COMMON_NAME: "CN", NameOID.COUNTRY_NAME: "C", NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU", NameOID.DOMAIN_COMPONENT: "DC", NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST", NameOID.EMAIL_ADDRESS: "emailAddress", NameOID.USER_ID: "UID",
    NameOID.SERIAL_NUMBER: "serialNumber", NameOID.GIVEN_NAME: "GN", NameOID.SURNAME: "SN",
}  # fmt: skip


class ProxyMark(NamedTuple):
    """What makes a certificate a proxy: its sort, whether it is limited, how many may follow (None: any)."""

    sort: str
    limited: bool
    path_length: int | None


@dataclass(frozen=True)
class Chain:
    """A proxy, what it was made from, and the user certificate at its end.

    Attributes
    ----------
    certificates : tuple of cryptography.x509.Certificate
        The proxy first, the user certificate last.
    marks : tuple of ProxyMark
        Of each but the last.
    """

    certificates: tuple[x509.Certificate, ...]
    marks: tuple[ProxyMark, ...]

    @property
    def limited(self) -> bool:
        return any(mark.limited for mark in self.marks)

    @property
    def path_length(self) -> int | None:
        """How many more proxies may be made from it, one from the other; None: any number."""
        left = [
            mark.path_length - below for below, mark in enumerate(self.marks) if mark.path_length is not None
        ]
        return min(left, default=None)

    def voms(self) -> tuple[voms.VomsAttributes, ...]:
        """Read the VOMS attributes nearest to the proxy; an `UnusableError` says that they are unknown."""
        for certificate in self.certificates:
            value = der.extensions(certificate.tbs_certificate_bytes).get(voms.EXTENSION)
            if value is not None:
                return voms.read_voms(value)
        return ()


def order_chain(certificates: Sequence[x509.Certificate]) -> Chain:
    """Go from the first certificate, the proxy, to the user certificate.

    Raises
    ------
    UnusableError
        The first is no proxy, or a certificate of the chain is missing or did not sign the one before.
    """
    chain, marks = [certificates[0]], []
    while mark := proxy_mark(chain[-1]):
        marks.append(mark)
        if len(chain) > MOST_CERTIFICATES:
            raise UnusableError("its chain of certificates has no end")
        chain.append(_issuer(chain[-1], certificates))
    if not marks:
        raise UnusableError("it is a user certificate, no proxy made from one")
    return Chain(tuple(chain), tuple(marks))


def proxy_mark(certificate: x509.Certificate) -> ProxyMark | None:
    """Say what sort of proxy a certificate is; None if it is none."""
    known = der.extensions(certificate.tbs_certificate_bytes)
    if _RFC_INFO in known:
        return _mark("RFC 3820", inside(only(items(known[_RFC_INFO])), der.SEQUENCE))
    if _DRAFT_INFO in known:
        return _mark("draft", inside(only(items(known[_DRAFT_INFO])), der.SEQUENCE))
    last = next(iter(reversed(list(certificate.subject))), None)
    if last and last.oid == NameOID.COMMON_NAME and last.value in _LEGACY_NAMES:
        named_after = list(certificate.subject)[:-1] == list(certificate.issuer)
        return ProxyMark("legacy", _LEGACY_NAMES[str(last.value)], None) if named_after else None
    return None


def _mark(sort: str, fields: list[der.Item]) -> ProxyMark:
    limited, path_length = None, None
    for field in fields:
        if field.tag == der.INTEGER:
            path_length = der.small_integer(field)
        elif field.tag == 0xA1:  # the draft's place for it
            path_length = der.small_integer(only(items(field.content)))
        elif field.tag == der.SEQUENCE:
            limited = only(items(field.content)).content == _LIMITED
    if limited is None:
        raise UnusableError("its proxyCertInfo names no policy")
    return ProxyMark(sort, limited, path_length)


def _issuer(certificate: x509.Certificate, among: Sequence[x509.Certificate]) -> x509.Certificate:
    if list(certificate.subject)[:-1] != list(certificate.issuer):
        raise UnusableError("a proxy in it is not named after what it was made from")
    named = [one for one in among if one.subject == certificate.issuer and one is not certificate]
    if not named:
        raise UnusableError(f"the certificate {one_line(certificate.issuer)} is not in it")
    signer = next((one for one in named if _signed(certificate, one)), None)
    if signer is None:
        raise UnusableError(f"{one_line(certificate.subject)} is not signed by the certificate that it names")
    return signer


def _signed(certificate: x509.Certificate, signer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(signer)
    except InvalidSignature:
        return False
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return True  # an algorithm that is not known here: others will judge it
    return True


def one_line(name: x509.Name) -> str:
    """Write a name as the grid tools do: ``/DC=org/CN=Somebody``."""
    parts = [f"/{_SHORT.get(one.oid, one.oid.dotted_string)}={_value(one)}" for one in name]
    return "".join(parts)


def _value(attribute: x509.NameAttribute[str | bytes]) -> str:
    value = attribute.value
    return value if isinstance(value, str) else value.hex()
