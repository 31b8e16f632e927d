"""Pages are taken apart and judged as `tests/e2e/test_docs.py` needs it."""

from __future__ import annotations

import pytest
from tests.support.page import Piece, pieces, run

PAGE = """# A page

```python
n = 1 + 1
n
```

```text
2
```

```python
c.HTCondorBackend.image = "a:1"
```

```python
int("x")
```

```text
ValueError: invalid literal
```

Text between them.

```text
KeyError: not of the block above
```

```pycon
>>> n + 1
3
>>> [][n]
Traceback (most recent call last):
>>> {}["a"]
builtins.KeyError: 'a'
```
"""


def test_what_a_page_has() -> None:
    assert list(pieces(PAGE)) == [
        Piece("n = 1 + 1\nn\n", shows="2"),
        Piece('int("x")\n', error="ValueError"),
        Piece("n + 1\n", shows="3"),
        Piece("[][n]\n"),
        Piece('{}["a"]\n', error="KeyError"),
    ]


@pytest.mark.parametrize(
    "piece",
    [
        Piece("n = 2\nn", shows="2"),
        Piece("print(3)", shows="3"),
        Piece("int('x')", error="ValueError"),
        Piece("n = 'anything'"),
    ],
)
def test_what_does_what_is_shown(piece: Piece) -> None:
    run(piece, {})


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        (Piece("1 + 1", shows="3"), "'2' came of"),
        (Piece("1 + 1", error="ValueError"), "no ValueError came of"),
        (Piece("int('x')"), "ValueError: invalid literal"),
        (Piece("int('x')", error="KeyError"), "ValueError: invalid literal"),
        (Piece("n = 1", shows="1"), "'' came of"),
    ],
)
def test_what_does_not_is_found(piece: Piece, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        run(piece, {})
