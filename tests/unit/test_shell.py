"""Text as shells read it. That real ones read it so is tested with `worker.env`."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.shell import exports, quoted, words


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4))
def test_words_are_read_back(texts: list[str]) -> None:
    assert shlex.split(words(texts)) == texts


def test_exports() -> None:
    assert exports({"A": "it's", "B_1": ""}) == ["export A='it'\"'\"'s'", "export B_1=''"]
    assert exports({}) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("A B", "'A B' is not the name of an environment variable."),
        ("x" * 300 + "-", f"{'x' * 200!r}… is not the name of an environment variable."),
        ("IFS", "The environment variable IFS cannot be set."),
        ("BASH_ENV", "The environment variable BASH_ENV cannot be set."),
        ("MINE_A", "The environment variable MINE_A cannot be set."),
    ],
)
def test_names_that_are_not_free(name: str, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        exports({name: "1"}, reserved=("MINE_",))
    assert str(caught.value) == words


@pytest.mark.parametrize(("text", "words"), [("a\0", "holds a NUL"), ("\ud800", "is not text: surrogates")])
def test_text_that_no_program_can_be_given(text: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        quoted(text)
