"""The exception tree: one sentence with the value, indented facts, a remedy to paste."""

from __future__ import annotations

from collections.abc import Mapping


def shown(text: str, longest: int = 200) -> str:
    """Give text of others as a message shows it: quoted, on one line, not too long."""
    return repr(text) if len(text) <= longest else f"{text[:longest]!r}…"


class HTCDaskError(Exception):
    """Base of every error of this package.

    Parameters
    ----------
    sentence : str
        One sentence that holds the offending value.
    facts : mapping of str to str, optional
        What was observed; foreign words verbatim.
    remedy : str, optional
        What to do now.

    Subclasses take their data as positional arguments.

    Examples
    --------
    >>> error = LimitError(1000, 200)
    >>> print(error)
    1000 workers are more than the site allows in one cluster: 200.
    Ask for at most 200: cluster.scale(200).
    >>> error.maximum, isinstance(error, ValueError)
    (200, True)
    """

    def __new__(cls, *args: object, **_: object) -> HTCDaskError:
        # OSError, which some of us are as well, would take two arguments for a number and a text.
        self = super().__new__(cls)
        self.args = args
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args, vars(self)

    def __init__(self, sentence: str, facts: Mapping[str, object] | None = None, remedy: str = "") -> None:
        self.sentence = sentence
        self.facts = dict(facts or {})
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.sentence]
        width = max((len(name) for name in self.facts), default=0) + 1
        for name, value in self.facts.items():
            first, *more = str(value).strip().splitlines() or [""]
            lines.append(f"  {name + ':':<{width}} {first}".rstrip())
            lines += [f"  {'':<{width}} {line}".rstrip() for line in more]
        if self.remedy:
            lines.append(self.remedy)
        return "\n".join(lines)


class ConfigurationError(HTCDaskError, ValueError):
    """The site's configuration cannot be used: the gateway does not start."""


class InvalidRequestError(HTCDaskError, ValueError):
    """A value that the caller gave is not one that can be used. Nothing was done."""


class CondorError(HTCDaskError):
    """Something between us and HTCondor went wrong."""


class ScheddUnavailableError(CondorError):
    """No schedd was found, or it could not be reached. Nothing was asked of it, so nothing was done."""

    def __init__(self, schedd: str, words: str) -> None:
        self.schedd, self.words = schedd, words
        super().__init__(
            f"The schedd {schedd or '(default)'} cannot be reached.",
            {"HTCondor says": words},
            "Running workers are not affected. `condor_status -schedd` lists the schedds of the pool.",
        )


class ScheddSilentError(CondorError):
    """The schedd was asked and did not answer in time: whether it acted is unknown."""

    def __init__(self, schedd: str, what: str, seconds: float, words: str = "") -> None:
        self.schedd, self.what, self.seconds, self.words = schedd, what, seconds, words
        facts = {"HTCondor says": words} if words else {}
        super().__init__(f"The schedd {schedd or '(default)'} did not answer {what} in {seconds:g} s.", facts)


class SubmitRefusedError(CondorError):
    """The schedd, or the submit program, refused the submit description. No job exists."""

    def __init__(self, schedd: str, words: str) -> None:
        self.schedd, self.words = schedd, words
        super().__init__(f"The schedd {schedd or '(default)'} refused the jobs.", {"HTCondor says": words})


class ActionRefusedError(CondorError):
    """The schedd refused to remove, hold or release jobs."""

    def __init__(self, schedd: str, action: str, words: str) -> None:
        self.schedd, self.action, self.words = schedd, action, words
        super().__init__(
            f"The schedd {schedd or '(default)'} refused to {action} jobs.", {"HTCondor says": words}
        )


class SchedulerStartError(HTCDaskError):
    """The process of a Dask scheduler could not be started, or ended at once."""

    def __init__(self, cluster: str, words: str) -> None:
        self.cluster, self.words = cluster, words
        super().__init__(f"The scheduler of cluster {cluster} did not start.", {"it says": words})


class SandboxError(HTCDaskError):
    """A cluster's directory cannot be written."""

    def __init__(self, path: str, words: str) -> None:
        self.path, self.words = path, words
        super().__init__(f"The sandbox {path} cannot be written.", {"the system says": words})


class GatewayUnreachableError(HTCDaskError, ConnectionError):
    """No gateway answers at the address."""

    def __init__(self, address: str, words: str) -> None:
        self.address, self.words = address, words
        super().__init__(
            f"No gateway answers at {address}.",
            {"the system says": words},
            "Check the address: HTCGateway(address=…), or gateway.address in Dask's configuration.",
        )


class AuthenticationError(HTCDaskError, PermissionError):
    """The gateway does not know who you are, or you may not do this."""

    def __init__(self, address: str, status: int, words: str) -> None:
        self.address, self.status, self.words = address, status, words
        what = "did not accept your credentials" if status == 401 else "does not permit this"
        super().__init__(
            f"The gateway at {address} {what}.",
            {"it says": words or f"HTTP status {status}"},
            "Check auth= of HTCGateway, or gateway.auth in Dask's configuration." if status == 401 else "",
        )


class LimitError(InvalidRequestError):
    """More workers than the site allows in one cluster. Nothing was changed."""

    def __init__(self, asked: int, maximum: int) -> None:
        self.asked, self.maximum = asked, maximum
        super().__init__(
            f"{asked} workers are more than the site allows in one cluster: {maximum}.",
            remedy=f"Ask for at most {maximum}: cluster.scale({maximum}).",
        )
