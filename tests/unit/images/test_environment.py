"""What a container's PATH is, told from its scripts without running them; bash is asked for comparison."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.support.image_trees import SYSTEM_PATH, Fifo, Link, make

from htcdaskgateway.images.environment import DEFAULT_PATH, ContainerEnvironment, container_environment
from htcdaskgateway.images.files import ImageFiles
from htcdaskgateway.images.shell_conditions import Truth
from htcdaskgateway.images.shell_script import Shell
from htcdaskgateway.images.shell_words import MAX_VALUE, UNKNOWN

ENV = ".singularity.d/env"
DOCKER, CUSTOM, BASE = f"{ENV}/10-docker2singularity.sh", f"{ENV}/90-environment.sh", f"{ENV}/99-base.sh"


def environment(root: Path, **scripts: str) -> ContainerEnvironment:
    names = {"docker": DOCKER, "custom": CUSTOM, "base": BASE}
    make(root, {names.get(name, f"{ENV}/{name}"): text for name, text in scripts.items()})
    with ImageFiles(root) as files:
        return container_environment(files)


# Each line as somebody's image has it, with the first directories of PATH that follow from it.
UNDERSTOOD = [
    ('export PATH="/a/bin:/b"', "/a/bin:/b"),
    ("export PATH=/a/bin:/b", "/a/bin:/b"),
    ("export PATH='/a/bin'", "/a/bin"),
    ("PATH=/a; export PATH", "/a"),
    ("PATH=/a\nexport PATH", "/a"),
    ("export PATH=${PATH:-/a}", "/a"),
    ("X=\nPATH=${X:-/a}", "/a"),
    ("X=\nPATH=/a${X-/b}${X:+/b}", "/a"),
    ("X=\nPATH=/a${X+/b}${Y+/c}${Y-/d}", "/a/b/d"),
    ("X=\nPATH=/a${X:=/b}$X", "/a/b/b"),
    ('export PATH="${PATH:-"/a:/b"}"', "/a:/b"),
    (': "${PATH:=/a}"\nexport PATH', "/a"),
    ("if [ -z $PATH ]; then\n  PATH=/a\nfi", "/a"),
    ('if [ -n "$PATH" ]; then PATH=/b; else PATH=/a; fi', "/a"),
    ("CONDA=/a\nexport PATH=$CONDA/bin:/b", "/a/bin:/b"),
    ("export CONDA_DIR=/a PATH=/a/bin", "/a/bin"),
    ('export PATH="/a"  # of conda', "/a"),
    ("export PATH=/a\\\n:/b", "/a:/b"),
    ('export PATH="/a b"', "/a b"),
    ("declare -x PATH=/a", "/a"),
    ("export PATH=/a && export X=1", "/a"),
    ("PATH=/a >/dev/null 2>&1", "/a"),
    ("[ -d /here ] && PATH=/a", "/a"),
    ("[ -d /gone ] || PATH=/a", "/a"),
    ("test -x /here/tool && PATH=/a", "/a"),
    ('PATH=/a\nif test -n "${SINGULARITY_APPNAME:-}"; then PATH=/b:$PATH; fi', "/a"),
    ("echo hello\nulimit -c 0\nPATH=/a", "/a"),
    ("PATH=/a\n(PATH=/b)\ntrue | PATH=/c", "/a"),
    ("PATH=/a\nreturn\nPATH=/b", "/a"),
    ('LD_LIBRARY_PATH="$(find / -name x)"\nPATH=/a', "/a"),
    ('export X="it\'s"\nPATH=/a', "/a"),
]


@pytest.mark.parametrize(("script", "path"), UNDERSTOOD)
def test_assignments_as_they_are_found(tmp_path: Path, script: str, path: str) -> None:
    make(tmp_path / "image", {"here/tool": ""})
    (tmp_path / "image/here/tool").chmod(0o755)
    found = environment(tmp_path / "image", docker=f"#!/bin/sh\n{script}\n")
    assert found == ContainerEnvironment((*path.split(":"), *DEFAULT_PATH), (), ())


# What is left out, and the word by which the note can be known.
NOT_UNDERSTOOD = [
    ("PATH=/a:$(brew --prefix)/bin", "/a", "…/bin"),
    ("PATH=/a:`x`/bin", "/a", "…/bin"),
    ("PATH=/a:$HOME/.local/bin", "/a", "…/.local/bin"),
    ("PATH=/a:~/bin", "/a", "…/bin"),
    ("PATH=/a:relative/bin", "/a", "relative/bin"),
    ("PATH=/a\nPATH=${PATH%:*}:/b", "/b", "…"),
    ("PATH=/a\n. /opt/conda/etc/profile.d/conda.sh", "/a", "conda.sh"),
    ("PATH=/a\nsource /opt/x.sh", "/a", "/opt/x.sh"),
    ('PATH=/a\neval "$(micromamba shell hook)"', "/a", "eval"),
    ("PATH=/a\nconda activate analysis", "/a", "conda activate analysis"),
    ("PATH=/a\nif grep -q x /etc/y; then PATH=/b; fi", "/a", "PATH=/b"),
    ("PATH=/a\n[ -d /home/x ] && PATH=/b", "/a", "PATH=/b"),
    ("PATH=/a\nfor d in /x /y; do PATH=$d:$PATH; done", "/a", "PATH=$d"),
    ("PATH=/a\ncase $HOME in /x) PATH=/b ;; esac", "/a", "PATH=/b"),
    ("PATH=/a\nadd() { PATH=$1:$PATH; }\nadd /b", "/a", "PATH=$1"),
    ("PATH=/a\n[ -d /proc/x ] && unset PATH", "/a", "unset PATH"),
    ("PATH=/a\n[ -d /proc/x ] && : ${PATH:=/b}", "/a", "PATH:=/b"),
    ("PATH=/a\n[ -d /proc/x ] && return\nPATH=/b", "/a", "end early"),
    ("PATH=/a\n[[ /a < /b ]] && PATH=/c", "/a", "compares"),
    ("PATH=/a\ncat <<EOF\nPATH=/b\nEOF", "", "here-document"),
    ('PATH="/a', "", 'a " is missing'),
    ("PATH=/a\nif true; then", "/a", "fi is missing"),
    ("PATH=/a\nfi", "/a", "unexpected fi"),
    ("PATH=(/a /b)", "", "parentheses"),
    ("PATH=$'/a'", "", "$'"),
    ("PATH=/a\nexport $(cat /etc/environment)", "/a", "export $(cat"),
    ("PATH=/a\0", "", "no text"),
    ("PATH=" + "${A:-" * 60 + "}" * 60, "", "nests too deeply"),
    ("PATH=/a\nPYTHONHOME=/x; export PYTHONHOME", "/a", "PYTHONHOME"),
    ("#" * 70000 + "\nPATH=/a", "", "too long"),
]


@pytest.mark.parametrize(("script", "path", "word"), NOT_UNDERSTOOD)
def test_what_is_not_understood_is_left_out_and_said(
    tmp_path: Path, script: str, path: str, word: str
) -> None:
    found = environment(tmp_path / "image", docker=script)
    assert found.path == (*filter(None, path.split(":")), *DEFAULT_PATH)
    assert len(found.notes) == 1
    assert word in found.notes[0]


@pytest.mark.parametrize("script", ["cat <<EOF\nx\nEOF", "[ x", "if true; then X=$(", "for x in; do", ")"])
def test_what_has_nothing_to_do_with_python_is_not_said(tmp_path: Path, script: str) -> None:
    assert environment(tmp_path / "image", docker=script).notes == ()


def test_apptainer_s_order_and_its_default(tmp_path: Path) -> None:
    found = environment(
        tmp_path / "image",
        docker=f'export PATH="/opt/conda/bin:{SYSTEM_PATH}"',
        custom="export PATH=/mine:$PATH",
        base="export PATH=$PATH:/last",
        **{
            "95-apps.sh": 'PATH="$PATH:/apps"',
            "no-script.txt": "PATH=/no",
            ".hidden.sh": "export PYTHONPATH=/no",
        },
    )
    assert found.path == ("/mine", "/opt/conda/bin", *DEFAULT_PATH, "/apps", "/last")
    assert found.pythonpath == ()


def test_the_default_is_there_before_a_custom_script(tmp_path: Path) -> None:
    assert environment(tmp_path / "image", custom="PATH=/mine:$PATH").path == ("/mine", *DEFAULT_PATH)


def test_without_any_script(tmp_path: Path) -> None:
    assert environment(tmp_path / "image") == ContainerEnvironment(DEFAULT_PATH, (), ())


def test_an_image_of_old(tmp_path: Path) -> None:
    make(tmp_path / "image", {"environment": "export PATH=/old"})
    with ImageFiles(tmp_path / "image") as files:
        assert container_environment(files).path == ("/old", *DEFAULT_PATH)


def test_pythonpath_is_what_is_exported(tmp_path: Path) -> None:
    found = environment(tmp_path / "a", docker="export PYTHONPATH=/a:/b:$PYTHONPATH")
    assert (found.pythonpath, found.notes) == (("/a", "/b"), ())
    assert environment(tmp_path / "b", docker="PYTHONPATH=/a").pythonpath == ()
    assert environment(tmp_path / "c", docker="export PYTHONPATH=/a\nunset PYTHONPATH").pythonpath == ()


def test_scripts_that_are_no_files(tmp_path: Path) -> None:
    tree = {DOCKER: Fifo(), CUSTOM: Link("/etc/env"), "etc/env": "PATH=/a:$PATH", BASE: Link("99-base.sh")}
    make(tmp_path / "image", {**tree, f"{ENV}/50-directory.sh": None})
    with ImageFiles(tmp_path / "image") as files:
        found = container_environment(files)
    assert found.path == ("/a", *DEFAULT_PATH)
    assert found.notes == (f"/{DOCKER} is no regular file and is not read",)


def test_more_scripts_than_are_read(tmp_path: Path) -> None:
    found = environment(tmp_path / "image", **{f"{n}.sh": "" for n in range(100, 151)})
    assert found.notes == ("only the first 50 of 51 scripts in /.singularity.d/env are read",)


@pytest.mark.parametrize("script", ["exit 7", "PATH=/a\nexit"])
def test_a_script_that_ends_the_container(tmp_path: Path, script: str) -> None:
    notes = environment(tmp_path / "image", docker=script).notes
    assert len(notes) == 1
    assert notes[0].endswith("which ends the container's start")


def test_values_do_not_grow_without_end(tmp_path: Path) -> None:
    found = environment(tmp_path / "image", docker="A=xxxxxxxx\n" + "A=$A$A$A$A\n" * 100 + "PATH=/a:$A")
    assert found.path[0] == "/a"
    assert "…" in found.notes[0]
    long = environment(tmp_path / "long", docker="PATH=" + ":".join(f"/{n}" for n in range(1000)))
    assert len(long.path) == 100
    assert "first 100" in long.notes[0]


# Of which 50 scripts took seconds.
COSTLY = {
    "words": "if " * 21_000,
    "variables": ('A="' + "$A" * 200 + '"\n') * 150,
    "defaults": "x " + '"${A:=b}" ' * 6000,
    "subshells": "(" * 63_000,
    "a long word": "x" * 63_000,
    "negations": "[ " + "! " * 20_000 + " ]",
    "long values": "A=" + "x" * 60_000 + "\n" + "[ $A ]\n" * 700,
}


@pytest.mark.parametrize("script", COSTLY.values(), ids=COSTLY)
def test_there_is_an_end_to_what_is_read(tmp_path: Path, script: str) -> None:
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1
        assert steps < 8_000_000

    scripts = {f"{number}.sh": script[:65_000] for number in range(10, 60)}
    with profiled(count):
        found = environment(tmp_path / "image", **scripts)
    assert found.path == DEFAULT_PATH
    assert [note for note in found.notes if note.endswith("is not read to its end, there is too much of it")]


@contextmanager
def profiled(count: Callable[..., None]) -> Iterator[None]:
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)


def test_blocks_in_blocks(tmp_path: Path) -> None:
    for open_, close in (("if true; then\n", "fi\n"), ("( ", ") "), ("{ ", "; }")):
        script = open_ * 200 + "PATH=/a\n" + close * 200
        (note,) = environment(tmp_path / f"image{len(open_)}", docker=script).notes
        assert note.endswith("it nests too deeply")


def test_a_test_of_many_words(tmp_path: Path) -> None:
    found = environment(tmp_path / "image", docker=f"[ {'! ' * 2000} x ] && PATH=/b")
    assert len(found.notes) == 1


# Random scripts, beside what bash makes of them.

WORDS = st.sampled_from(
    [
        "x",
        "/a:b",
        '"$A"',
        "$A",
        "${A}s",
        "${A:-d}",
        '"${A:-"q r"}"',
        "${B:=z}",
        "${A+p}",
        "${A:+p}",
        "\\$A",
        "$",
        "1",
        "'l $A'",
        '"\\"e\\n"',
        "$(echo h)",
        "`echo h`",
        "a#b",
        "''",
        "",
        "${A-$B}",
        "${A%x}",
        "a~b",
        "~",
        '"it\'s"',
        '"${A:-\\$x}"',
        "${A:-'s $B'}",
        '"${B:-`echo h`}"',
        "$B$A",
        '"a\\\nb"',
        "${A=v}",
    ]
)
KNOWN = st.sampled_from(
    ["true", "false", '[ -z "$A" ]', '[ "${B-x}" = x ]', "[ -d / ]", "! [ -e /gone ]", 'test -n "$A"']
)
TESTS = (
    KNOWN
    | KNOWN
    | st.sampled_from(
        [
            '[ -z "$A" ]',
            '[ -n "${B:-}" ]',
            'test "$A" = x',
            '[ "$A" != "$B" ]',
            "[ -d / ]",
            "[ -d /gone ]",
            "true",
            "false",
            "[ -n $A ]",
            "! [ -z $B ]",
            '[[ -n "$A" ]]',
            "[ -e /proc/self ]",
            '[ "$A" ]',
            "[ ! -f /etc ]",
            "grep -q x /dev/null",
            "test -n x -a -z y",
            "[ $A = x ]",
            ": ${A:=t}",
            "A=set",
            '[[ "$A" == x* ]]',
            '[[ -n "$A" && -n "$B" ]]',
        ]
    )
)
NAMES = st.sampled_from(["A", "B", "PYTHONPATH"])
SIMPLE = st.one_of(
    st.builds("{}={}".format, NAMES, WORDS),
    st.builds("export {}={}".format, NAMES, WORDS),
    st.builds("{}+={}".format, NAMES, WORDS),
    st.builds(': "${{{}:={}}}"'.format, NAMES, st.sampled_from(["v", "$A", "/a:b"])),
    st.builds("unset {}".format, NAMES),
    st.builds("{}={} true".format, NAMES, WORDS),
    st.builds("{}={} # {}".format, NAMES, WORDS, NAMES),
    st.builds("{}={} > /dev/null".format, NAMES, WORDS),
    TESTS,
    st.just("return"),
)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("if {}; then\n{}\nfi".format, TESTS, inner),
        st.builds("if {}; then {}; else {}; fi".format, TESTS, inner, inner),
        st.builds(
            "if {}; then {}; elif {} && {}; then {}\nelse\n{}; fi".format,
            TESTS,
            inner,
            TESTS,
            TESTS,
            inner,
            inner,
        ),
        st.builds("{} && {}".format, TESTS, inner),
        st.builds("{} || {}".format, TESTS, inner),
        st.builds("{} && {} || {}".format, TESTS, inner, inner),
        st.builds("{} &&\n{{ {}; }}".format, TESTS, inner),
        st.builds("( {} )".format, inner),
        st.builds("echo | {}".format, inner),
        st.builds("{}\n{}".format, inner, inner),
        st.builds("f{0}() {{ {1}; }}\nf{0}".format, st.integers(0, 10**6), inner),
        st.builds("for i in 1 2; do {}; done".format, inner),
        st.builds("case $A in x|y) {} ;; *) {} ;; esac".format, inner, inner),
        st.builds("while false; do {}; done".format, inner),
    )


SCRIPTS = st.recursive(SIMPLE, _compound, max_leaves=8)


def is_there(test: str, path: str) -> Truth:
    return (
        None
        if path.startswith("/proc")
        else {"-d": os.path.isdir, "-f": os.path.isfile}.get(test, os.path.exists)(path)
    )


SHOW = """
bash -n "$1" 2>/dev/null || exit 99
. "$1" >/dev/null
for name in A B PYTHONPATH; do printf '%s\\0' "${!name-unset}"; done
export -p | grep -c PYTHONPATH
"""


@settings(max_examples=200)
@given(st.lists(SCRIPTS, min_size=1, max_size=4).map("\n".join))
def test_where_nothing_is_said_bash_agrees(script: str) -> None:
    shell = Shell(is_there, frozenset({"A", "B", "PYTHONPATH"}))
    shell.source(script, "it")
    if shell.notes:
        event("not understood")
        return
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(
            ["bash", "-c", SHOW, "bash", file.name],
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    if done.returncode == 99:
        event("no script")
        return
    *values, exported = done.stdout.split("\0")
    for name, value in zip(("A", "B", "PYTHONPATH"), values, strict=True):
        ours = shell.variables.get(name, "unset")
        event("unknown" if UNKNOWN in ours else "unset" if ours == "unset" else "a value")
        known = ours.split(UNKNOWN)
        assert value.startswith(known[0]), script
        assert value.endswith(known[-1]), script
        assert UNKNOWN in ours or value == ours, script
    assert exported.strip() == str(int("PYTHONPATH" in shell.exported and "PYTHONPATH" in shell.variables)), (
        script
    )


@given(st.text(st.sampled_from(list("AB=$`'\"\\{}()[]<>&|;:-+ \n#~!x/")), max_size=60) | st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    shell = Shell(is_there, frozenset({"PATH", "A"}))
    shell.source(text, "it")
    assert all(len(value) <= 2 * MAX_VALUE for value in shell.variables.values())
