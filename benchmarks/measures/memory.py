"""The memory of a worker's processes, what they share counted once (PSS), in MB.

Figures: ``pss``, of a worker that has nothing to do; ``grown``, what more it takes once ``delayed`` tasks wait.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks import processes

if TYPE_CHECKING:
    from benchmarks.bench import Bench, Stage
    from benchmarks.model import Contender, Figures

QUICK = 200
REST = 3.0
TAKE_IN = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Weigh a worker whose every executor has run a task; and again with ``delayed`` tasks, due in an hour."""

    delayed: int = 0
    rest: float = REST
    take_in: float = TAKE_IN

    def quick(self) -> Memory:
        """Send few, and rest little."""
        return replace(self, delayed=min(self.delayed, QUICK), rest=0.5, take_in=1.0)

    def __call__(self, bench: Bench, contender: Contender) -> Figures:
        """Measure once."""
        with bench.stage(contender) as stage:
            stage.warm()
            idle = self._weighed(stage, self.rest)
            if not self.delayed:
                return {"pss": idle}
            stage.send("noop", self.delayed, "delayed")
            return {"pss": idle, "grown": self._weighed(stage, self.take_in) - idle}

    @staticmethod
    def _weighed(stage: Stage, rest: float) -> float:
        time.sleep(rest)
        return processes.pss(stage.members())
