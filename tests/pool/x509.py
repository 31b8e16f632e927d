# ruff: noqa: T201 - a program: its answer is on standard output
"""Make a test CA, a user certificate of it and an X.509 proxy (RFC 3820, no VO): x509.py DIR [HOURS]

HOURS is the proxy's life from now; negative: it ended that long ago.
"""

import datetime
import os
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

directory = Path(sys.argv[1])
hours = float(sys.argv[2]) if len(sys.argv) > 2 else 12
now = datetime.datetime.now(datetime.timezone.utc)
end = now + datetime.timedelta(hours=hours)
begin = min(now, end) - datetime.timedelta(minutes=5)
year = now + datetime.timedelta(days=365)


def name(common_name: str) -> x509.Name:
    domain = [x509.NameAttribute(NameOID.DOMAIN_COMPONENT, part) for part in ("test", "pool")]
    return x509.Name([*domain, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPrivateKey,
    signer: rsa.RSAPrivateKey,
    end: datetime.datetime,
    serial: int,
    extensions: list[x509.ExtensionType],
) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(begin).not_valid_after(end)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(signer, hashes.SHA256())


def usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(True, False, not ca, False, False, ca, ca, False, False)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def pem_key(key: rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def write(filename: str, content: bytes, mode: int) -> None:
    fd = os.open(directory / filename, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(content)


ca_key, user_key, proxy_key = new_key(), new_key(), new_key()
ca = certificate(
    name("Test CA"),
    name("Test CA"),
    ca_key,
    ca_key,
    year,
    x509.random_serial_number(),
    [x509.BasicConstraints(True, None), usage(True)],
)
user = certificate(
    name("Analyst"),
    ca.subject,
    user_key,
    ca_key,
    year,
    x509.random_serial_number(),
    [x509.BasicConstraints(False, None), usage(False)],
)
# A proxy's subject is its issuer's with one more CN (RFC 3820, 3.4), and it carries ProxyCertInfo
# (3.8): here no path limit, and the policy language inheritAll, 1.3.6.1.5.5.7.21.1.
serial = int.from_bytes(os.urandom(4), "big") | 1
subject = x509.Name([*user.subject, x509.NameAttribute(NameOID.COMMON_NAME, str(serial))])
proxy_cert_info = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
info = x509.UnrecognizedExtension(proxy_cert_info, bytes.fromhex("300c300a06082b06010505071501"))
proxy = certificate(subject, user.subject, proxy_key, user_key, end, serial, [usage(False), info])

write("ca.pem", pem(ca), 0o644)
write("usercert.pem", pem(user), 0o644)
write("userkey.pem", pem_key(user_key), 0o600)
write("proxy.pem", pem(proxy) + pem_key(proxy_key) + pem(user), 0o600)
print(directory / "proxy.pem")
