"""Which credentials a site wants its jobs to have, and whether what the user has will do. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeVar

from htcdaskgateway.credentials.errors import (
    CredentialError,
    CredentialExpiredError,
    CredentialMissingError,
    CredentialNotYetValidError,
    CredentialTooShortError,
    NoMoreProxiesError,
    VOMissingError,
)
from htcdaskgateway.credentials.tokens import BearerToken
from htcdaskgateway.credentials.words import CLOCK_SKEW, TOKEN_MEND, X509_MEND, About, mending
from htcdaskgateway.credentials.x509 import X509Proxy

AnyCredential = TypeVar("AnyCredential", X509Proxy, BearerToken)


class Use(str, enum.Enum):
    """Whether jobs get a credential: always, if the user has one, or never."""

    REQUIRED = "required"
    IF_PRESENT = "if-present"
    NEVER = "never"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Rule:
    """What a site wants of one kind of credential.

    Attributes
    ----------
    use : Use
    minimum : float
        For how many seconds more it must be valid when jobs are submitted.
    vo : str
        The VO whose attributes an X.509 proxy must carry; empty: any or none.
    command : str
        What makes a new one, for messages; ``{vo}`` stands for the VO, ``{out}`` for `` -out PATH``
        where an X.509 proxy is not in the usual place.
    """

    use: Use = Use.IF_PRESENT
    minimum: float = 0.0
    vo: str = ""
    command: str = ""

    def filled(self, default: str, about: About) -> str:
        """Fill in the command for what is known of a credential."""
        return mending(self.command or default, self.vo or about.vo, about.place)


@dataclass(frozen=True)
class Policy:
    """What a site wants."""

    x509: Rule = field(default_factory=Rule)
    token: Rule = field(default_factory=Rule)


@dataclass(frozen=True)
class Choice:
    """What jobs are given, and why not what they might have been given."""

    x509: X509Proxy | None = None
    token: BearerToken | None = None
    warnings: tuple[CredentialError, ...] = ()


def choose(
    policy: Policy,
    x509: X509Proxy | CredentialError | None,
    token: BearerToken | CredentialError | None,
    now: float,
) -> Choice:
    """Decide what jobs are given.

    Parameters
    ----------
    policy : Policy
    x509, token : credential, CredentialError or None
        What was found or what was wrong with it; None where the policy is never.
    now : float
        Seconds since the epoch.

    Raises
    ------
    CredentialError
        One that is required is not there or will not do.
    """
    warnings: list[CredentialError] = []
    return Choice(
        x509=_take(policy.x509, x509, X509_MEND, now, warnings),
        token=_take(policy.token, token, TOKEN_MEND, now, warnings),
        warnings=tuple(warnings),
    )


def _take(
    rule: Rule,
    found: AnyCredential | CredentialError | None,
    default: str,
    now: float,
    warnings: list[CredentialError],
) -> AnyCredential | None:
    if rule.use is Use.NEVER:
        return None
    if found is None:
        raise TypeError(f"{rule.use} was not looked for")
    problem = found if isinstance(found, CredentialError) else judge(rule, found, default, now)
    if problem is None:
        return found if not isinstance(found, CredentialError) else None
    if rule.use is Use.REQUIRED:
        raise problem
    # Nobody need have one; but who names a file means it.
    if not isinstance(problem, CredentialMissingError) or problem.named:
        warnings.append(problem)
    return None


def judge(
    rule: Rule, credential: X509Proxy | BearerToken, default: str, now: float
) -> CredentialError | None:
    """Say why a credential will not do; None if it will."""
    about = credential.about
    command = rule.filled(default, about)
    if credential.not_before > now + CLOCK_SKEW:
        return CredentialNotYetValidError(about, credential.not_before, now, command)
    left = credential.time_left(now)
    if left <= 0:
        return CredentialExpiredError(about, now, command)
    if isinstance(credential, X509Proxy) and rule.vo and rule.vo not in credential.vos:
        return VOMissingError(about, rule.vo, credential.note, command)
    # HTCondor delegates it all the same, and what the jobs have then no service accepts.
    if (
        isinstance(credential, X509Proxy)
        and credential.path_length is not None
        and credential.path_length <= 0
    ):
        return NoMoreProxiesError(about, command)
    if left < rule.minimum:
        return CredentialTooShortError(about, now, rule.minimum, command)
    return None
