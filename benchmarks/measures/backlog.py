"""Working while very much waits: the queue is filled before the worker starts, and some of its tasks are timed.

Figures: as of `benchmarks.measures.drain`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks import processes

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.model import Contender, Figures

QUICK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Run ``tasks`` of the ``queued``."""

    queued: int
    tasks: int = 10_000

    def quick(self) -> Backlog:
        """Queue few."""
        return replace(self, queued=QUICK, tasks=min(self.tasks, QUICK // 5))

    def __call__(self, bench: Bench, contender: Contender) -> Figures:
        """Measure once."""
        with bench.stage(contender) as stage:
            stage.send("noop", self.queued)
            stage.start()
            stage.expected = self.tasks // 2
            before = stage.wait()
            members = stage.members()
            cpu, broker, begin = processes.cpu_seconds(members), bench.broker_cpu(contender), time.monotonic()
            stage.expected = before.tasks + self.tasks
            after = stage.wait()
            cpu = processes.cpu_seconds(members) - cpu
            broker = bench.broker_cpu(contender) - broker
            tasks = after.tasks - before.tasks
            return {
                "rate": tasks / (after.last - begin),
                "cpu": cpu / tasks * 1e6,
                "broker": broker / tasks * 1e6,
                "cost": (cpu + broker) / tasks * 1e6,
                "pss": processes.pss(members),
            }
