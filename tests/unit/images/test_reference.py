"""Image references: what is read, what is refused with which sentence, and that nothing unsafe passes."""

from __future__ import annotations

import os.path
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hostile import HOSTILE

from htcdaskgateway.condor.quoting import attribute_value, submit_value
from htcdaskgateway.images import reference as module
from htcdaskgateway.images.errors import ImageReferenceError
from htcdaskgateway.images.reference import ImageReference, is_registry, newest_first, parse_reference

DOCKER = "registry.hub.docker.com"
NO_PART = "is not made of letters, digits, '.', '_' and '-', with a letter or digit first"
NO_TAG = "is not 1 to 128 letters, digits, '.', '_' and '-'"
NO_HOST = f"is not a host name like {DOCKER}"
REMEDY = (
    "Give repository/name:tag or registry/repository/name:tag, such as"
    " 'coffeateam/coffea-base-almalinux8:0.7.22-py3.10'."
)

READ = [
    ("debian", DOCKER, "debian", ""),
    ("debian:12", DOCKER, "debian", "12"),
    ("coffeateam/coffea-dask-almalinux8:2024.4.0-py3.10", DOCKER, "coffeateam/coffea-dask-almalinux8",
     "2024.4.0-py3.10"),
    # as htcdaskgateway 0.1.25 has it
    (f"{DOCKER}/coffeateam/coffea-base:0.7", DOCKER, "coffeateam/coffea-base", "0.7"),
    ("docker.io/coffeateam/x:1", DOCKER, "coffeateam/x", "1"),
    ("index.docker.io/coffeateam/x:1", DOCKER, "coffeateam/x", "1"),
    ("Docker.IO/coffeateam/x:1", DOCKER, "coffeateam/x", "1"),
    ("gitlab-registry.cern.ch/a/b/c/d:v1", "gitlab-registry.cern.ch", "a/b/c/d", "v1"),
    ("localhost/x:1", "localhost", "x", "1"),
    ("localhost:5000/x", "localhost:5000", "x", ""),
    ("node:5000/x:1", "node:5000", "x", "1"),
    # no registry without something behind it
    ("foo.bar:1", DOCKER, "foo.bar", "1"),
    ("localhost", DOCKER, "localhost", ""),
    # words of submit descriptions are names like others
    ("queue", DOCKER, "queue", ""),
    ("include/if:error", DOCKER, "include/if", "error"),
    ("a:_x", DOCKER, "a", "_x"),
]  # fmt: skip

REFUSED = [
    ("", "it is empty"),
    ("../x:1", "it holds '..'"),
    ("a/../../etc", "it holds '..'"),
    ("a/..:1", "it holds '..'"),
    ("..", "it holds '..'"),
    ("/cvmfs/unpacked.cern.ch/x.y/a:1", "it is an absolute path"),
    ("//x", "it is an absolute path"),
    ("a:1\n", "it holds a line break"),
    ("a:1\nqueue 100", "it holds a line break"),
    ("a\r", "it holds a line break"),
    ("a b", "it holds a space"),
    (" a:1", "it holds a space"),
    ("a\t", "it holds a tab"),
    ("a\0b", "it holds a NUL character"),
    ("a'b", "it holds a quotation mark"),
    ('a"b', "it holds a quotation mark"),
    ("$(HOME)", "it holds '$'"),
    ("a;b", "it holds ';'"),
    ("a,b", "it holds ','"),
    ("a(b", "it holds '('"),
    ("a`id`", "it holds '`'"),
    ("a|b", "it holds '|'"),
    ("a&b", "it holds '&'"),
    ("a>b", "it holds '>'"),
    ("~/x", "it holds '~'"),
    ("a\\b", r"it holds '\\'"),
    ("é:1", "it holds 'é'"),
    ("a\u2028b", r"it holds '\u2028'"),
    ("a:\uff11", "it holds '\uff11'"),
    ("a" * 10_000, "it has 10000 characters, and 255 is the most"),
    ("$" * 10_000, "it has 10000 characters, and 255 is the most"),
    ("b" * 250, "it has 274 characters, and 255 is the most"),
    ("docker://a:1", "it is a URL; leave 'docker://' out"),
    ("a@sha256:0123", "it names a digest, and images in CVMFS are named by their tags"),
    ("a:1@sha256:0123", "it names a digest, and images in CVMFS are named by their tags"),
    ("a//b", "one of its parts between '/' is empty"),
    ("a/", "one of its parts between '/' is empty"),
    ("a:", "its name or its tag is empty"),
    (":1", "its name or its tag is empty"),
    ("a/:1", "its name or its tag is empty"),
    ("a:1:2", f"its tag '1:2' {NO_TAG}"),
    ("a:-x", f"its tag '-x' {NO_TAG}"),
    ("a:" + "1" * 129, f"its tag '{'1' * 60}'… {NO_TAG}"),
    ("-x:1", f"its part '-x' {NO_PART}"),
    (".flat:1", f"its part '.flat' {NO_PART}"),
    ("a/.flat/b", f"its part '.flat' {NO_PART}"),
    ("a/./b", f"its part '.' {NO_PART}"),
    ("a/b:1/c:2", f"its part 'b:1' {NO_PART}"),
    (".flat/ab/abcdef", f"the registry '.flat' {NO_HOST}"),
    ("a:b/c", f"the registry 'a:b' {NO_HOST}"),
    ("a_b.c/x", f"the registry 'a_b.c' {NO_HOST}"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "registry", "repository", "tag"), READ)
