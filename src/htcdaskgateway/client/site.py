"""What a gateway says of its site: ``GET /api/v1/site``. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from htcdaskgateway.credentials.policy import Policy, Rule, Use
from htcdaskgateway.credentials.words import shown
from htcdaskgateway.images.reference import ALIASES, DEFAULT_IMAGE, DEFAULT_REGISTRY, DEFAULT_ROOT

MOST_SECONDS = 10 * 365 * 86400.0
NOTHING = Policy(x509=Rule(Use.NEVER), token=Rule(Use.NEVER))


@dataclass(frozen=True)
class SiteFacts:
    """What the site's workers run in, and where its images are.

    Attributes
    ----------
    runtime : str
        ``apptainer``, ``none``, or empty: this is no gateway of this package.
    image : str
        Image reference that is taken where none is asked for.
    image_registry : str
        Registry of references that name none.
    image_root : str
        Directory below which images are unpacked.
    registry_aliases : mapping of str to str
        Other names of registries.
    check_versions : str
        ``error``, ``warn`` or ``off``, where the user does not say.
    submitter : str
        Who submits jobs: ``gateway``, or ``session``, which is this Python process.
    credentials : Policy
        What the jobs that a session submits are given of the user's credentials.
    environments : mapping of str to str
        Names that stand for image references.
    worker_program : str
        What is started in an image as a worker.
    """

    runtime: str = ""
    image: str = DEFAULT_IMAGE
    image_registry: str = DEFAULT_REGISTRY
    image_root: str = DEFAULT_ROOT
    registry_aliases: Mapping[str, str] = field(default_factory=lambda: dict(ALIASES))
    check_versions: str = "error"
    submitter: str = "gateway"
    credentials: Policy = NOTHING
    environments: Mapping[str, str] = field(default_factory=dict)
    worker_program: str = "dask"

    @property
    def is_ours(self) -> bool:
        """Whether the gateway is one of this package."""
        return bool(self.runtime)

    @classmethod
    def from_json(cls, data: object) -> SiteFacts:
        """Make them from a gateway's answer; what a newer gateway adds, or says otherwise, is left out."""
        if not isinstance(data, Mapping):
            return cls()
        given: dict[str, Any] = {}
        for one in fields(cls):
            value = data.get(one.name)
            if one.name in ("registry_aliases", "environments"):
                if isinstance(value, Mapping):
                    given[one.name] = {str(name): str(meant) for name, meant in value.items()}
            elif one.name == "credentials":
                if isinstance(value, Mapping):
                    given[one.name] = Policy(_rule(value.get("x509")), _rule(value.get("token")))
            elif isinstance(value, str):
                given[one.name] = value
        return cls(**given)


def _rule(data: object) -> Rule:
    """Read one kind's rule; without a use that we know, jobs get none."""
    told = data if isinstance(data, Mapping) else {}
    use: object = told.get("use")
    minimum: Any = told.get("minimum")
    vo, command = (
        shown(text) if isinstance(text, str) else "" for text in (told.get("vo"), told.get("command"))
    )
    if not isinstance(use, str) or use not in [one.value for one in Use]:
        return Rule(Use.NEVER)
    number = isinstance(minimum, (int, float)) and not isinstance(minimum, bool)
    seconds = float(minimum) if number and 0 <= minimum <= MOST_SECONDS else 0.0
    return Rule(Use(use), seconds, vo, command)
