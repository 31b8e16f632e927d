"""A test certificate authority, users, X.509 proxies of every sort, VOMS attributes and tokens."""

from __future__ import annotations

import base64
import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = 1_800_000_000.0  # 2027-01-15, whole seconds as in certificates
HOUR = 3600.0
DAY = 24 * HOUR

INHERIT_ALL = "1.3.6.1.5.5.7.21.1"
LIMITED = "1.3.6.1.4.1.3536.1.1.1.9"
RFC_INFO, DRAFT_INFO = "1.3.6.1.5.5.7.1.14", "1.3.6.1.4.1.3536.1.222"
VOMS = "1.3.6.1.4.1.8005.100.100.5"
NAME = ("/DC=test", "/DC=pool", "/CN=Analyst")


@dataclass(frozen=True)
class Holder:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        form = serialization.PrivateFormat.TraditionalOpenSSL
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def oid(dotted: str) -> bytes:
    """Encode by the library: ours is what is tested."""
    # CertificatePolicies holds a bare object identifier: SEQUENCE { SEQUENCE { OBJECT ID } }
    policy = x509.PolicyInformation(x509.ObjectIdentifier(dotted), None)
    return x509.CertificatePolicies([policy]).public_bytes()[4:]


def proxy_info(policy: str = INHERIT_ALL, path_length: int | None = None) -> x509.UnrecognizedExtension:
    length = b"" if path_length is None else der(2, bytes([path_length]))
    value = der(0x30, length, der(0x30, oid(policy)))
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(RFC_INFO), value)


def draft_info(policy: str = INHERIT_ALL, path_length: int | None = None) -> x509.UnrecognizedExtension:
    length = b"" if path_length is None else der(0xA1, der(2, bytes([path_length])))
    value = der(0x30, der(0x30, oid(policy)), length)
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(DRAFT_INFO), value)


def general_time(seconds: float) -> bytes:
    when = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return der(0x18, f"{when:%Y%m%d%H%M%S}Z".encode())


def attribute_certificate(
    vo: str = "cms",
    fqans: Sequence[str] = ("/cms/Role=NULL/Capability=NULL",),
    begin: float = NOW - HOUR,
    end: float = NOW + DAY,
    authority: bool = True,
) -> bytes:
    """Make one as VOMS 2.1 writes it, with an empty signature."""
    holder = der(0x30, der(0xA0, der(0x30), der(2, b"\x01")))
    issuer = der(0xA0, der(0x30, der(0xA4, der(0x30))))
    algorithm = der(0x30, oid("1.2.840.113549.1.1.11"), der(5))
    uri = der(0xA0, der(0x86, f"{vo}://voms.pool.test:15002".encode())) if authority else b""
    groups = der(0x30, *(der(4, fqan.encode()) for fqan in fqans))
    attribute = der(0x30, oid("1.3.6.1.4.1.8005.100.100.4"), der(0x31, der(0x30, uri, groups)))
    validity = der(0x30, general_time(begin), general_time(end))
    extensions = der(0x30, der(0x30, oid("2.5.29.56"), der(4, der(5))))
    info = der(
        0x30, der(2, b"\x01"), holder, issuer, algorithm, der(2, b"\x01"),
        validity, der(0x30, attribute), extensions,
    )  # fmt: skip
    return der(0x30, info, algorithm, der(3, b"\x00"))


def voms(*certificates: bytes) -> x509.UnrecognizedExtension:
    return voms_value(der(0x30, der(0x30, *(certificates or (attribute_certificate(),)))))


def voms_value(value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(VOMS), value)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def issue(
    subject: x509.Name,
    issuer: Holder | None,
    extensions: Sequence[x509.ExtensionType] = (),
    begin: float = NOW - HOUR,
    end: float = NOW + 365 * DAY,
    signer: ec.EllipticCurvePrivateKey | None = None,
) -> Holder:
    key = new_key()
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.issuer_name(issuer.certificate.subject if issuer else subject)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(_time(begin)).not_valid_after(_time(end))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    signing = signer or (issuer.key if issuer else key)
    return Holder(builder.sign(signing, hashes.SHA256()), key)


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def name(*parts: str) -> x509.Name:
    short = {"DC": NameOID.DOMAIN_COMPONENT, "CN": NameOID.COMMON_NAME}
    pairs = [part.lstrip("/").split("=", 1) for part in parts]
    return x509.Name([x509.NameAttribute(short[kind], value) for kind, value in pairs])


@functools.cache
def authority() -> Holder:
    return issue(name("/DC=test", "/DC=pool", "/CN=Test CA"), None)


def user(end: float = NOW + 365 * DAY) -> Holder:
    return issue(name(*NAME), authority(), [x509.BasicConstraints(False, None)], end=end)


def proxy_of(
    issuer: Holder,
    *extensions: x509.ExtensionType,
    common_name: str = "1234",
    begin: float = NOW - HOUR,
    end: float = NOW + DAY,
    signer: ec.EllipticCurvePrivateKey | None = None,
) -> Holder:
    """Make a proxy; without extensions, a legacy one if the name says so."""
    last = x509.NameAttribute(NameOID.COMMON_NAME, common_name)
    subject = x509.Name([*issuer.certificate.subject, last])
    return issue(subject, issuer, extensions, begin, end, signer)


def proxy_file(proxy: Holder, *issuers: Holder, key: Holder | None = None) -> bytes:
    return b"".join([proxy.pem, (key or proxy).key_pem, *(issuer.pem for issuer in issuers)])


@functools.cache
def example(*, vo: bool = True) -> bytes:
    """A proxy as a person has it: RFC 3820, made from a user certificate, with VOMS attributes."""
    person = user()
    extensions = [proxy_info(), *([voms()] if vo else [])]
    return proxy_file(proxy_of(person, *extensions), person)


def token(claims: Mapping[str, Any] | bytes, signature: str = "c2lnbmF0dXJl") -> bytes:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    header = _base64(b'{"alg":"RS256","typ":"JWT"}')
    return b".".join([header, _base64(payload), signature.encode()])


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def example_token(**claims: Any) -> bytes:
    usual = {"sub": "analyst", "iss": "https://issuer.test", "exp": NOW + HOUR, "nbf": NOW - HOUR,
             "scope": "storage.read:/ storage.create:/store"}  # fmt: skip
    return token({**usual, **claims})


def secrets_of(content: bytes) -> list[str]:
    """Give what must be seen nowhere: each line of the keys in a proxy file, or a token's signature."""
    if b"PRIVATE KEY" not in content:
        return [content.strip().rpartition(b".")[2].decode()]
    lines, inside = [], False
    for line in content.decode("ascii", "replace").splitlines():
        if "PRIVATE KEY" in line:
            inside = not inside
        elif inside:
            lines.append(line)
    return lines
