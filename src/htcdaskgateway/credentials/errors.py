"""What can be wrong with a user's credentials, before anything is submitted.

None of these holds a key or a token: not in its text, its arguments, nor what it was raised from.
"""

from __future__ import annotations

from htcdaskgateway.credentials.words import (
    TOKEN,
    USER_CERTIFICATE,
    X509,
    About,
    duration,
    moment,
    shown,
    word,
)
from htcdaskgateway.errors import InvalidRequestError


def _new_one(kind: str, command: str) -> str:
    look = "; `htdecodetoken` shows what one says" if kind == TOKEN else ""
    vo = ", with the name of your virtual organization for VO" if " VO " in f" {command} " else ""
    return f"Make a new one{vo}: {command}{look}"


class CredentialError(InvalidRequestError):
    """A credential of the user cannot be given to jobs. Nothing was submitted."""


class CredentialMissingError(CredentialError):
    """There is no credential where one is looked for; ``named`` is the variable that names the place."""

    def __init__(self, kind: str, places: tuple[str, ...], named: str, command: str) -> None:
        self.kind, self.places, self.named = kind, places, named
        first = f"at {shown(places[0])}" if len(places) == 1 else "in any of the usual places"
        facts = {"looked for": "\n".join(shown(place) for place in places)} if len(places) > 1 else {}
        if named:
            facts["named by"] = named
        super().__init__(f"There is no {kind} {first}.", facts, _new_one(kind, command))


class CredentialUnreadableError(CredentialError):
    """The file of a credential cannot be read."""

    def __init__(self, kind: str, path: str, words: str) -> None:
        self.kind, self.path, self.words = kind, path, words
        super().__init__(
            f"The {kind} {shown(path)} cannot be read.",
            {"the system says": shown(words)},
            f"See who may read it: ls -lL {word(path)}",
        )


class CredentialNotPrivateError(CredentialError):
    """Other accounts have access to the file of a credential."""

    def __init__(self, kind: str, path: str, mode: int) -> None:
        self.kind, self.path, self.mode = kind, path, mode
        super().__init__(
            f"The {kind} {shown(path)} is not private: its mode is {mode:04o}.",
            {"expected": "0600 or 0400"},
            f"Make it private: chmod 600 {word(path)}",
        )


class CredentialForeignError(CredentialError):
    """The file of a credential belongs to another account."""

    def __init__(self, kind: str, path: str, owner: int, uid: int, command: str) -> None:
        self.kind, self.path, self.owner, self.uid = kind, path, owner, uid
        super().__init__(
            f"The {kind} {shown(path)} belongs to uid {owner}, not to you (uid {uid}).",
            remedy=_new_one(kind, command),
        )


class CredentialGarbledError(CredentialError):
    """What lies where a credential should be is none, or not a whole one."""

    def __init__(self, kind: str, place: str, why: str, command: str) -> None:
        self.kind, self.place, self.why = kind, place, why
        super().__init__(
            f"What {shown(place)} holds cannot be used as {kind}: {shown(why)}.",
            remedy=_new_one(kind, command),
        )


class KeyMismatchError(CredentialError):
    """The private key in an X.509 proxy is not that of the certificate in it."""

    def __init__(self, path: str, subject: str, command: str) -> None:
        self.path, self.subject = path, subject
        super().__init__(
            f"The private key in the {X509} {shown(path)} does not belong to its certificate.",
            {"subject": shown(subject)},
            _new_one(X509, command),
        )


class CredentialExpiredError(CredentialError):
    """The credential has ended."""

    def __init__(self, about: About, now: float, command: str) -> None:
        self.about, self.now = about, now
        remedy = _new_one(about.kind, command)
        if about.limit.startswith(USER_CERTIFICATE):
            remedy = f"Renew your certificate at its authority first. {remedy}"
        super().__init__(
            f"The {about.kind} {shown(about.place)} expired {duration(now - about.until)} ago.",
            about.facts(),
            remedy,
        )


class CredentialTooShortError(CredentialError):
    """The credential ends sooner than the site allows."""

    def __init__(self, about: About, now: float, minimum: float, command: str) -> None:
        self.about, self.now, self.minimum = about, now, minimum
        super().__init__(
            f"The {about.kind} {shown(about.place)} is valid for {duration(about.until - now)} more,"
            f" this site asks for at least {duration(minimum)}.",
            about.facts(),
            _new_one(about.kind, command),
        )


class CredentialNotYetValidError(CredentialError):
    """The credential is not valid yet."""

    def __init__(self, about: About, since: float, now: float, command: str) -> None:
        self.about, self.since, self.now = about, since, now
        super().__init__(
            f"The {about.kind} {shown(about.place)} is not valid yet: it begins in {duration(since - now)}.",
            {**about.facts(), "valid from": moment(since), "clock here": moment(now)},
            f"Check this machine's clock: date -u. {_new_one(about.kind, command)}",
        )


class VOMissingError(CredentialError):
    """The X.509 proxy carries no VOMS attributes of the VO that the site asks for."""

    def __init__(self, about: About, vo: str, note: str, command: str) -> None:
        self.about, self.vo, self.note = about, vo, note
        facts = about.facts()
        if note:
            facts["note"] = shown(note)
        super().__init__(
            f"The {about.kind} {shown(about.place)} has no VOMS attributes of {shown(vo)}.",
            facts,
            _new_one(about.kind, command),
        )


class NoMoreProxiesError(CredentialError):
    """The X.509 proxy allows that no other is made from it, which HTCondor does for each job."""

    def __init__(self, about: About, command: str) -> None:
        self.about = about
        super().__init__(
            f"The {about.kind} {shown(about.place)} cannot be delegated to jobs: its path length is 0.",
            about.facts(),
            f"{_new_one(about.kind, command)}, without a path length",
        )


class CredentialEndsSoonError(CredentialError):
    """The credential that running jobs have ends soon."""

    def __init__(self, about: About, now: float, command: str) -> None:
        self.about, self.now = about, now
        super().__init__(
            f"The {about.kind} that the workers have, {shown(about.place)}, ends in"
            f" {duration(about.until - now)}.",
            about.facts(),
            f"{_new_one(about.kind, command)}. Running workers get it by themselves.",
        )


class OtherIdentityError(CredentialError):
    """A new credential stands for somebody else than the one that the jobs have."""

    def __init__(self, about: About, before: str) -> None:
        self.about, self.before = about, before
        super().__init__(
            f"The new {about.kind} {shown(about.place)} is of another identity: running workers keep theirs.",
            {**about.facts(), "workers have": shown(before)},
            "Make a new cluster to use it.",
        )


class CredentialChangedError(CredentialError):
    """The file of a credential became another one while it was copied."""

    def __init__(self, kind: str, place: str) -> None:
        self.kind, self.place = kind, place
        super().__init__(f"The {kind} {shown(place)} changed while it was copied.", remedy="Try again.")


class NotDeliveredError(CredentialError):
    """Running workers could not be given a renewed credential; it is tried again."""

    def __init__(self, about: About, words: str) -> None:
        self.about, self.words = about, words
        super().__init__(
            f"Running workers could not be given the renewed {about.kind} {shown(about.place)}.",
            {**about.facts(), "because": shown(words)},
            "It is tried again, and workers that start now have it.",
        )
