"""Sending, with nobody there to run the tasks.

Figures: ``rate``, tasks a second; ``cpu`` and ``broker``, microseconds of the sender and of the broker a task.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.model import Contender, Figures

QUICK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send ``tasks`` no-op tasks in the contender's way."""

    tasks: int = 2000

    def quick(self) -> Send:
        """Send few."""
        return replace(self, tasks=min(self.tasks, QUICK))

    def __call__(self, bench: Bench, contender: Contender) -> Figures:
        """Measure once."""
        with bench.stage(contender) as stage:
            before = bench.broker_cpu(contender)
            sent = stage.send("noop", self.tasks)
            broker = bench.broker_cpu(contender) - before
        return {
            "rate": self.tasks / sent.seconds,
            "cpu": sent.cpu / self.tasks * 1e6,
            "broker": broker / self.tasks * 1e6,
        }
