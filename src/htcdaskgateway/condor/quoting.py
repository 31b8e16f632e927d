"""Text of others, made safe for submit descriptions and ClassAd expressions; and read back again.

A submit command's value is the rest of its line: trimmed, ``$(NAME)`` replaced, a backslash at the end
joins the next line. ``$$(NAME)`` survives into the job ad and is replaced there at each match, so it
cannot be quoted at all. Strings are in the old ClassAd syntax, whichever HTCondor it is: a backslash means
itself, except before a quotation mark.
"""

from __future__ import annotations

import unicodedata

from htcdaskgateway.errors import HTCDaskError, InvalidRequestError, shown

_DOLLAR = "$(DOLLAR)"
_UNREADABLE = {
    "Cc": "a control character",
    "Zl": "a line separator",
    "Zp": "a line separator",
    "Cs": "a surrogate",
}


def check_line(text: str, what: str, error: type[HTCDaskError] = InvalidRequestError) -> str:
    """Refuse text that HTCondor would not read as a part of one line."""
    for character in text:
        if why := _UNREADABLE.get(unicodedata.category(character)):
            raise error(f"{what} {shown(text)} holds {why}, {character!r}.")
    return text


def submit_value(text: str, what: str) -> str:
    """Quote text as the whole value of a submit command."""
    check_line(text, what)
    if text != text.strip():
        raise InvalidRequestError(f"{what} {shown(text)} begins or ends with white space.")
    if text.endswith("\\"):
        raise InvalidRequestError(f"{what} {shown(text)} ends with a backslash.")
    if "$$" in text:
        raise InvalidRequestError(f"{what} {shown(text)} holds '$$', which HTCondor replaces at each match.")
    if _DOLLAR in text.upper():
        raise InvalidRequestError(f"{what} {shown(text)} holds '{_DOLLAR}', which HTCondor replaces twice.")
    return text.replace("$", _DOLLAR)


def attribute_value(text: str, what: str) -> str:
    """Quote text as the value of a submit command ``+Name``: a ClassAd string."""
    check_line(text, what)
    return submit_value('"' + text.replace('"', '\\"') + '"', what)


def instance_id(text: str) -> str:
    """Check the instance id of a gateway: the schedd is to find exactly its jobs."""
    return _in_constraint(text, "The gateway's instance id")


def cluster_name(text: str) -> str:
    """Check the name of a cluster by which the schedd is to find its jobs."""
    return _in_constraint(text, "The cluster name")


def constraint_value(text: str, what: str) -> str:
    """Quote text as a string in a constraint."""
    return f'"{_in_constraint(text, what, 4096)}"'


def _in_constraint(text: str, what: str, longest: int = 128) -> str:
    """Inside of a constraint the old and the new syntax of strings meet: nothing may need quoting."""
    check_line(text, what)
    if not text or '"' in text or "\\" in text or len(text) > longest:
        raise InvalidRequestError(
            f"{what} {shown(text)} is not 1 to {longest} characters without quotation marks and backslashes."
        )
    return text


def directory_value(path: str) -> str:
    """Quote a directory as the value of an attribute that is changed in the queue."""
    check_line(path, "The directory")
    if '"' in path or path.endswith("\\"):
        raise InvalidRequestError(
            f"The directory {shown(path)} holds a quotation mark, or ends with a backslash."
        )
    return f'"{path}"'


def expand(value: str, worker_name: str, job_id: str = "") -> str:
    """Read a submit value back, for one worker; what HTCondor does with the macros that we use."""
    if job_id:
        cluster, _, process = job_id.partition(".")
        value = value.replace("$(ClusterId)", cluster).replace("$(ProcId)", process)
    return value.replace("$(worker_name)", worker_name).replace(_DOLLAR, "$")


def classad_text(literal: str) -> str:
    """Read back the string that `attribute_value` wrote, after `expand`."""
    return literal.strip()[1:-1].replace('\\"', '"')
