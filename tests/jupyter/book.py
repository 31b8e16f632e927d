"""A notebook, run cell by cell in the kernel of a person's own server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.jupyter.kernel import Kernel, Output

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"


@dataclass(frozen=True)
class Cell:
    """A code cell.

    Attributes
    ----------
    name : str
        Its id in the notebook.
    fails : bool
        It is there to show an error.
    shows : bool
        It was saved with what it had shown.
    """

    name: str
    source: str
    fails: bool
    shows: bool


def code_cells(notebook: Path) -> list[Cell]:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return [
        Cell(
            cell["id"],
            "".join(cell["source"]),
            "raises-exception" in cell["metadata"].get("tags", []),
            bool(cell["outputs"] or cell["execution_count"]),
        )
        for cell in content["cells"]
        if cell["cell_type"] == "code"
    ]


def run(kernel: Kernel, notebook: Path, deadline: float) -> dict[str, Output]:
    """Run all cells, each within so many seconds; what each has shown, by its name.

    Raises
    ------
    AssertionError
        A cell fails that should not, or the other way round.
    """
    shown: dict[str, Output] = {}
    for cell in code_cells(notebook):
        [output] = kernel.execute(cell.source, deadline=deadline)
        assert bool(output.error) is cell.fails, f"{cell.name}:\n{cell.source}\n{output.text}"
        shown[cell.name] = output
    return shown
