"""The user's X.509 proxy: found as the grid tools find it, read and understood."""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import Certificate

from htcdaskgateway.credentials.chain import Chain, one_line, order_chain
from htcdaskgateway.credentials.der import UnusableError
from htcdaskgateway.credentials.errors import (
    CredentialGarbledError,
    CredentialMissingError,
    KeyMismatchError,
)
from htcdaskgateway.credentials.files import FileIdentity, read_private
from htcdaskgateway.credentials.frames import drop_frames
from htcdaskgateway.credentials.pem import load_pem, public_bytes
from htcdaskgateway.credentials.voms import VomsAttributes
from htcdaskgateway.credentials.words import USER_CERTIFICATE, X509, X509_MEND, About, mending

VARIABLE = "X509_USER_PROXY"


@dataclass(frozen=True)
class X509Proxy:
    """An X.509 proxy without its key. No signature of the VO was checked: that is for the services.

    Attributes
    ----------
    path : str
        Its file, absolute.
    subject, issuer : str
        Of the proxy certificate, ``/DC=org/CN=Somebody/CN=123``.
    identity : str
        Subject of the user certificate that it was made from.
    sort : str
        ``RFC 3820``, ``draft`` or ``legacy``.
    limited : bool
    path_length : int or None
        How many more may be made from it, one from the other; None: any number.
    voms : tuple of VomsAttributes
    not_before, not_after : float
        Seconds since the epoch, within which all of its certificates and VOMS attributes are valid.
    limit : str
        What ends first, if that is not the proxy certificate itself.
    fingerprint : str
        SHA-256 of the proxy certificate.
    note : str
        What could not be understood.
    file : FileIdentity or None
    """

    path: str
    subject: str
    issuer: str
    identity: str
    sort: str
    limited: bool
    path_length: int | None
    voms: tuple[VomsAttributes, ...]
    not_before: float
    not_after: float
    limit: str
    fingerprint: str
    note: str = ""
    file: FileIdentity | None = None

    @property
    def vo(self) -> str:
        """The first VO, empty if there is none."""
        return self.voms[0].vo if self.voms else ""

    @property
    def fqans(self) -> tuple[str, ...]:
        return tuple(fqan for attributes in self.voms for fqan in attributes.fqans)

    @property
    def vos(self) -> frozenset[str]:
        return frozenset(attributes.vo for attributes in self.voms)

    @property
    def about(self) -> About:
        return About(X509, self.path, self.identity, self.vo, self.not_after, self.limit)

    def time_left(self, now: float) -> float:
        """Say for how many seconds more it is valid; negative if it has ended."""
        return self.not_after - now


def find_x509(environ: Mapping[str, str], uid: int) -> str:
    """Say where a user's X.509 proxy is looked for; nothing need be there."""
    return os.path.abspath(environ.get(VARIABLE) or f"/tmp/x509up_u{uid}")  # noqa: PTH100, S108 - as in tokens


@drop_frames
def read_x509(environ: Mapping[str, str], uid: int, command: str = X509_MEND) -> X509Proxy:
    """Find and read a user's X.509 proxy; its times are not judged.

    Parameters
    ----------
    environ : mapping of str to str
        The user's environment.
    uid : int
        Whose it is.
    command : str
        What makes a new one, for messages; ``{vo}`` stands for the VO, ``{out}`` for `` -out PATH``
        where the path is not the usual one.

    Raises
    ------
    CredentialError
        There is none, or it cannot be used.
    """
    path = find_x509(environ, uid)
    filled = mending(command, path=path)
    found = read_private(X509, path, uid, filled)
    if found is None:
        raise CredentialMissingError(X509, (path,), VARIABLE if environ.get(VARIABLE) else "", filled)
    return replace(parse_x509(found[0], path, command), file=found[1])


@drop_frames
def parse_x509(content: bytes, path: str, command: str = X509_MEND) -> X509Proxy:
    """Understand the content of a proxy file: PEM of the proxy, its key and its chain.

    Raises
    ------
    CredentialError
        It cannot be used.
    """
    try:
        certificates, key = load_pem(content)
        proxy = _describe(order_chain(certificates), certificates, path)
        own = public_bytes(certificates[0])
    except UnusableError as error:
        raise CredentialGarbledError(X509, path, str(error), mending(command, path=path)) from None
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm):  # KeyError: cryptography 42
        why = "a certificate in it cannot be read"
        raise CredentialGarbledError(X509, path, why, mending(command, path=path)) from None
    if key != own:
        raise KeyMismatchError(path, proxy.subject, mending(command, proxy.vo, path))
    return proxy


def _describe(chain: Chain, certificates: Sequence[Certificate], path: str) -> X509Proxy:
    voms, note = _voms(chain)
    leaf, user = chain.certificates[0], chain.certificates[-1]
    ends = [(leaf.not_valid_after_utc.timestamp(), "")]
    ends += [(one.not_after, f"VOMS attributes of {one.vo}") for one in voms]
    ends += [(user.not_valid_after_utc.timestamp(), USER_CERTIFICATE + one_line(user.subject))]
    # All that are in the file, as HTCondor counts them.
    others = [one for one in certificates if one not in (leaf, user)]
    ends += [(one.not_valid_after_utc.timestamp(), f"certificate {one_line(one.subject)}") for one in others]
    not_after, limit = min(ends, key=lambda end: end[0])
    begins = [one.not_valid_before_utc.timestamp() for one in chain.certificates]
    return X509Proxy(
        path=path,
        subject=one_line(leaf.subject),
        issuer=one_line(leaf.issuer),
        identity=one_line(user.subject),
        sort=chain.marks[0].sort,
        limited=chain.limited,
        path_length=chain.path_length,
        voms=voms,
        not_before=max(begins + [one.not_before for one in voms]),
        not_after=not_after,
        limit=limit,
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
        note=note,
    )


def _voms(chain: Chain) -> tuple[tuple[VomsAttributes, ...], str]:
    try:
        return chain.voms(), ""
    except UnusableError as error:
        # The services may understand them all the same.
        return (), f"its VOMS attributes cannot be read: {error}"
