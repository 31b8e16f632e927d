"""The exception tree: one sentence with the value, indented facts, a remedy to paste."""

from __future__ import annotations

from collections.abc import Mapping


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

    Notes
    -----
    Subclasses take their data as positional arguments: ``BaseException.__new__`` keeps those in
    ``args``, and pickle makes the exception from them again.
    """

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
