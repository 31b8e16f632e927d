"""The user's credentials for the jobs of one cluster: checked, copied for HTCondor, renewed while they run.

The site says which; `htcdaskgateway.credentials` finds and judges them. All of it reads files, which may
block: to be called in threads.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from htcdaskgateway.condor.renewing import with_x509
from htcdaskgateway.credentials.errors import CredentialError, OtherIdentityError
from htcdaskgateway.credentials.files import read_private
from htcdaskgateway.credentials.find import (
    copy_credential,
    find_credentials,
    look_again,
    look_for_token,
    look_for_x509,
)
from htcdaskgateway.credentials.policy import Choice, Policy, Rule, Use
from htcdaskgateway.credentials.tokens import BearerToken, parse_token
from htcdaskgateway.credentials.watch import Act, Watch, start
from htcdaskgateway.credentials.words import TOKEN, X509
from htcdaskgateway.credentials.x509 import X509Proxy, find_x509, parse_x509
from htcdaskgateway.errors import HTCDaskError, SandboxError, ScheddUnavailableError

LOOK_PERIOD = 5.0  # seconds between two looks at the user's files
X509_FILE, TOKEN_FILE = "x509.pem", "bearer.token"  # in the sandbox, and in a job's scratch directory
WARN_BEFORE = {X509_FILE: 3600.0, TOKEN_FILE: 300.0}  # seconds before the end of what the jobs have
BUSY_SECONDS = 20.0

Credential = X509Proxy | BearerToken


class CredentialWarning(UserWarning):
    """A credential that jobs might have had will not do, or ends soon."""


class NoCredentialError(ScheddUnavailableError):
    """Jobs cannot be submitted before their user has mended a credential: the workers wait."""

    def __init__(self, error: CredentialError) -> None:
        super().__init__("", error.remedy)
        self.sentence, self.facts, self.remedy = error.sentence, error.facts, error.remedy


def check_required(policy: Policy) -> None:
    """See whether the user has what the site requires of them, before there is a cluster.

    Raises
    ------
    CredentialError
        Not there, or it will not do.
    """
    nothing = Rule(use=Use.NEVER)
    required = [rule if rule.use is Use.REQUIRED else nothing for rule in (policy.x509, policy.token)]
    find_credentials(Policy(*required), os.environ, os.geteuid(), time.time())


def with_credentials(
    commands: Mapping[str, str], sandbox: Path, *, x509: float | None, token: bool
) -> dict[str, str]:
    """Add what gives the jobs these credentials to submit commands. Pure.

    HTCondor delegates the X.509 proxy and renews it in running jobs; a token is a file as any other.

    Parameters
    ----------
    commands : mapping of str to str
    sandbox : Path
    x509 : float or None
        When the X.509 proxy ends, seconds since the epoch; None: jobs have none.
    token : bool
    """
    told = dict(commands) if x509 is None else with_x509(commands, f"{sandbox}/{X509_FILE}", x509)
    if token:
        for command in ("transfer_input_files", "encrypt_input_files"):
            told[command] = ", ".join(filter(None, (told.get(command), TOKEN_FILE)))
    return told


class SessionCredentials:
    """What the jobs of one cluster have, and what the user has now.

    Parameters
    ----------
    policy : Policy
        Of the site.
    environ : mapping of str to str, optional
    uid : int, optional
        Whose credentials.
    now : callable, optional
        Seconds since the epoch.
    """

    def __init__(
        self,
        policy: Policy,
        environ: Mapping[str, str] | None = None,
        uid: int | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._policy, self._now = policy, now
        self._environ = os.environ if environ is None else environ
        self._uid = os.geteuid() if uid is None else uid
        self._watches: dict[str, Watch] = {}  # by file name
        self._renewed: set[str] = set()  # file names; there are jobs that may not have what is in it now
        self._said: set[object] = set()
        self._lock = threading.Lock()
        self._closed = False

    def check(self) -> None:
        """See whether jobs can be given what the site wants; of what is not required, warn once.

        Raises
        ------
        CredentialError
            One that the site requires is not there or will not do; or one is of another identity than the
            one that jobs of this cluster have.
        """
        self._warn_once(self._choose().warnings)

    def give(self, sandbox: Path, commands: Mapping[str, str]) -> dict[str, str]:
        """Copy the credentials into the sandbox; give the submit commands of jobs that get them.

        Raises
        ------
        NoCredentialError
            Where `check` raises CredentialError.
        SandboxError
        """
        if not self._lock.acquire(timeout=BUSY_SECONDS):
            raise SandboxError(str(sandbox), f"the file system has kept us busy for {BUSY_SECONDS:g} s")
        try:
            self._adopt(sandbox)
            choice = self._choose()
            for credential, name in _named(choice):
                copy_credential(credential, self._environ, self._uid, sandbox, name)
                before = self._watches.get(name)
                if before and before.credential.fingerprint != credential.fingerprint:
                    self._renewed.add(name)
                self._watches[name] = start(credential)
        except CredentialError as error:
            raise NoCredentialError(error) from None
        finally:
            self._lock.release()
        with contextlib.suppress(CredentialWarning):  # made an error by the user: not in this thread
            self._warn_once(choice.warnings)
        until = choice.x509.not_after if choice.x509 else None
        return with_credentials(commands, sandbox, x509=until, token=bool(choice.token))

    def renew(self, sandbox: Path) -> dict[str, Credential]:
        """Put what the user has now into the sandbox, if it is newer; warn of what ends. Never fails.

        Does nothing while another call is at work.

        Returns
        -------
        dict of str to Credential
            By file name, what is in the sandbox now and some job of the cluster may not have.
        """
        if not self._lock.acquire(blocking=False):
            return {}
        try:
            self._adopt(sandbox)
            for name in list(self._watches):
                with contextlib.suppress(CredentialWarning):
                    self._look_again(sandbox, name)
            return {} if self._closed else {name: self._watches[name].credential for name in self._renewed}
        finally:
            self._lock.release()

    def close(self) -> None:
        """Copy nothing from now on: the sandbox's copies are to be removed."""
        self._closed = True

    def _choose(self) -> Choice:
        choice = find_credentials(self._policy, self._environ, self._uid, self._now())
        for credential, name in _named(choice):
            watch = self._watches.get(name)
            if watch and credential.identity != watch.credential.identity:
                raise OtherIdentityError(credential.about, watch.credential.identity)
        return choice

    def _look_again(self, sandbox: Path, name: str) -> None:
        watch = self._watches[name]
        path = find_x509(self._environ, self._uid)
        if isinstance(watch.credential, X509Proxy) and watch.credential.path != path:
            watch = replace(watch, credential=replace(watch.credential, path=path), seen=None)
        now = self._now()
        decision = look_again(watch, self._policy, self._environ, self._uid, WARN_BEFORE[name], now)
        if decision.act is Act.RENEW and not self._closed:
            try:
                copy_credential(decision.watch.credential, self._environ, self._uid, sandbox, name)
            except (CredentialError, SandboxError) as error:  # the next look tries again
                self._warn_once([error])
                return
            self._renewed.add(name)
        self._watches[name] = decision.watch
        if decision.warning is not None:
            warn(decision.warning)

    def _adopt(self, sandbox: Path) -> None:
        """Renew what jobs of an earlier session have, too."""
        for name, look_for in ((X509_FILE, look_for_x509), (TOKEN_FILE, look_for_token)):
            copy = None if name in self._watches else self._copy(sandbox, name)
            found = look_for(self._policy, self._environ, self._uid) if copy else None
            if copy is None or not isinstance(found, (X509Proxy, BearerToken)):
                continue
            self._renewed.add(name)  # whether that session came to it we cannot know
            if copy.fingerprint == found.fingerprint:
                self._watches[name] = start(found)
            else:
                self._watches[name] = Watch(replace(copy, path=found.path))

    def _copy(self, sandbox: Path, name: str) -> Credential | None:
        path = str(sandbox / name)
        kind, parse = (X509, parse_x509) if name == X509_FILE else (TOKEN, parse_token)
        with contextlib.suppress(CredentialError):
            if found := read_private(kind, path, self._uid, ""):
                return parse(found[0], path)
        return None

    def _warn_once(self, problems: Sequence[HTCDaskError]) -> None:
        for problem in problems:
            about = (type(problem), str(problem.args[0]))
            if about not in self._said:
                self._said.add(about)
                warn(problem)


def _named(choice: Choice) -> list[tuple[Credential, str]]:
    both = ((choice.x509, X509_FILE), (choice.token, TOKEN_FILE))
    return [(credential, name) for credential, name in both if credential is not None]


def warn(problem: HTCDaskError) -> None:
    """Say it to the user, as a `CredentialWarning`."""
    # With a registry of its own: whether it was said before is ours to know.
    warnings.warn_explicit(str(problem), CredentialWarning, __file__, 1, __name__, {})
