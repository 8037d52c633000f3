"""What commands print: text for people, or one JSON value for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_json(value: Any) -> None:
    """Print one value as JSON, on one line; what JSON does not know is shown as text."""
    print(json.dumps(value, default=str, ensure_ascii=False), flush=True)


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a head: drawn on a terminal where `rich` is installed, else in columns as wide as need be."""
    table = [list(head), *([_cell(value) for value in row] for row in rows)]
    if sys.stdout.isatty() and _drawn(table):
        return
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _drawn(table: list[list[str]]) -> bool:
    """Draw a table as wide as the terminal; return whether that was possible."""
    try:
        from rich import box  # noqa: PLC0415 - an extra, as all of it
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return False
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in table[0]:
        drawn.add_column(Text(name), overflow="fold")  # what is cut off cannot be copied
    for row in table[1:]:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)
    return True


def _cell(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
