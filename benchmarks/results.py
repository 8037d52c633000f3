"""What a run has measured: kept as JSON while it goes, and read again as medians and ratios."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.rows import NAMES

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.model import Figures, Target


@dataclass(frozen=True, slots=True)
class Spread:
    """Some figures of one kind: their median, the least and the most."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: list[float]) -> Spread | None:
        """Return the spread of ``values``; ``None`` where there are none."""
        return cls(statistics.median(values), min(values), max(values), len(values)) if values else None


@dataclass(slots=True)
class Results:
    """All of a run.

    Attributes:
        about: machine, versions, date, command.
        file: where it is kept.
        runs: one a measurement: ``row``, ``contender``, ``round``, and ``figures`` with ``load``, or ``error``.
        left_out: by row and contender, why it was not measured.
    """

    about: dict[str, Any] = field(default_factory=dict)
    file: Path | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, *files: Path) -> Results:
        """Return what a run has kept, or several runs of different rows.

        Raises:
            ValueError: two of them have the same row, whose rounds would not be of one run.
        """
        merged = cls()
        for file in files:
            kept = json.loads(file.read_text())
            if again := {run["row"] for run in kept["runs"]} & {run["row"] for run in merged.runs}:
                raise ValueError(f"{file} has rows that another file has too: {', '.join(sorted(again))}")
            merged.about = _merged(merged.about, kept["about"]) if merged.about else kept["about"]
            merged.runs += kept["runs"]
            merged.left_out.update(kept["left_out"])
        return merged

    def save(self) -> None:
        """Keep it."""
        if self.file is not None:
            kept = {"about": self.about, "left_out": self.left_out, "runs": self.runs}
            self.file.write_text(json.dumps(kept, indent=1) + "\n")

    def add(self, row: str, contender: str, number: int, figures: Figures, load: float) -> None:
        """Take up a measurement."""
        rounded = {name: round(value, 6) for name, value in figures.items()}
        self.runs.append({"row": row, "contender": contender, "round": number, "figures": rounded, "load": load})
        self.save()

    def fail(self, row: str, contender: str, number: int, error: str) -> None:
        """Take up that one could not be made."""
        self.runs.append({"row": row, "contender": contender, "round": number, "error": error})
        self.save()

    def leave_out(self, row: str, contender: str, reason: str) -> None:
        """Take up that a contender is not measured, and why."""
        self.left_out.setdefault(row, {})[contender] = reason

    @property
    def rows(self) -> list[str]:
        """The rows of which there are measurements, in the order of the suite."""
        measured = {run["row"] for run in self.runs}
        return [name for name in NAMES if name in measured]

    def figure(self, row: str, contender: str, name: str) -> Spread | None:
        """Return a figure over all rounds."""
        return Spread.of(list(self._by_round(row, contender, name).values()))

    def ratio(self, row: str, target: Target) -> Spread | None:
        """Return ours by theirs, each round by itself, so that what disturbed a round disturbs both; or ours alone."""
        ours = self._by_round(row, target.ours, target.figure)
        if target.against is None:
            return Spread.of(list(ours.values()))
        theirs = self._by_round(row, target.against, target.figure)
        return Spread.of([value / theirs[number] for number, value in ours.items() if theirs.get(number)])

    def errors(self, row: str, contender: str) -> int:
        """Return how many rounds failed."""
        return sum("error" in run for run in self._of(row, contender))

    def _by_round(self, row: str, contender: str, name: str) -> dict[int, float]:
        return {
            run["round"]: run["figures"][name] for run in self._of(row, contender) if name in run.get("figures", {})
        }

    def _of(self, row: str, contender: str) -> list[dict[str, Any]]:
        return [run for run in self.runs if run["row"] == row and run["contender"] == contender]


def _both(one: str, other: str) -> str:
    return " / ".join(dict.fromkeys([*one.split(" / "), other]))


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return what two runs say of themselves together."""
    return {
        **one,
        **{where: _both(one[where], other[where]) for where in ("machine", "system")},
        "brokers": list(dict.fromkeys([*one["brokers"], *other["brokers"]])),
        "versions": list(dict.fromkeys([*one["versions"], *other["versions"]])),
        "command": f"{one['command']}; {other['command']}",
        "rounds": min(one["rounds"], other["rounds"]),
        "quick": one["quick"] or other["quick"],
    }
