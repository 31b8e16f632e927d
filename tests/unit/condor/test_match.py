"""What users may say of machines: nothing that ends its line, or the parentheses it is put into."""

from __future__ import annotations

from typing import Any

import pytest

from htcdaskgateway.condor.match import LONGEST, MatchExpression
from htcdaskgateway.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("text", "command", "expression"),
    [
        ("rank = (isDaskNode == True)", "rank", "(isDaskNode == True)"),
        (" Requirements=isDaskNode", "requirements", "isDaskNode"),
        ("REQUIREMENTS = TARGET.Arch =?= \"X86_64\" ", "requirements", 'TARGET.Arch =?= "X86_64"'),
        ("rank = Mips * 1.5e3 - (Cpus % 2)", "rank", "Mips * 1.5e3 - (Cpus % 2)"),
        ('rank = regexp("^cms.*[0-9]+$", Machine)', "rank", 'regexp("^cms.*[0-9]+$", Machine)'),
        ("rank = GPUs > 0 ? 2 : 1", "rank", "GPUs > 0 ? 2 : 1"),
        ('requirements = Machine != "a) || (b"', "requirements", 'Machine != "a) || (b"'),
        ('rank = member(Site, {"A", "B"})', "rank", 'member(Site, {"A", "B"})'),
    ],
)  # fmt: skip
def test_what_is_understood(text: str, command: str, expression: str) -> None:
    found = MatchExpression.parse(text)
    assert (found.command, found.expression) == (command, expression)
    assert MatchExpression.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        None,
        3,
        "",
        "isDaskNode",
        "rank",
        "rank =",
        "rank == True",
        "rank =?= True",
        "rank =!= True",
        "+rank = 1",
        "executable = /bin/sh",
        "rank = 1\nexecutable = /bin/sh",
        f"rank = {'1 + ' * LONGEST} 1",
    ],
)
def test_what_is_no_such_command(text: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"is neither 'rank = EXPRESSION' nor 'requirements = "):
        MatchExpression.parse(text)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("True) || (True", "')' closes nothing"),
        ("(True", "'(' is not closed"),
        ("{(1}", "'}' closes nothing"),
        ("$(x)", "'$(x)' in it is not understood"),
        ("$$(x)", "not understood"),
        ("$ENV(HOME)", "not understood"),
        ("1\rqueue 9", "not understood"),
        ("1\u2028queue 9", "not understood"),
        ('"$ENV(HOME)"', "not understood"),
        ('"$$"', "not understood"),
        ("a\tb", "not understood"),
        ("a \\", "not understood"),
        ('"a', "not understood"),
        ('"a\\"b"', "not understood"),
        ('"$(x)"', "not understood"),
        ("'a'", "not understood"),
        ("a # b", "not understood"),
        ("a = b", "not understood"),
        ("[a=1]", "not understood"),
        ("é", "not understood"),
        ('eval("x")', "'eval' is no function that it may call"),
        ("Debug (x)", "'Debug' is no function that it may call"),
    ],
)
def test_what_cannot_be_used(expression: str, why: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        MatchExpression.parse(f"requirements = {expression}")
    assert "cannot be used: " in caught.value.sentence
    assert why in caught.value.sentence


def test_beside_what_the_site_says() -> None:
    site = {"Requirements": "isDaskNode || isBig", "rank": "Mips", "+Project": '"cms"'}
    required = MatchExpression.parse("requirements = Cpus > 2").added_to(site)
    assert required == {
        "rank": "Mips", "+Project": '"cms"', "requirements": "(isDaskNode || isBig) && (Cpus > 2)"
    }  # fmt: skip
    preferred = MatchExpression.parse("rank = Cpus").added_to(site)
    assert preferred == {
        "Requirements": "isDaskNode || isBig", "+Project": '"cms"', "rank": "(Cpus)"
    }  # fmt: skip
    assert site["rank"] == "Mips"
