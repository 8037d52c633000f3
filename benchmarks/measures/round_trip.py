"""From the call to its result, one after the other, on a worker that has nothing else to do.

Figures: ``p50`` and ``p99``, milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.model import Contender, Figures

QUICK = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """Ask ``tasks`` times for an answer."""

    tasks: int = 1000

    def quick(self) -> RoundTrip:
        """Ask a few times."""
        return replace(self, tasks=min(self.tasks, QUICK))

    def __call__(self, bench: Bench, contender: Contender) -> Figures:
        """Measure once."""
        with bench.stage(contender) as stage:
            stage.warm()
            seconds = sorted(stage.send("echo", self.tasks, "round_trips").latencies)
        return {"p50": seconds[len(seconds) // 2] * 1e3, "p99": seconds[int(len(seconds) * 0.99)] * 1e3}