def test_what_is_read(text: str, registry: str, repository: str, tag: str) -> None:
    assert parse_reference(text) == ImageReference(registry, repository, tag)


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[repr(text[:30]) for text, _ in REFUSED])
def test_what_is_refused(text: str, why: str) -> None:
    shown = repr(text) if len(text) <= 60 else f"{text[:60]!r}…"
    with pytest.raises(ImageReferenceError) as caught:
        parse_reference(text)
    assert str(caught.value) == f"Image reference {shown} cannot be used: {why}.\n{REMEDY}"
    assert caught.value.reference == text


@pytest.mark.parametrize(
    ("text", "why"), [(None, "NoneType"), (5, "int"), (Path("a:1"), "PosixPath"), (b"a:1", "bytes")]
)
def test_what_is_no_text(text: Any, why: str) -> None:
    with pytest.raises(ImageReferenceError, match=f"it is of type {why}, not text"):
        parse_reference(text)
    if text is not None:
        with pytest.raises(ImageReferenceError, match=f"image_registry= is of type {why}, not text"):
            parse_reference("a:1", text)


def test_the_text_of_a_reference() -> None:
    reference = parse_reference("coffeateam/x:1", "ghcr.io")
    assert str(reference) == reference.relative_path == "ghcr.io/coffeateam/x:1"
    assert reference.name == "coffeateam/x:1"
    assert str(reference.with_tag("")) == "ghcr.io/coffeateam/x"


class TestRegistry:
    def test_given(self) -> None:
        assert str(parse_reference("a/b:1", "ghcr.io")) == "ghcr.io/a/b:1"
        assert str(parse_reference("a/b:1", "GHCR.io")) == "ghcr.io/a/b:1"
        assert str(parse_reference("a/b:1", "")) == f"{DOCKER}/a/b:1"
        assert str(parse_reference("a/b:1", "docker.io")) == f"{DOCKER}/a/b:1"

    def test_given_twice(self) -> None:
        assert str(parse_reference("ghcr.io/a/b:1", "ghcr.io")) == "ghcr.io/a/b:1"
        assert str(parse_reference("docker.io/a/b:1", DOCKER)) == f"{DOCKER}/a/b:1"
        with pytest.raises(ImageReferenceError) as caught:
            parse_reference("ghcr.io/a/b:1", "quay.io")
        assert str(caught.value).splitlines()[0] == (
            "Image reference 'ghcr.io/a/b:1' cannot be used:"
            " it names the registry 'ghcr.io', and image_registry= is 'quay.io'."
        )

    def test_of_the_site(self) -> None:
        found = parse_reference("a:1", default_registry="harbor.here", aliases={"hub": "x.y"})
        assert str(found) == "harbor.here/a:1"
        assert str(parse_reference("q.io/a:1", aliases={"q.io": "quay.io"})) == "quay.io/a:1"

    @pytest.mark.parametrize(
        "registry",
        [
            "https://x.y",
            "x",
            "x.y/z",
            "x.y/",
            "../x",
            "/x.y",
            "x.y\n",
            "x y.z",
            ".flat",
            "a..b",
            "$(x).y",
            "x:",
        ],
    )
    def test_refused(self, registry: str) -> None:
        with pytest.raises(ImageReferenceError) as caught:
            parse_reference("a:1", registry)
        assert str(caught.value).splitlines()[0] == (
            f"Image reference 'a:1' cannot be used: the registry {registry!r} {NO_HOST}."
        )
        assert not is_registry(registry)


