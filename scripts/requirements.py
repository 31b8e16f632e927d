"""Print the requirements of a dependency group, one a line: requirements.py PYPROJECT GROUP.

pip gained ``--group`` late, and would look up this project's own name, which the group refers to with
extras, in the package index. Here both are written out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib


def expand(lines: list[str], project: dict[str, Any]) -> Iterator[str]:
    """Yield the requirements, with those of this project itself written out."""
    itself = re.compile(rf"{re.escape(project['name'])}\s*(?:\[([^\]]*)\])?\s*$")
    for line in lines:
        match = itself.match(line)
        if match is None:
            yield line
            continue
        yield from project["dependencies"]
        for extra in filter(None, (match[1] or "").replace(" ", "").split(",")):
            yield from expand(project["optional-dependencies"][extra], project)


def main() -> None:
    path, group = sys.argv[1:]
    declared = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    lines = [*declared["build-system"]["requires"], *declared["dependency-groups"][group]]
    sys.stdout.writelines(f"{line}\n" for line in sorted(set(expand(lines, declared["project"]))))


main()
