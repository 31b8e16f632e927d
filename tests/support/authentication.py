"""How HTCondor learns who somebody is, by each method: what the schedd needs, and what a person has."""

from __future__ import annotations

import base64
import ipaddress
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tests.support.pool import Pool
from tests.support.waiting import eventually
from tests.unit.credentials import grid

USER, IDENTITY = "analyst", "analyst@pool.test"
SUBJECT, ISSUER, KEY_ID = ("/DC=test", "/DC=pool", "/CN=Analyst"), "https://issuer.pool.test", "key-1"
USUAL_METHODS = "FS, IDTOKENS"  # as tests/pool/condor_config.in has it
SCHEDD_METHODS = f"{USUAL_METHODS}, SSL, SCITOKENS"
SCHEDD = f"""
SCHEDD.SEC_DEFAULT_AUTHENTICATION_METHODS = {SCHEDD_METHODS}
SCHEDD.CERTIFICATE_MAPFILE = {{here}}/map
SCHEDD.AUTH_SSL_SERVER_CAFILE = {{here}}/ca.pem
SCHEDD.AUTH_SSL_SERVER_CERTFILE = {{here}}/host.pem
SCHEDD.AUTH_SSL_SERVER_KEYFILE = {{here}}/host.key
SCHEDD.AUTH_SSL_REQUIRE_CLIENT_CERTIFICATE = True
"""
KEY_CACHE = "keycache (issuer text UNIQUE PRIMARY KEY NOT NULL, keys text NOT NULL)"  # the library's own
MAP = f"""
SSL {"".join(SUBJECT)} {IDENTITY}
SCITOKENS {ISSUER},{USER} {IDENTITY}
"""


@dataclass(frozen=True)
class Person:
    """What somebody has for one method.

    Attributes
    ----------
    shown : str
        Whom the schedd's audit log says that this is, before it is mapped to an account.
    settings : dict of str to str
        Of the person's HTCondor configuration.
    environment : dict of str to str
    """

    shown: str
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


class Authentication:
    """A schedd that takes every method, with a certificate authority and a token issuer of its own."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._here = Path(tempfile.mkdtemp(prefix="htcdask-authentication-"))
        self._here.chmod(0o755)
        self._cache = pool.home / "local" / "run" / "cache"
        self._file = pool.home / "config.d" / "94-authentication"
        self._authority = _issue(["/CN=Test CA"], None, x509.BasicConstraints(True, None))
        self._issuer = ec.generate_private_key(ec.SECP256R1())

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            here = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("127-0-0-1.pool.test")]
            host = _issue(["/CN=127-0-0-1.pool.test"], self._authority, x509.SubjectAlternativeName(here))
            _write(self._here / "ca.pem", self._authority.pem, "root", 0o644)
            _write(self._here / "host.pem", host.pem, "root", 0o644)
            _write(self._here / "host.key", host.key_pem, "root")
            _write(self._here / "map", MAP.encode(), "root", 0o644)
            self._know_issuer()
            _write(self._file, SCHEDD.format(here=self._here).encode(), "root", 0o644)
            self._reconfigure(SCHEDD_METHODS)
            yield
        finally:
            self._file.unlink(missing_ok=True)
            self._reconfigure(USUAL_METHODS)
            shutil.rmtree(self._here)
            shutil.rmtree(self._cache, ignore_errors=True)

    def audit(self) -> str:
        """What the schedd has noted of whoever changed the queue."""
        return (self.pool.home / "local" / "log" / "SchedAuditLog").read_text()

    def person(self, method: str, home: Path) -> Person:
        """Give the user what this method needs."""
        if method == "FS":
            return Person(USER)
        if method == "IDTOKENS":
            (home / "tokens.d").mkdir(0o700)
            shutil.chown(home / "tokens.d", USER)
            _write(home / "tokens.d" / "token", self.pool.token(USER).encode(), USER)
            return Person("(null)", {"SEC_TOKEN_DIRECTORY": f"{home}/tokens.d"})
        trusted = self.no_certificate().settings
        if method == "SSL":
            person = _issue(SUBJECT, self._authority, x509.BasicConstraints(False, None))
            _write(home / "usercert.pem", person.pem, USER, 0o644)
            _write(home / "userkey.pem", person.key_pem, USER)
            mine = {
                f"AUTH_SSL_CLIENT_{kind}FILE": f"{home}/user{kind.lower()}.pem" for kind in ("CERT", "KEY")
            }
            return Person("".join(SUBJECT), {**trusted, **mine})
        _write(home / "bearer.token", self._token().encode(), USER)
        return Person(f"{ISSUER},{USER}", trusted, {"BEARER_TOKEN_FILE": f"{home}/bearer.token"})

    def no_certificate(self) -> Person:
        """Of somebody who knows the schedd's authority, and has nothing of it."""
        return Person("", {"AUTH_SSL_CLIENT_CAFILE": f"{self._here}/ca.pem"})

    def _reconfigure(self, methods: str) -> None:
        self.pool.command("condor_reconfig", "-daemon", "schedd")
        asked = ("-schedd", "SEC_DEFAULT_AUTHENTICATION_METHODS")
        eventually(
            f"the schedd takes {methods}",
            lambda: self.pool.command("condor_config_val", *asked).strip() == methods,
            20,
        )

    def _token(self) -> str:
        now = int(time.time())
        claims = {
            "ver": "scitoken:2.0", "aud": "ANY", "iss": ISSUER, "sub": USER, "jti": "1",
            "iat": now, "nbf": now - 60, "exp": now + 3600, "scope": "condor:/READ condor:/WRITE",
        }  # fmt: skip
        head = {"typ": "JWT", "alg": "ES256", "kid": KEY_ID}
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self._issuer.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def _know_issuer(self) -> None:
        """Put the issuer's key where the SciTokens library keeps what it has fetched by https."""
        numbers, end = self._issuer.public_key().public_numbers(), int(time.time()) + 86400
        point = {
            name: _base64(value.to_bytes(32, "big")) for name, value in (("x", numbers.x), ("y", numbers.y))
        }
        key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID, **point}
        # A schedd keeps to the directory that it has used first: HTCondor's default, or a second run fails.
        directory = self._cache / "scitokens"
        directory.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(directory / "scitokens_cpp.sqllite")) as cache, cache:
            cache.execute("CREATE TABLE IF NOT EXISTS " + KEY_CACHE)
            keys = json.dumps({"jwks": {"keys": [key]}, "expires": end, "next_update": end})
            cache.execute("REPLACE INTO keycache VALUES (?, ?)", (ISSUER, keys))
        for path in (directory.parent, directory, *directory.iterdir()):
            shutil.chown(path, "condor")


def _issue(
    subject: Sequence[str], issuer: grid.Holder | None, *extensions: x509.ExtensionType
) -> grid.Holder:
    now = time.time()
    return grid.issue(grid.name(*subject), issuer, extensions, begin=now - grid.HOUR, end=now + grid.DAY)


def _write(path: Path, content: bytes, owner: str, mode: int = 0o600) -> Path:
    path.touch(mode)
    path.write_bytes(content)
    path.chmod(mode)
    shutil.chown(path, owner)
    return path


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
