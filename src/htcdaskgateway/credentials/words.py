"""How credentials and times are named in messages. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import datetime, timezone

X509 = "X.509 proxy"
TOKEN = "bearer token"  # noqa: S105 - the kind's name

# What mends a credential, unless the site says otherwise. `{vo}` is replaced, and `{out}` by where it is
# to be written if that is not the usual place: a terminal need not have the notebook's environment.
X509_MEND = "voms-proxy-init -voms {vo} -valid 192:00{out}"
TOKEN_MEND = "htgettoken"  # noqa: S105 - a program

_USUAL = re.compile(r"/tmp/x509up_u\d+")  # noqa: S108 - where grid tools put it

# A certificate of another machine may be this much ahead of our clock: as VOMS and Globus allow.
CLOCK_SKEW = 300.0

# How `About.limit` begins where no new proxy helps.
USER_CERTIFICATE = "user certificate "


def shown(text: str, longest: int = 300) -> str:
    """Give text of others on one line, not too long, without what a terminal would act on."""
    text = text if len(text) <= longest else f"{text[:longest]}…"
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def word(text: str) -> str:
    """Quote text as a word of a command to paste."""
    return shlex.quote(shown(text))


def duration(seconds: float) -> str:
    """Say how long that is, in the two largest units: ``2 d 3 h``."""
    rest, parts = max(0, int(seconds)), []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def moment(seconds: float) -> str:
    """Say when that is, given in seconds since the epoch."""
    try:
        when = datetime.fromtimestamp(seconds, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g} s after 1970"
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def mending(template: str, vo: str = "", path: str = "") -> str:
    """Fill in the command that makes a new credential; without a known VO its place stays visible."""
    out = f" -out {word(path)}" if path.startswith("/") and not _USUAL.fullmatch(path) else ""
    return template.replace("{vo}", word(vo) if vo else "VO").replace("{out}", out)


@dataclass(frozen=True)
class About:
    """What may be said of a credential; none of it is secret.

    Attributes
    ----------
    kind : str
        `X509` or `TOKEN`.
    place : str
        Path of its file, or the environment variable that holds it.
    who : str
        Whom it stands for: the user certificate's subject, or subject and issuer of a token.
    vo : str
        Virtual organization, empty if it names none.
    until : float
        When it ends, seconds since the epoch.
    limit : str
        What ends first, if that is not the credential itself.
    """

    kind: str
    place: str
    who: str
    vo: str
    until: float
    limit: str = ""

    def facts(self) -> dict[str, str]:
        """Give the indented lines of a message."""
        facts = {"path" if "/" in self.place else "place": shown(self.place), "subject": shown(self.who)}
        if self.vo:
            facts["VO"] = shown(self.vo)
        facts["valid until"] = moment(self.until)
        if self.limit:
            facts["ends first"] = shown(self.limit)
        return facts
