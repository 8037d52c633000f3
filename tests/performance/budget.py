"""The stored budget: what one task may cost in each room, by the minor version of Python, whose bytecode it counts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

FILE = Path(__file__).with_name("budget.json")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MARGIN = 0.10
MEASURE_AGAIN = "python -m tests.performance --write"

Budget = dict[str, dict[str, int]]


def budget() -> Budget | None:
    """Return the budget of this Python; ``None`` where nobody has measured with it."""
    stored: dict[str, Budget] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return stored.get(PYTHON)


def write(measured: Budget) -> None:
    """Make ``measured`` the budget of this Python."""
    stored = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    stored[PYTHON] = measured
    FILE.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def over(measured: Budget, allowed: Budget) -> list[str]:
    """Return a sentence for each figure that is more than `MARGIN` above its budget."""
    return [
        f"{room}: {cost:,} {unit} a task, {100 * (cost / allowed[room][unit] - 1):.1f} % above the budget of "
        f"{allowed[room][unit]:,}"
        for room, costs in measured.items()
        for unit, cost in costs.items()
        if cost > allowed[room][unit] * (1 + MARGIN)
    ]