@pytest.mark.parametrize(
    "parts",
    [("x", "a"), ("x.y", "../a"), ("x.y", "a..b"), ("x.y", "a", "1..2"), ("x.y", "a", "1\n"), ("x.y", ""),
     ("x.y", "/a"), ("x.y", "a" * 300)],
)  # fmt: skip
def test_what_is_made_directly_is_as_safe(parts: tuple[str, ...]) -> None:
    with pytest.raises(ImageReferenceError):
        ImageReference(*parts)


def test_a_tag_is_checked_too() -> None:
    with pytest.raises(ImageReferenceError):
        ImageReference("x.y", "a", "1").with_tag("1 2")


def test_defaults_are_references_themselves() -> None:
    assert str(parse_reference(module.DEFAULT_IMAGE)) == (
        "registry.hub.docker.com/coffeateam/coffea-base-almalinux8:0.7.22-py3.10"
    )
    assert module.DEFAULT_ROOT == "/cvmfs/unpacked.cern.ch"
    assert all(is_registry(name) for pair in module.ALIASES.items() for name in pair)


def test_newest_first() -> None:
    tags = ["latest", "0.7.9", "0.7.22-py3.10", "0.7.22-py3.9", "v2024.1", "2024.4.0", "main", "2024.10.0"]
    assert newest_first(tags) == [
        "2024.10.0", "2024.4.0", "0.7.22-py3.10", "0.7.22-py3.9", "0.7.9", "v2024.1", "main", "latest"
    ]  # fmt: skip


WORD = st.text("aZ09._-", min_size=1, max_size=8)
NEARLY = st.builds(
    lambda parts, between: "".join(part + joint for part, joint in zip(parts, between, strict=False)),
    st.lists(WORD | HOSTILE, min_size=1, max_size=6),
    st.lists(st.sampled_from(["/", ":", "", "@", "//", "/../", ":5000/"]), min_size=6, max_size=6),
)
LONG = st.builds(lambda word, times: word * times, WORD, st.integers(1, 5000))


@given(
    text=NEARLY | HOSTILE | LONG | st.text(),
    registry=st.none() | st.sampled_from(["ghcr.io", "docker.io", "localhost"]) | NEARLY | HOSTILE,
)
def test_whatever_is_typed(text: str, registry: str | None) -> None:
    try:
        found = parse_reference(text, registry)
    except ImageReferenceError as error:
        head, *rest = str(error).splitlines()
        assert head.startswith("Image reference ")
        assert head.endswith(".")
        assert len(head) < 1500
        assert rest == [REMEDY]
    else:
        check_safe(found)


@given(
    st.builds(
        lambda host, parts, tag: "/".join([*host, *parts]) + tag,
        st.lists(st.from_regex(r"\A[a-z0-9]{1,9}\.[a-z]{2}(:[0-9]{2})?\Z"), max_size=1),
        st.lists(st.from_regex(r"\A[A-Za-z0-9][a-z0-9_-]{0,8}\Z"), min_size=1, max_size=5),
        st.from_regex(r"\A(:[A-Za-z0-9_][A-Za-z0-9_-]{0,20})?\Z"),
    )
)
def test_what_is_meant_well_is_read(text: str) -> None:
    found = parse_reference(text)
    assert text in {str(found), found.name}
    check_safe(found)


def test_a_default_registry_that_is_no_text() -> None:
    with pytest.raises(ImageReferenceError, match="the default registry is of type int, not text"):
        parse_reference("a:1", default_registry=5)  # type: ignore[arg-type]  # what users do


def check_safe(found: ImageReference) -> None:
    text = str(found)
    assert parse_reference(text) == found
    assert parse_reference(found.name, found.registry) == found
    assert len(text) <= 255
    # a path below the root, not through hidden directories
    path = f"/images/{found.relative_path}"
    assert os.path.normpath(path) == path
    assert all(part and part[0] not in ".-" for part in found.relative_path.split("/"))
    # no other meaning to HTCondor, a shell, or `KEY=VALUE,…` lists
    assert submit_value(text, "image") == text
    assert attribute_value(text, "image") == f'"{text}"'
    assert shlex.quote(text) == text
    assert not re.search(r"""[^\x21-\x7e]|[\s"'$,;()\\`|&<>*?\[\]{}#=+~!%^@]""", text)
