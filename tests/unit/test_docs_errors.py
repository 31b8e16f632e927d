"""Each error has a page that shows it as it is, with its cause and what to do."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path

import pytest
from docs._ext.error_examples import EXAMPLES
from docs._ext.error_pages import PAGES, PROSE, classes, complaints, group, head, wanted

from htcdaskgateway.errors import HTCDaskError, LimitError

LIMIT = LimitError(1000, 200)
TEXT = f"{head(LIMIT)}{PROSE}\nA limit.\n\n## What to do\n\nAsk for less.\n"


def names(kinds: Iterable[type[HTCDaskError]]) -> set[str]:
    return {f"{kind.__module__}.{kind.__name__}" for kind in kinds}


def below(kind: type[HTCDaskError]) -> set[str]:
    return names([kind]).union(*(below(sub) for sub in kind.__subclasses__()))


def test_every_page_is_there_and_current() -> None:
    assert complaints(classes(), EXAMPLES) == []


def test_no_class_is_overlooked() -> None:
    found = names(classes())  # which imports all modules
    assert {name for name in below(HTCDaskError) if name.startswith("htcdaskgateway.")} == found
    assert len(found) > 50


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_survives_pickle(error: HTCDaskError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again).__name__, str(again)) == (type(error).__name__, str(error))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "LimitError.md").write_text(TEXT, encoding="utf-8")
    (tmp_path / "index.md").write_text(wanted([LIMIT], tmp_path)[tmp_path / "index.md"], encoding="utf-8")
    return tmp_path


def test_nothing_to_complain_of(directory: Path) -> None:
    assert complaints([LimitError], [LIMIT], directory) == []


def test_a_class_without_an_example(directory: Path) -> None:
    [said] = complaints([LimitError, HTCDaskError], [LIMIT], directory)
    assert said == "htcdaskgateway.errors.HTCDaskError has no example in docs/_ext/error_examples.py."


def test_a_class_without_a_page(directory: Path) -> None:
    (directory / "LimitError.md").unlink()
    [said] = complaints([LimitError], [LIMIT], directory)
    assert said == "docs/errors/LimitError.md is not what the class is now: scripts/docs --write."


def test_a_message_that_has_changed(directory: Path) -> None:
    [said] = complaints([LimitError], [LimitError(1000, 300)], directory)[:1]
    assert said.startswith("docs/errors/LimitError.md is not what the class is now")


@pytest.mark.parametrize("prose", ["", f"{PROSE}\nA limit.\n"])
def test_a_page_that_says_nothing(directory: Path, prose: str) -> None:
    path = directory / "LimitError.md"
    path.write_text(head(LIMIT) + prose, encoding="utf-8")
    path.write_text(wanted([LIMIT], directory)[path], encoding="utf-8")
    assert complaints([LimitError], [LIMIT], directory) == [
        "docs/errors/LimitError.md does not say what to do."
    ]


def test_a_page_of_an_error_that_is_gone(directory: Path) -> None:
    (directory / "OldError.md").write_text("# OldError\n", encoding="utf-8")
    assert complaints([LimitError], [LIMIT], directory) == [
        "docs/errors/OldError.md is of no error that there is."
    ]


def test_prose_is_kept(directory: Path) -> None:
    changed = wanted([LimitError(1000, 300)], directory)[directory / "LimitError.md"]
    assert "at most 300" in changed
    assert changed.partition(PROSE)[2] == TEXT.partition(PROSE)[2]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("LimitError", "Gateway and clusters"),
        ("WorkersMissingError", "Gateway and clusters"),
        ("VersionMismatchError", "Images and versions"),
        ("CredentialExpiredError", "Credentials"),
        ("NoSessionAttachedError", "HTCondor"),
        ("NotOursError", "Kubernetes"),
        ("TaskFailedError", "The demo"),
    ],
)
def test_what_an_error_is_about(name: str, title: str) -> None:
    [kind] = [kind for kind in classes() if kind.__name__ == name]
    assert group(kind) == title
    listed = (
        (PAGES / "index.md").read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    )
    assert f"({name}.md)" in listed
