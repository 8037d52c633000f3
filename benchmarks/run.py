"""A run: rounds over all rows and contenders in turn, so that whatever else the machine does meets all of them."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.bench import BenchError
from benchmarks.environments import OURS, python_of
from benchmarks.servers import redis_missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.bench import Bench
    from benchmarks.model import Contender, Figures, Row
    from benchmarks.results import Results

USUAL = 15.0  # seconds of a measurement that was not made before


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement to be made."""

    round: int
    name: str
    row: Row
    contender: Contender

    def measured(self, bench: Bench) -> Figures:
        """Make it; once more if it fails, as a machine may be disturbed."""
        measure = self.contender.measure or self.row.measure
        if bench.quick:
            measure = measure.quick()
        try:
            return measure(bench, self.contender)
        except BenchError as error:
            if bench.quick:
                raise
            _say(f"    once more, as it failed: {error}")
            return measure(bench, self.contender)


def plan(rows: Mapping[str, Row], rounds: int, peers: set[str], results: Results) -> list[Step]:
    """Return every measurement in its order; what cannot be made is written down with its reason."""
    steps = []
    for name, row in rows.items():
        for contender in row.contenders:
            reason = _left_out(contender, peers)
            if reason is None:
                python_of(contender.peer)
                steps += [Step(number, name, row, contender) for number in range(rounds)]
            else:
                results.leave_out(name, contender.name, reason)
    return sorted(steps, key=lambda step: step.round)


def run(bench: Bench, steps: list[Step], results: Results) -> None:
    """Make the measurements, and keep each as it comes."""
    took: dict[tuple[str, str], float] = {}
    for number, step in enumerate(steps):
        left = sum(took.get((each.name, each.contender.name), USUAL) for each in steps[number:])
        begin = time.monotonic()
        try:
            figures = step.measured(bench)
        except Exception as error:  # noqa: BLE001 - one that fails, however, must not cost the hours of the others
            results.fail(step.name, step.contender.name, step.round, f"{type(error).__name__}: {error}")
            said = f"FAILED: {type(error).__name__}: {error}"
        else:
            results.add(step.name, step.contender.name, step.round, figures, machine.load())
            said = ", ".join(_shown(step.row, figures))
        took[step.name, step.contender.name] = time.monotonic() - begin
        _say(
            f"[{number + 1:>3}/{len(steps)}, {left / 60:.0f} min left] round {step.round + 1}, {step.name}: "
            f"{step.contender.name}: {said}"
        )


def _left_out(contender: Contender, peers: set[str]) -> str | None:
    """Return why a contender is not measured, if it is not."""
    if contender.peer != OURS and contender.peer not in peers:
        return f"--peers does not name {contender.peer}"
    if "redis" in {contender.broker, contender.results_broker} and (reason := redis_missing()):
        return reason
    return contender.missing() if contender.missing else None


def _shown(row: Row, figures: Figures) -> Iterator[str]:
    for name in row.shown:
        if name in figures:
            yield f"{name} {figures[name]:,.4g}" if figures[name] < 1000 else f"{name} {figures[name]:,.0f}"  # noqa: PLR2004


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
