from __future__ import annotations

import html.parser
import pickle

import pytest

from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.versions import Column, VersionMismatchError, VersionTable

HERE = {"python": "3.11.7", "dask": "2026.8.0", "distributed": "2026.8.0", "dask-gateway": "2026.3.0"}
OLD = {**HERE, "python": "3.13.5", "distributed": "2025.1.0"}
TABLE = VersionTable(
    (
        Column("notebook", {**HERE, "numpy": "2.3.1", "lz4": "4.3.2"}),
        Column("image", {**OLD, "numpy": "1.26.4", "lz4": "4.3.2"}),
        Column("scheduler", note="it did not answer within 10 s"),
    ),
    ("Take another image.", "Or another notebook."),
)
TEXT = """\
                notebook  image     scheduler
  python        3.11.7    3.13.5    ?          must agree
  dask          2026.8.0  2026.8.0  ?
  distributed   2026.8.0  2025.1.0  ?          must agree
  dask-gateway  2026.3.0  2026.3.0  ?
  numpy         2.3.1     1.26.4    ?          differs
  lz4           4.3.2     4.3.2     ?
  scheduler: it did not answer within 10 s
Take another image.
Or another notebook."""


def table(*environments: dict[str, str]) -> VersionTable:
    return VersionTable(tuple(Column(f"c{number}", one) for number, one in enumerate(environments)))


def test_the_text_in_full() -> None:
    assert str(TABLE) == TEXT


@pytest.mark.parametrize(
    ("environments", "differing"),
    [
        ([HERE, HERE], ()),
        ([HERE, {**HERE, "python": "3.11.0", "numpy": "1"}], ()),
        ([HERE, OLD], ("python", "distributed")),
        ([HERE, HERE, HERE, {**HERE, "dask": "2026.8.1"}], ("dask",)),
        ([HERE, {"python": "3.11.7"}], ("dask", "distributed", "dask-gateway")),
        ([HERE, {}], ()),  # nothing is known, so nothing is known to differ
        ([HERE, {}, OLD], ("python", "distributed")),
        ([], ()),
    ],
)
def test_what_differs(environments: list[dict[str, str]], differing: tuple[str, ...]) -> None:
    assert table(*environments).differing == differing
    assert table(*environments).agrees == (differing == ())


def test_a_package_that_is_missing_is_marked() -> None:
    rows = {name: (cells, mark) for name, cells, mark in table(HERE, {"python": "3.11.1"}).rows}
    assert rows["dask"] == (("2026.8.0", "-"), "must agree")
    assert rows["python"] == (("3.11.7", "3.11.1"), "")
    assert "numpy" not in rows


class Page(html.parser.HTMLParser):
    """Text of the cells by rows, and what is open in the end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_the_html_says_what_the_text_says() -> None:
    page = Page(TABLE._repr_html_())
    assert page.open == []
    assert page.rows[0] == ["", "notebook", "image", "scheduler", ""]
    assert page.rows[1:] == [[name, *cells, mark] for name, cells, mark in TABLE.rows]
    text = TABLE._repr_html_()
    for line in ("Take another image.", "scheduler: it did not answer within 10 s"):
        assert line in text
    # what must agree stands out from what merely differs, and neither sets a colour of the text
    assert text.count("rgba(220,50,47") == 2 * 5
    assert ";color" not in text
    assert '"color' not in text


def test_html_of_foreign_text_is_text() -> None:
    evil = "<script>alert('1')</script>"
    odd = VersionTable((Column(evil, {**HERE, "dask": evil}, note=evil),), (evil,))
    page = Page(odd._repr_html_())
    assert "script" not in page.tags
    assert page.rows[0][1] == page.rows[2][1] == evil


def test_the_error_is_a_sentence_and_the_table() -> None:
    error = VersionMismatchError("Image 'a/b:1'", TABLE)
    sentence = "Image 'a/b:1' does not fit this notebook: python and distributed differ."
    assert str(error) == f"{sentence}\n{TEXT}"
    assert error.sentence == sentence
    assert isinstance(error, HTCDaskError)
    assert error._render_traceback_() == f"VersionMismatchError: {sentence}\n{TEXT}".splitlines()
    error.displayed = True
    assert error._render_traceback_() == [f"VersionMismatchError: {sentence}"]
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.table == TABLE


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        ({**HERE, "dask": "1"}, "dask differs"),
        ({**HERE, "dask": "1", "python": "3.1"}, "python and dask differ"),
        ({"python": "3.11"}, "dask, distributed and dask-gateway differ"),
    ],
)
def test_the_sentence_names_what_differs(environment: dict[str, str], what: str) -> None:
    assert VersionMismatchError("It", table(HERE, environment)).sentence == (
        f"It does not fit this notebook: {what}."
    )
