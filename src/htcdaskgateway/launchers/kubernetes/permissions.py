"""What the gateway's account must be allowed in its namespace: exactly what it uses."""

from __future__ import annotations

from collections.abc import Iterable

from htcdaskgateway.errors import ConfigurationError

# Services go with their secret, by the garbage collector; where somebody cut that tie, by us.
RULES: tuple[tuple[str, str], ...] = (
    ("create", "secrets"),
    ("list", "secrets"),
    ("delete", "secrets"),
    ("create", "services"),
    ("list", "services"),
    ("delete", "services"),
    ("create", "pods"),
    ("list", "pods"),
    ("watch", "pods"),
    ("delete", "pods"),
    ("get", "pods/log"),
    ("list", "events"),
)


def role(namespace: str) -> str:
    """Give the role that has these permissions, as YAML."""
    resources = dict.fromkeys(resource for _, resource in RULES)
    rules = [
        f'- {{apiGroups: [""], resources: [{resource}], verbs: [{", ".join(_verbs(resource))}]}}'
        for resource in resources
    ]
    return "\n".join(
        [
            "apiVersion: rbac.authorization.k8s.io/v1",
            "kind: Role",
            f"metadata: {{name: htcdaskgateway, namespace: {namespace}}}",
            "rules:",
            *rules,
        ]
    )


def _verbs(resource: str) -> list[str]:
    return [verb for verb, on in RULES if on == resource]


def check(lacking: Iterable[tuple[str, str]], namespace: str) -> None:
    """Raise ConfigurationError if any permission lacks."""
    if words := ", ".join(f"{verb} {resource}" for verb, resource in lacking):
        raise ConfigurationError(
            f"The gateway's account may not do all that it must in the Kubernetes namespace {namespace!r}.",
            {"it may not": words},
            f"Bind it to this role:\n{role(namespace)}",
        )


def access_review(verb: str, resource: str, namespace: str) -> dict[str, object]:
    """Give the question whether we may, which every account may ask about itself."""
    name, _, subresource = resource.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "resource": name, "subresource": subresource}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
