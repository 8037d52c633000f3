"""A file that can be read in one sitting, a function that can be read in one look."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.architecture.conftest import House, Module

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
LONGEST_ON_THE_WAY = 40  # of a message through a worker


def test_no_file_is_long(house: House, root: Path) -> None:
    files = [module.path for module in house.modules] + sorted((root / "tests").rglob("*.py"))
    files += sorted((root / "integration").rglob("*.py"))
    long = {str(path.relative_to(root)): lines for path in files if (lines := _lines(path)) > LONGEST_FILE}
    assert not long


def test_no_function_is_long(house: House) -> None:
    long = [
        f"{module}.{function.name}: {length} lines, at most {limit}"
        for module in house.modules
        for function in _functions(module)
        if (length := _length(function)) > (limit := _limit(module))
    ]
    assert not long, "\n".join(long)


def _limit(module: Module) -> int:
    return LONGEST_ON_THE_WAY if module.within("celeriac.worker") else LONGEST_FUNCTION


def _functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's lines: what it is called with and what it says of itself not counted."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return 1 + body[-1].end_lineno - body[0].lineno + 1 if body else 1  # type: ignore[operator]


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")
