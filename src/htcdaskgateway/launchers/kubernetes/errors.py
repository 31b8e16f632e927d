"""What goes wrong between the gateway and the API server of Kubernetes."""

from __future__ import annotations

from htcdaskgateway.errors import HTCDaskError


class KubernetesError(HTCDaskError):
    """Something between us and Kubernetes went wrong."""


class KubernetesRefusedError(KubernetesError):
    """The API server refused a request, in its own words: a quota, an admission rule, a wrong value.

    Attributes
    ----------
    status : int
        Of HTTP: 409 where the object exists already, 410 where a watch must begin anew.
    """

    def __init__(self, verb: str, resource: str, namespace: str, status: int, words: str) -> None:
        self.verb, self.resource, self.namespace = verb, resource, namespace
        self.status, self.words = status, words
        super().__init__(
            f"Kubernetes refused to {verb} {resource} in namespace {namespace!r}.",
            {"it says": words or f"HTTP status {status}"},
        )


class CredentialsRefusedError(KubernetesRefusedError):
    """The API server does not know who the gateway is: its token or certificate has ended."""

    def __init__(self, verb: str, resource: str, namespace: str, status: int, words: str) -> None:
        super().__init__(verb, resource, namespace, status, words)
        self.sentence = f"Kubernetes does not take the gateway's credentials (to {verb} {resource})."
        self.remedy = (
            "Renew what the kubeconfig of c.KubernetesLauncher.kubeconfig holds or names: it is read again by"
            " itself. To try it: kubectl --kubeconfig FILE auth can-i --list"
        )


class PermissionMissingError(KubernetesError):
    """The gateway's account lacks a permission."""

    def __init__(self, verb: str, resource: str, namespace: str, words: str = "") -> None:
        self.verb, self.resource, self.namespace, self.words = verb, resource, namespace, words
        super().__init__(
            f"The gateway's account may not {verb} {resource} in the Kubernetes namespace {namespace!r}.",
            {"Kubernetes says": words} if words else {},
            f"Give its role the verb {verb!r} for the resource {resource!r}.",
        )


class KubernetesSilentError(KubernetesError):
    """The API server did not answer in time: whether it acted is unknown."""

    def __init__(self, verb: str, resource: str, namespace: str, seconds: float, words: str) -> None:
        self.verb, self.resource, self.namespace = verb, resource, namespace
        self.seconds, self.words = seconds, words
        super().__init__(
            f"Kubernetes did not {verb} {resource} in namespace {namespace!r} within {seconds:g} s.",
            {"the last attempt": words},
        )


class NotOursError(KubernetesError):
    """An object of the name that we need exists, and it is not this gateway's."""

    def __init__(self, resource: str, name: str, namespace: str) -> None:
        self.resource, self.name, self.namespace = resource, name, namespace
        self.words = ""
        super().__init__(
            f"Of the {resource} in namespace {namespace!r}, {name!r} exists and is not this gateway's.",
            remedy=f"See whose it is: kubectl -n {namespace} describe {resource} {name}",
        )
