"""What objects of a gateway are called, and the labels by which it finds its own and no others. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

MANAGER = "htcdaskgateway"
INSTANCE, CLUSTER, USER = (f"{MANAGER}/{what}" for what in ("instance", "cluster", "user"))
COMMON = {
    "app.kubernetes.io/name": "dask-scheduler",
    "app.kubernetes.io/component": "scheduler",
    "app.kubernetes.io/managed-by": MANAGER,
}
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_DIGITS = 20
_ESCAPED = re.compile(rf".*\.x[0-9a-f]{{{_DIGITS}}}")


def label_value(text: str) -> str:
    """Give a label value that stands for this text and for no other.

    A text that may be one is its own; of another, a readable part and a hash. One that looks as if it
    were such a thing is no exception.
    """
    if _LABEL.fullmatch(text) and not _ESCAPED.fullmatch(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9]+", "-", text, flags=re.ASCII).strip("-")[:30].strip("-")
    return f"{readable or 'x'}.x{_hash(text)}"


def _hash(*texts: str) -> str:
    # with their lengths, so that no two lists of texts are the same bytes
    encoded = [text.encode(errors="surrogatepass") for text in texts]
    return sha256(b"".join(b"%d:%b" % (len(one), one) for one in encoded)).hexdigest()[:_DIGITS]


@dataclass(frozen=True)
class Names:
    """Names and labels of one gateway's objects.

    Attributes
    ----------
    gateway : str
        Instance id of the gateway.
    """

    gateway: str

    def object_name(self, cluster: str) -> str:
        """Name of the secret, the pod and the service of a cluster: always the same, a DNS label."""
        return f"dask-{_hash(self.gateway, cluster)}"

    def labels(self, cluster: str, user: str) -> dict[str, str]:
        return {**COMMON, **self.identity(cluster), USER: label_value(user)}

    def annotations(self, cluster: str, user: str) -> dict[str, str]:
        """The same unescaped, for people."""
        return {INSTANCE: self.gateway, CLUSTER: cluster, USER: user}

    def identity(self, cluster: str) -> dict[str, str]:
        """The labels that make an object this gateway's, and this cluster's."""
        return {INSTANCE: label_value(self.gateway), CLUSTER: label_value(cluster)}

    def selector(self, cluster: str | None = None) -> str:
        """Label selector of all objects of this gateway, or of one cluster."""
        labels = {INSTANCE: label_value(self.gateway)} if cluster is None else self.identity(cluster)
        return ",".join(f"{key}={value}" for key, value in labels.items())
