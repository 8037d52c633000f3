"""Draining a queue: a warm worker is frozen while its queue is filled, then timed until the last task has run.

Figures: ``rate``, tasks a second; ``cpu`` and ``broker``, microseconds a task of the worker's processes and of the
broker's, and ``cost``, both together; ``pss``, MB of the worker's processes at the end; ``twice`` and ``lost``, tasks.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks import processes

if TYPE_CHECKING:
    from benchmarks.bench import Bench, Stage
    from benchmarks.model import Contender, Figures

QUICK = 200
REST = 0.5  # seconds in which the last results and acknowledgements are written


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Drain ``tasks`` of a kind.

    Attributes:
        kind: of the tasks.
        tasks: how many are timed.
        times: how often it is done, the figures of all added up: so that few tasks are measured as well as many.
    """

    kind: str = "noop"
    tasks: int = 10_000
    times: int = 1

    def quick(self) -> Drain:
        """Drain few."""
        return replace(self, tasks=min(self.tasks, QUICK), times=min(self.times, 2))

    def __call__(self, bench: Bench, contender: Contender) -> Figures:
        """Measure once."""
        with bench.stage(contender) as stage:
            stage.warm()
            runs = [self._drained(stage) for _ in range(self.times)]
            tasks = self.tasks * self.times - sum(run["lost"] for run in runs)
            total = {name: sum(run[name] for run in runs) for name in runs[0]}
            return {
                "rate": tasks / total["seconds"],
                "cpu": total["cpu"] / tasks * 1e6,
                "broker": total["broker"] / tasks * 1e6,
                "cost": (total["cpu"] + total["broker"]) / tasks * 1e6,
                "pss": processes.pss(stage.members()),
                "twice": total["twice"],
                "lost": total["lost"],
            }

    def _drained(self, stage: Stage) -> Figures:
        members = stage.members()
        time.sleep(REST)  # what is stopped in the middle of a write would keep others from the file
        processes.send(members, signal.SIGSTOP)
        try:
            stage.send(self.kind, self.tasks)
        finally:
            cpu, broker = processes.cpu_seconds(members), stage.bench.broker_cpu(stage.contender)
            released = time.monotonic()
            processes.send(members, signal.SIGCONT)
        wanted = stage.expected
        ran = stage.wait()
        time.sleep(REST)
        return {
            "seconds": ran.last - released,
            "cpu": processes.cpu_seconds(members) - cpu,
            "broker": stage.bench.broker_cpu(stage.contender) - broker,
            "twice": max(0, ran.tasks - wanted),
            "lost": wanted - stage.expected,
        }
