"""What can go wrong between us and HTCondor besides what every schedd can do to anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from htcdaskgateway.errors import CondorError, HTCDaskError, ScheddUnavailableError

_SHOWN = 20  # schedds or jobs in one message


class IdentityRefusedError(ScheddUnavailableError):
    """HTCondor does not take us for anybody. Nothing was done, and all of it can be done again later.

    Parameters
    ----------
    schedd, words : str
    credential : str
        What was shown to it: path and, where they can be read, subject and expiry of a token. Never the
        token itself.
    """

    def __init__(self, schedd: str, words: str, credential: str = "") -> None:
        super().__init__(schedd, words)
        self.args = (schedd, words, credential)
        self.credential = credential
        self.sentence = f"The schedd {schedd or '(default)'} does not know who we are."
        self.facts = {**({"shown to it": credential} if credential else {}), "HTCondor says": words}
        self.remedy = (
            "Put a valid token there: condor_token_create -identity USER@DOMAIN, on the schedd's host."
            if credential
            else "`condor_ping -table WRITE` shows what HTCondor tries."
        )


class NoScheddError(ScheddUnavailableError):
    """No schedd is left to choose from. Nothing was done.

    Parameters
    ----------
    why : mapping of str to str
        For each schedd that was looked at, why it was left out.
    pool, constraint : str
        Where they were looked for, and which ones.
    """

    def __init__(self, why: Mapping[str, str], pool: str = "", constraint: str = "") -> None:
        words = "; ".join(f"{name}: {reason}" for name, reason in list(why.items())[:_SHOWN])
        super().__init__("", words)
        self.args = (dict(why), pool, constraint)
        self.why, self.pool, self.constraint = dict(why), pool, constraint
        self.sentence = f"None of {len(why)} schedds of the pool {pool or '(default)'} can take jobs now."
        self.facts = dict(list(why.items())[:_SHOWN])
        if constraint:
            self.facts["constraint"] = constraint
        self.remedy = "`condor_status -schedd` lists the schedds of the pool."


class CollectorUnavailableError(ScheddUnavailableError):
    """The collector, which knows the schedds of a pool, could not be asked. Nothing was done.

    Parameters
    ----------
    pool, words : str
    """

    def __init__(self, pool: str, words: str) -> None:
        super().__init__("", words)
        self.args = (pool, words)
        self.pool = pool
        self.sentence = f"The collector {pool or '(default)'} cannot be asked for its schedds."
        self.remedy = f"condor_status {f'-pool {pool} ' if pool else ''}-schedd shows what it says."


class OutputError(CondorError):
    """The output of jobs that have ended could not be brought back; they wait in the queue.

    Parameters
    ----------
    schedd, words : str
    job_ids : sequence of str
    """

    def __init__(self, schedd: str, job_ids: Sequence[str], words: str) -> None:
        self.schedd, self.job_ids, self.words = schedd, tuple(job_ids), words
        HTCDaskError.__init__(
            self,
            f"The output of {len(self.job_ids)} ended jobs could not be brought back"
            f" from the schedd {schedd or '(default)'}.",
            {"jobs": " ".join(self.job_ids[:_SHOWN]), "HTCondor says": words},
        )


class NotRenewedError(CondorError):
    """Jobs could not be given a renewed X.509 proxy: they keep what they have.

    Parameters
    ----------
    schedd : str
    job_ids : sequence of str
    words : str
        HTCondor's, or why it was not even asked.
    remedy : str
    """

    def __init__(self, schedd: str, job_ids: Sequence[str], words: str, remedy: str = "") -> None:
        HTCDaskError.__init__(
            self,
            f"{len(job_ids)} jobs of the schedd {schedd or '(default)'} could not be given the renewed"
            " X.509 proxy.",
            {"jobs": " ".join(job_ids[:_SHOWN]), "because": words},
            remedy,
        )
        self.schedd, self.job_ids, self.words = schedd, tuple(job_ids), words
