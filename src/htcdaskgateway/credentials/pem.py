"""From the content of a proxy file to its certificates and the public half of its key. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509 import Certificate, InvalidVersion, load_pem_x509_certificate

from htcdaskgateway.credentials.chain import MOST_CERTIFICATES
from htcdaskgateway.credentials.der import UnusableError

_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"


def load_pem(content: bytes) -> tuple[tuple[Certificate, ...], bytes]:
    """Read the certificates, in the file's order, and the public key that belongs to the private one.

    The private key stays here.

    Raises
    ------
    UnusableError
        One of them is missing, cannot be read or is there too often.
    """
    certificates: list[Certificate] = []
    keys: list[bytes] = []
    for label, block in _blocks(content):
        if label in {b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"}:
            if len(certificates) == MOST_CERTIFICATES:
                raise UnusableError(f"it holds more than {MOST_CERTIFICATES} certificates")
            certificates.append(_certificate(block))
        elif label.endswith(b"PRIVATE KEY"):
            if keys:
                raise UnusableError("it holds several private keys")
            keys.append(_public_half(block))
    if not certificates:
        raise UnusableError("it is empty" if not content.strip() else "it holds no certificate")
    if not keys:
        raise UnusableError("it holds no private key")
    return tuple(certificates), keys[0]


def public_bytes(certificate: Certificate) -> bytes:
    """Give a certificate's public key as `load_pem` gives it."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _blocks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = content.find(_BEGIN)
    while at >= 0:
        label = content[at + len(_BEGIN) : at + 100].partition(_DASHES)[0]
        last = _END + label + _DASHES
        end = content.find(last, at)
        if end < 0:
            raise UnusableError("it is cut short")
        end += len(last)
        yield label, content[at:end] + b"\n"
        at = content.find(_BEGIN, end)


def _certificate(block: bytes) -> Certificate:
    try:
        return load_pem_x509_certificate(block)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidVersion):
        raise UnusableError("a certificate in it cannot be read") from None


def _public_half(block: bytes) -> bytes:
    try:
        key = load_pem_private_key(block, None)
        return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except TypeError:
        raise UnusableError("its private key is protected by a pass phrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableError("its private key cannot be read") from None
