"""The command that runs seeds: says how many, how fast, and which promises were seen broken."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING

from celeriac.clock import SystemClock
from celeriac.testing.simulation.seeds import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.testing.simulation.seeds import Report

REPLAY = "python -m celeriac.testing.simulation --seed {} --verbose"
MOST_TOLD = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 where every promise was kept, 1 where one was not."""
    given = _parser().parse_args(argv)
    if given.seed is not None:
        return _tell(simulate(given.seed), given.task, verbose=given.verbose, as_json=given.json)
    clock = SystemClock()
    begun, tally = clock.monotonic(), Tally()
    for seed in range(given.first, given.first + given.seeds):
        tally.add(simulate(seed))
    tally.wall = clock.monotonic() - begun
    _say(json.dumps(tally.table(), indent=2) if given.json else tally.text())
    return int(bool(tally.failed))


class Tally:
    """What many seeds showed.

    Attributes:
        failed: the seeds in which a promise was not kept, and the first such promise of each.
        wall: real seconds that it took.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.failed: dict[int, str] = {}
        self.wall = 0.0
        self._sums: Counter[str] = Counter()

    def add(self, report: Report) -> None:
        """Add one seed."""
        self._sums.update(seeds=1, tasks=report.tasks, runs=report.runs, callbacks=report.steps)
        self._sums["virtual seconds"] += round(report.seconds)
        if not report.ok:
            self.failed[report.seed] = str(report.violations[0])

    def table(self) -> dict[str, object]:
        """Return all as plain values."""
        speed = self._sums["seeds"] / self.wall if self.wall else 0.0
        return {
            **self._sums,
            "wall seconds": round(self.wall, 2),
            "seeds a second": round(speed, 1),
            "failed": self.failed,
        }

    def text(self) -> str:
        """Return all for people."""
        lines = [f"{name}: {value}" for name, value in self.table().items() if name != "failed"]
        lines += [f"seed {seed}: {why}" for seed, why in list(self.failed.items())[:MOST_TOLD]]
        if self.failed:
            lines.append(f"{len(self.failed)} seeds failed; replay one: {REPLAY.format(next(iter(self.failed)))}")
        return "\n".join(lines)


def _tell(report: Report, task_id: str | None, *, verbose: bool, as_json: bool) -> int:
    """Tell of one seed: what was broken, and the story, trimmed to the first task that it concerns."""
    concerned = task_id or next((each.task_id for each in report.violations if each.task_id), None)
    lines = report.story.lines if concerned is None else report.story.of(concerned)
    broken = [str(violation) for violation in report.violations]
    if as_json:
        story = [str(line) for line in lines] if verbose else []
        _say(json.dumps({"seed": report.seed, "broken": broken, "story": story}, indent=2))
    else:
        shown: Iterator[object] = iter([*(lines if verbose else ()), *broken])
        _say("\n".join(str(each) for each in shown) or f"seed {report.seed}: every promise was kept")
    return int(bool(broken))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m celeriac.testing.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--verbose", action="store_true", help="tell its story")
    parser.add_argument("--task", help="tell only what concerns this task; by default the first of a broken promise")
    parser.add_argument("--seeds", type=int, default=100, help="run so many seeds (default: 100)")
    parser.add_argument("--first", type=int, default=0, help="beginning with this one (default: 0)")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    return parser
